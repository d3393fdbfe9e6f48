"""Saved states as rows: kept as they were given, found newest first, one for each stream, aggregate and version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from esctl.events.event import NewEvent
from esctl.store.snapshots import Snapshot
from esctl.store.store import Store

TIME = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def store(log_path: Path) -> Iterator[Store]:
    with closing(Store(log_path, write=True)) as store:
        with store.transaction():
            store.append([event("a-1"), event("a-1"), event("b-1")])
        yield store


_NUMBERS = iter(range(10**9))


def event(stream: str) -> NewEvent:
    return NewEvent(stream, "T", f"e-{next(_NUMBERS)}", None, 1, "{}", "{}", None)


def snapshot(stream: str = "a-1", version: int = 1, **changes: Any) -> Snapshot:
    fixed = (stream, "a", version, 1, TIME, TIME, "fold", "upcasts", b"\0\xff", '{"a":1.50}', b"\1\2", TIME)
    return Snapshot(*fixed)._replace(**changes)


def save(store: Store, *made: Snapshot) -> None:
    with store.transaction():
        for one in made:
            store.snapshots().save(one)


def found(store: Store, *filters: str | None) -> list[Snapshot]:
    return list(store.snapshots().of(*filters))


def test_what_is_kept_comes_back_as_it_was(store: Store) -> None:
    made = snapshot(state='{"é":"\\u0000\\n"}', aggregate="", anchor=bytes(range(256)))
    save(store, made)
    assert found(store) == [made]


def test_snapshots_come_by_stream_and_aggregate_newest_first(store: Store) -> None:
    made = [snapshot("b-1"), snapshot(version=1), snapshot(version=10), snapshot(version=2), snapshot(aggregate="")]
    save(store, *made)
    assert [(one.stream, one.aggregate, one.version) for one in found(store)] == [
        ("a-1", "", 1), ("a-1", "a", 10), ("a-1", "a", 2), ("a-1", "a", 1), ("b-1", "a", 1)
    ]  # fmt: skip
    assert [one.version for one in found(store, "a-1", "a")] == [10, 2, 1]
    assert [one.stream for one in found(store, "b-1")] == ["b-1"]
    assert found(store, "none") == []


def test_a_snapshot_of_the_same_stream_aggregate_and_version_gives_way(store: Store) -> None:
    save(store, snapshot(state="1"))
    save(store, snapshot(state="2"), snapshot(state="3", aggregate="other"))
    assert [one.state for one in found(store, "a-1", "a")] == ["2"]


def test_a_snapshot_is_let_go_alone(store: Store) -> None:
    save(store, snapshot(version=1), snapshot(version=2), snapshot("b-1"), snapshot(aggregate=""))
    with store.transaction():
        store.snapshots().delete("a-1", "a", 1)
        store.snapshots().delete("a-1", "a", 9)
        store.snapshots().delete("none", "a", 1)
    assert [(one.stream, one.aggregate, one.version) for one in found(store)] == [
        ("a-1", "", 1), ("a-1", "a", 2), ("b-1", "a", 1)
    ]  # fmt: skip


def test_a_snapshot_of_a_stream_that_is_not_there_is_not_kept(store: Store) -> None:
    save(store, snapshot("none"))
    assert found(store) == []


def test_a_rollback_takes_snapshots_back(store: Store) -> None:
    with store.transaction(keep=False):
        store.snapshots().save(snapshot())
    assert found(store) == []


def test_snapshots_are_no_events_and_move_no_head(store: Store) -> None:
    before = store.head()
    save(store, snapshot())
    assert store.head() == before
    assert list(store.check(full=True)) == []


def test_snapshots_can_be_kept_while_they_are_read(store: Store) -> None:
    save(store, snapshot(version=1), snapshot(version=2))
    for row in store.snapshots().of():
        save(store, row._replace(state="9"))
    assert {one.state for one in found(store)} == {"9"}
