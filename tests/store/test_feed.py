"""Events fed to triggers: views that come and go with their transaction, windows, and what a body may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.errors import MisfitError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import reads
from esctl.store.feed import TriggerFeed
from esctl.store.store import Store
from tests.conftest import write_empty_log
from tests.segments import EVENTS as SEGMENT_EVENTS
from tests.segments import fill, make

EVENTS = 7
VIEW = "esctl_view_1"
COLUMNS = {"position": "position", "kind": "type_id"}
SEEN = "insert into esctl_seen values (new.position, new.kind);"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "log.db"
    write_empty_log(path)
    with closing(Store(path, write=True)) as store:
        with store.transaction():
            store.append(
                [
                    NewEvent(f"s-{n % 2}", f"T{n % 3}", f"{n}", None, 1, json.dumps("x" * 100), "{}", None)
                    for n in range(EVENTS)
                ]
            )
        yield store


def feed_of(store: Store) -> TriggerFeed:
    connection, guard = store._connection, store._guarding()
    connection.execute("create temp table esctl_seen(position, kind)").fetchall()
    return TriggerFeed(store._reading, guard, store.patience)


def seen(store: Store) -> list[int]:
    return [int(str(p)) for (p,) in store._connection.execute("select position from esctl_seen order by rowid")]


def fed(store: Store, feed: TriggerFeed, positions: int = 100) -> int:
    """The number of windows."""
    return sum(1 for _ in feed.feed_windows(VIEW, COLUMNS, store._scan(Query()), positions, names=False))


def temporary(store: Store) -> set[str]:
    return {str(name) for (name,) in store._connection.execute("select name from sqlite_temp_schema")}


@pytest.mark.parametrize(("positions", "windows"), [(100, 1), (7, 1), (6, 2), (1, 7)])
def test_each_event_is_fed_once_and_in_order_whatever_the_window(store: Store, positions: int, windows: int) -> None:
    feed = feed_of(store)
    feed.create(VIEW, COLUMNS, [("", SEEN)])
    assert fed(store, feed, positions) == windows
    assert seen(store) == [1, 2, 3, 4, 5, 6, 7]


def test_windows_are_smaller_where_events_are_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = feed_of(store)
    feed.create(VIEW, COLUMNS, [("", SEEN)])
    monkeypatch.setattr(reads, "SAFE_BYTES", 250)  # of two events: data and meta have 104 bytes
    assert fed(store, feed) == 4
    monkeypatch.setattr(reads, "SAFE_BYTES", 1)
    assert fed(store, feed) == EVENTS


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize(
    "value", ["data ->> '$'", "meta", "id", "time", "recorded", "version", "schema", "type", "stream"]
)
def test_archived_events_are_fed_as_hot_ones(tmp_path: Path, value: str, system: bool) -> None:
    path = tmp_path / "log.db"
    write_empty_log(path)
    fill(path)
    with EventLog(path, write=True) as log:
        log.record("Noted", {})
        found = []
        for archived in (False, True):
            if archived:
                make(log, until=log.head().position, most=5)
            feed = feed_of(log.store)
            feed.create(VIEW, ["position", "kind"], [("", SEEN)])
            columns = {"position": "position", "kind": value}
            for _ in feed.feed_windows(VIEW, columns, log.store._scan(Query(system=system)), 3):
                pass
            select = "select position, kind from esctl_seen order by rowid"
            found.append(log.store._connection.execute(select).fetchall())
            feed.close()
            log.store._connection.execute("drop table esctl_seen").fetchall()
    assert len(found[0]) == SEGMENT_EVENTS + system
    assert found[0] == found[1]


def test_a_trigger_with_a_condition_takes_the_events_that_meet_it(store: Store) -> None:
    feed = feed_of(store)
    feed.create(VIEW, COLUMNS, [("new.position < 3", SEEN), ("new.position = 5", SEEN)])
    fed(store, feed)
    assert seen(store) == [1, 2, 5]


def test_a_view_that_was_rolled_back_is_created_again(store: Store) -> None:
    feed = feed_of(store)
    with store.transaction(keep=False):
        feed.create(VIEW, COLUMNS, [("", SEEN)])
        assert feed.has(VIEW)
        fed(store, feed)
    assert not feed.has(VIEW)
    assert seen(store) == []
    feed.create(VIEW, COLUMNS, [("", SEEN)])
    fed(store, feed)
    assert len(seen(store)) == EVENTS


def test_a_closed_feed_leaves_neither_view_nor_trigger(store: Store) -> None:
    before, feed = temporary(store), feed_of(store)
    with store.transaction(keep=False):
        feed.create("esctl_view_2", COLUMNS, [("", SEEN)])  # which is gone before it is dropped
    feed.create(VIEW, COLUMNS, [("", SEEN), ("new.position < 3", SEEN)])
    assert temporary(store) - before == {"esctl_seen", VIEW, f"{VIEW}_0", f"{VIEW}_1"}
    feed.close()
    assert temporary(store) - before == {"esctl_seen"}


@pytest.mark.parametrize(
    "more",
    ["delete from main.events", "attach 'other.db' as z", "create temp table esctl_more(a)", "pragma user_version"],
)
def test_a_body_that_ends_its_trigger_and_goes_on_is_denied(store: Store, more: str) -> None:
    feed = feed_of(store)
    with pytest.raises(apsw.AuthError):
        feed.create(VIEW, COLUMNS, [("", f"select 1; end; {more}; --")])
    assert store._guarding().defining == ""
    assert store.head()[0] == EVENTS
    assert "esctl_more" not in temporary(store)


def test_a_body_reaches_no_table_of_the_log(store: Store) -> None:
    feed = feed_of(store)
    feed.create(VIEW, COLUMNS, [("", "insert into esctl_seen select max(position), 1 from events;")])
    with pytest.raises((apsw.AuthError, MisfitError), match=r"prohibited|not authorized"):
        fed(store, feed)
    assert seen(store) == []
