"""A log of fifty events to archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from esctl.api import open_log
from esctl.log import EventLog
from tests.conftest import write_empty_log
from tests.fifty import EVENTS


@pytest.fixture
def fifty_path(tmp_path: Path) -> Path:
    """A log of fifty events in three streams."""
    path = tmp_path / "log.db"
    write_empty_log(path)
    with open_log(path, write=True) as log:
        log.append_all(
            {"stream": f"s-{n % 3}", "type": "T", "id": f"id-{n}", "data": {"secret": f"payload-{n:03}"}}
            for n in range(1, EVENTS + 1)
        )
    return path


@pytest.fixture
def fifty(fifty_path: Path) -> Iterator[EventLog]:
    with EventLog(fifty_path, write=True) as opened:
        yield opened
