"""What tests do to a log: append events to it, apply a model, or change its file behind its back."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from esctl import open_log
from esctl.errors import RefusedError
from esctl.events.event import NewEvent, Receipt, new_ids
from esctl.events.query import Query
from esctl.evolution.plan import Draft, apply
from esctl.log import EventLog
from esctl.model.checks import checked
from esctl.projections import runs
from esctl.upkeep.verify import verify
from tests.conftest import SAMPLE, write_empty_log, writer_of

IDS = new_ids()


def put(log: EventLog, *events: NewEvent) -> list[Receipt]:
    """Append events in one transaction."""
    with log.transaction():
        return writer_of(log).append(events)


def hold(log: EventLog, text: str) -> None:
    """Apply a model."""
    model, problems = checked(text, {})
    assert problems == []
    apply(log, Draft(text, {}, model), log.definitions.position)


def alter(path: str | Path, sql: str, *values: object) -> None:
    """Change a database that nobody has open, as another program would, and against its rules if need be."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma ignore_check_constraints = 1")
        if values:
            connection.execute(sql, values)
        else:
            connection.executescript(sql)


@contextmanager
def fresh() -> Iterator[EventLog]:
    """A new log, open for writing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        write_empty_log(path)
        with EventLog(path, write=True) as log:
            yield log


def event(stream: str, type_: str = "T", data: object = None, *, time: str | None = None, schema: int = 0) -> NewEvent:
    payload = json.dumps({} if data is None else data)
    return NewEvent(stream, type_, next(IDS), time, schema, payload, "{}", None)


def whole(path: Path) -> bool:
    """Whether every byte of a log passes."""
    with EventLog(path) as log:
        return verify(log, full=True).ok


def day(n: int) -> str:
    return f"2026-01-{n:02}T00:00:00.000000Z"


def run(log: EventLog, *names: str) -> runs.Run:
    """Bring projections to the head, whatever stops some."""
    done = runs.Run()
    for _ in runs.run(log, names, done):
        pass
    return done


def stored_schema(log: EventLog, type_: str, schema: int = 0) -> int:
    """Append an event; the schema version that is stored."""
    with log.transaction():
        position = writer_of(log).append([NewEvent("c-1", type_, next(new_ids()), None, schema, "{}", "{}", None)])[0][
            0
        ]
    return next(log.read(Query(since=position, raw_schema=True)))[0][5]


def refused(log: EventLog, *events: NewEvent) -> RefusedError:
    """The refusal of a batch, of which nothing may be left."""
    before = log.head()
    with pytest.raises(RefusedError) as caught:
        put(log, *events)
    assert log.head() == before
    return caught.value


def sample_shop(path: Path) -> None:
    """Make the sample's log with its model; no projection has run."""
    with open_log(path, write=True, create=True) as log:
        lines = (SAMPLE / "orders.ndjson").read_text(encoding="utf-8").splitlines()
        log.append_all(json.loads(line) for line in lines)
        log.apply_model(SAMPLE / "shop.toml")
