"""What tests of projections share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esctl.log import EventLog
from tests.logs import hold, put, run
from tests.projections.sums import SUMS, event


@pytest.fixture
def other(log: EventLog) -> Iterator[EventLog]:
    """Another process, as it were, that has the same log open."""
    with EventLog(log.path, write=True) as other:
        yield other


@pytest.fixture
def sums(log: EventLog) -> EventLog:
    hold(log, SUMS)
    put(log, event("x", 1), event("y", 20), event("z", 3), event("x", 5, day=2))
    run(log).end()
    return log
