"""What tests of the store share: events to append, and short words for appending and reading."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from esctl.append.expectations import RunExpectation
from esctl.events.event import Event, Expect, NewEvent, Receipt
from esctl.events.query import Query
from esctl.store import windows
from esctl.store.store import Store
from tests.conftest import Open, opening, write_empty_log

if TYPE_CHECKING:
    from esctl.events.event import Form


@contextmanager
def new_log() -> Iterator[Open]:
    """A new, empty log; whatever was opened on it is closed at the end."""
    with tempfile.TemporaryDirectory() as folder, opening(write_empty_log(Path(folder) / "log.db")) as connect:
        yield connect


_numbers = count(1)


def event(
    stream: str = "order-1",
    type: str = "OrderPlaced",
    id: str | None = None,
    *,
    time: str | None = None,
    schema: int = 1,
    data: str = "{}",
    meta: str = "{}",
    expect: Expect | None = None,
) -> NewEvent:
    return NewEvent(stream, type, id or f"id-{next(_numbers)}", time, schema, data, meta, expect)


def commit(store: Store, *events: NewEvent, run: RunExpectation | None = None, keep: bool = True) -> list[Receipt]:
    receipts: list[Receipt] = []
    with store.transaction(keep=keep):
        receipts += store.append(events, run)
    return receipts


def replayed(store: Store, **filters: Any) -> list[Event]:
    return [event for event, _, _ in store.read(Query(**filters))]


def positions(store: Store, **filters: Any) -> list[int]:
    return [event[0] for event in replayed(store, **filters)]


NAMES = [
    "plain-1", 'quo"te-1', "back\\slash-1", '\\"', "it's-1", "%s-%d", "{}-1", "ünï-1", "emoji-😀", "日本-1",
    "nul\\u0000", "a\u2028b", "x" * 512, "a$1", "a b", "?1", "a--b", "-a", "é\u0301",
]  # fmt: skip
MIXED = [
    event(NAMES[n % len(NAMES)], f"Type {NAMES[n % 7]}", f"{NAMES[n % 5]} {n}",
          time=f"2026-01-{1 + n * 7 % 28:02}T00:00:00.000000Z", schema=1 + n % 3,
          data=f'{{"n": {n}.0, "text":"\\u00e9 \\"{n}\\""}}', meta='{"k" :1E5}')
    for n in range(80)
]  # fmt: skip


def lines(store: Store, form: Form = "line", **filters: Any) -> list[bytes]:
    return b"".join(store.lines(Query(**filters), form)).splitlines(keepends=True)


def events(count: int, stream: str = "order-1", prefix: str = "id", data: str = "{}") -> list[NewEvent]:
    return [NewEvent(stream, "OrderPlaced", f"{prefix}-{n}", None, 1, data, "{}", None) for n in range(count)]


def appended(store: Store, batch: list[NewEvent]) -> list[int]:
    """Append in a transaction; the versions given."""
    with store.transaction():
        receipts = store.append(batch)
    return [receipt[2] for receipt in receipts]


def connection_of(store: Store) -> apsw.Connection:
    return store._connection  # what SQLite was told can be seen nowhere else


def ids(store: Store) -> list[str]:
    return [event[3] for event, _, _ in store.read(Query())]


EVENTS = 2 * windows.POSITIONS_PER_STATEMENT + 500
ANOTHER = 7  # every seventh event belongs to another stream, so that a stream's versions are not the log's positions
BY_STREAM: dict[str, Any] = {"stream": "order-1"}
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
