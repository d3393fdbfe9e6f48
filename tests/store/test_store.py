"""The store: its head, its readers, what it knows, and the log's own streams in it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.errors import UnavailableError
from esctl.events import chain
from esctl.events.query import Query
from esctl.store.store import Store
from tests.conftest import Open
from tests.stores import appended, commit, connection_of, event, events, ids, positions, replayed

# The head


def test_the_head_of_an_empty_log_is_its_genesis(store: Store) -> None:
    assert store.head()[:2] == (0, chain.genesis(store.log_id))


def test_the_head_is_the_newest_event(store: Store) -> None:
    commit(store, event(), event("cart-1"))
    *_, (newest, _, hash_) = store.read(Query())
    assert store.head() == (newest[0], hash_, newest[7])


def test_the_head_within_a_transaction_is_the_newest_event_in_it(store: Store) -> None:
    with store.transaction():
        for _ in range(2):
            (receipt,) = store.append([event()])
            assert store.head()[0] == receipt[0]


def test_the_head_seen_by_others_does_not_move_before_the_commit(connect: Open) -> None:
    writer, reader = connect(), connect(write=False)
    before = reader.head()
    with writer.transaction():
        writer.append([event()])
        assert reader.head() == before
    assert reader.head() == writer.head() != before


# What the log knows


def test_a_stream_that_is_not_there_is_at_version_nought(store: Store) -> None:
    commit(store, event("order-1"))
    assert store.stream_version("order-2") == 0


# The log's own streams


@pytest.fixture
def with_own(store: Store) -> Store:
    """A log in which every second event is its own."""
    commit(store, event("order-1"), event("$esctl", "ModelApplied"), event("order-1"), event("$marks", "ModelApplied"))
    commit(store, event("order-2"), event("$esctl", "ModelApplied"))
    return store


def test_the_logs_own_events_are_left_out_unless_they_are_asked_for(with_own: Store) -> None:
    assert positions(with_own) == positions(with_own, system=True)[::2]


def test_the_logs_own_events_are_read_where_their_stream_is_named(with_own: Store) -> None:
    assert positions(with_own, stream="$esctl") == positions(with_own, system=True)[1::4]


def test_the_logs_own_events_count_for_the_head(with_own: Store) -> None:
    assert with_own.head()[0] == positions(with_own, system=True)[-1]


def test_the_logs_own_streams_have_versions_without_gaps(with_own: Store) -> None:
    assert [e[1:3] for e in replayed(with_own, system=True)[1::2]] == [("$esctl", 1), ("$marks", 1), ("$esctl", 2)]


def test_the_logs_own_streams_are_not_among_the_names(with_own: Store) -> None:
    assert list(with_own.facts().names("stream")) == ["order-1", "order-2"]


# Readers


def test_a_reader_cannot_write(filled: Path) -> None:
    with closing(Store(filled)) as store, pytest.raises(apsw.ReadOnlyError):
        connection_of(store).execute("delete from events")


def test_an_append_through_a_reader_is_refused(filled: Path) -> None:
    with closing(Store(filled)) as store:
        with pytest.raises(UnavailableError, match="read-only"):
            appended(store, events(1, prefix="new"))
        assert len(ids(store)) == 20


def test_a_reader_leaves_nothing_behind_and_the_file_as_it_was(filled: Path) -> None:
    before = filled.read_bytes()
    with closing(Store(filled)) as store:
        assert len(b"".join(store.lines(Query())).splitlines()) == 20
        assert list(store.check(full=True)) == []
    assert [file.name for file in filled.parent.iterdir()] == ["log.db"]
    assert filled.read_bytes() == before


def test_a_writer_leaves_nothing_behind(filled: Path) -> None:
    with closing(Store(filled, write=True)) as store:
        appended(store, events(5, prefix="new"))
    assert [file.name for file in filled.parent.iterdir()] == ["log.db"]


def test_what_a_killed_writer_committed_is_read(log_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from esctl.events.event import NewEvent; from esctl.store.store import Store\n"
        "store = Store(Path(sys.argv[1]), write=True)\n"
        "for n in range(3):\n"
        "    with store.transaction():\n"
        "        store.append([NewEvent('order-1', 'OrderPlaced', f'id-{n}', None, 1, '{}', '{}', None)])\n"
        "with store.transaction():\n"
        "    store.append([NewEvent('order-1', 'OrderPlaced', 'never', None, 1, '{}', '{}', None)])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(log_path)], check=False)
    assert done.returncode == -9
    assert log_path.with_name("log.db-wal").stat().st_size > 0
    with closing(Store(log_path)) as store:
        assert ids(store) == ["id-0", "id-1", "id-2"]
    with closing(Store(log_path, write=True)) as store:
        assert appended(store, events(1, prefix="new")) == [4]


# The log as a whole


def test_a_store_may_be_closed_twice(connect: Open) -> None:
    store = connect()
    store.close()
    store.close()
    assert connect().head()[0] == 0


def test_the_log_id_stays(connect: Open) -> None:
    one = connect()
    commit(one, event())
    assert connect(write=False).log_id == one.log_id
