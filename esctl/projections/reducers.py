"""Projections computed by a Python function, for what SQL cannot express. Only a command line can name it."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from esctl.errors import UsageError, word
from esctl.events.decoded import decoded
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.compiled import BUILDING, DROPPED, LIVE, HandlerFailed, Version
from esctl.projections import admin, runs, versions
from esctl.states import reducing
from esctl.store.projections import Projections

Key = Any
"""The value of a primary key, or a tuple of values where it has several columns."""


class Rows(MutableMapping[Key, dict[str, Any]]):
    """The rows of a projection's table by primary key; a row is a dictionary of all its columns.

    An assigned row may omit columns, which get their defaults. A changed row has an effect only when it is assigned
    again.
    """

    def __init__(self, store: Projections, version: Version) -> None:
        self._table = next(iter(version.compiled.tables))
        self._rows = store.rows_of(self._table)
        if not self._rows.key:
            raise UsageError(f"the table {self._table} has no primary key", why="a reducer finds its rows by it")

    def _values(self, key: Key) -> tuple[Any, ...]:
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(self._rows.key):
            raise KeyError(f"a key of {self._table} is {', '.join(self._rows.key)}")
        return values

    def __getitem__(self, key: Key) -> dict[str, Any]:
        row = self._rows.get(self._values(key))
        if row is None:
            raise KeyError(key)
        return row

    def __setitem__(self, key: Key, row: dict[str, Any]) -> None:
        self._rows.replace(self._values(key), row)

    def __delitem__(self, key: Key) -> None:
        self[key]
        self._rows.delete(self._values(key))

    def __iter__(self) -> Iterator[Key]:
        for values in self._rows.keys():  # noqa: SIM118 - a table is no dictionary
            yield values if len(values) > 1 else values[0]

    def __len__(self) -> int:
        return self._rows.count()


def run(log: EventLog, name: str, reducer: str, done: runs.Run) -> Iterator[int]:
    """Bring a projection without handlers to the head by a function `(rows, event)`; see `runs.run`.

    If the function's module has changed, a new version is built, as for a changed definition.
    """
    projection = versions.declared(log, name)
    if projection.on:
        raise UsageError(f"the projection {name} has handlers in the model", fix=f"esctl projection run {word(name)}")
    function = reducing.reducer(reducer)
    identity = f"{reducer} {_fingerprint(function)}"
    number = _version(log, name, identity)

    def feed(store: Projections, version: Version, query: Query) -> None:
        read = log.store.read(query, version.compiled.upcasting)
        events = [event for event, _, _ in read if event.data is not None]
        with store.placed(version):
            rows = Rows(store, version)
            for event in events:
                try:
                    function(rows, decoded(event))
                except HandlerFailed as failed:
                    raise HandlerFailed(failed.reason, event.position, event.type) from failed
                except (Exception, SystemExit) as error:
                    raise HandlerFailed(f"{type(error).__name__}: {error}", event.position, event.type) from error

    before = log.store.projections().version(number)
    yield from runs.catch_up(log, number, feed)
    after = log.store.projections().version(number)
    if before is not None and after is not None:
        done.records.append(runs.record_of(before, after))


def _version(log: EventLog, name: str, identity: str) -> int:
    """The version to update: the live one if this function has built it, else a new one beside it."""
    versions.synced(log)
    known = [version for version in log.store.projections().versions() if version.name == name]
    for version in known:  # the live one comes first
        if version.state in (LIVE, BUILDING) and version.reducer == identity:
            with log.transaction():
                for other in known:
                    if other.state == BUILDING and other.version != version.version:
                        log.store.projections().drop(other)
            return version.version
    live = next((version for version in known if version.state in (LIVE, DROPPED)), None)
    if live is not None and live.state == LIVE and live.reducer is None and not live.position:
        with log.transaction():
            live.reducer = identity
            log.store.projections().save(live)
        return live.version
    return admin.rebuild(log, name, from_scratch=True, reducer=identity)


def _fingerprint(function: object) -> str:
    """The fingerprint of the module that contains a function, if its file can be found."""
    source = inspect.getsourcefile(function) if inspect.isfunction(function) else None
    module = sys.modules.get(getattr(function, "__module__", ""), None)
    path = source or getattr(module, "__file__", None)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else "?"
