"""What tests of SQL share: a log to ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.log import EventLog

EVENTS: list[dict[str, Any]] = [
    {"stream": "order-1", "type": "Placed", "time": "2026-01-02T10:00:00Z", "data": {"amount": 99.5, "vip": True}},
    {"stream": "order-2", "type": "Placed", "time": "2026-02-02T10:00:00Z", "data": {"amount": 250, "note": "now"}},
    {"stream": "order-1", "type": "Paid", "time": "2026-02-03T10:00:00Z", "data": [1], "meta": {"actor": "web"}},
]


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """A log of the events above, open for reading."""
    with open_log(log_path, write=True) as written:
        written.append_all(EVENTS)
    with EventLog(log_path) as opened:
        yield opened
