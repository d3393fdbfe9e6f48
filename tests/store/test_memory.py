"""A log in memory: a store like any other, without a file."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.errors import EsctlError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import memory
from esctl.store.format import MEMORY
from esctl.store.store import Store
from tests import logs


def test_it_takes_events_and_gives_them_back_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with memory.new() as path, EventLog(path, write=True, bulk=True) as log:
        logs.put(log, *(logs.event(f"s-{n % 7}", data={"n": n}) for n in range(3000)))
        assert [event.position for event, _, _ in log.read(Query(stream="s-3"))] == [*range(4, 3001, 7)]
        assert [*log.check(full=True)] == []
        assert str(path) == MEMORY
    assert os.listdir(tmp_path) == []


def test_every_connection_of_one_path_sees_the_same_log_and_no_other() -> None:
    with memory.new() as path, EventLog(path, write=True) as first, closing(Store(path, write=True)) as second:
        logs.put(first, logs.event("s"))
        assert second.stream_version("s") == 1
        logs.put(first, logs.event("s"))
        assert second.stream_version("s") == 2
        with memory.new() as other, EventLog(other) as elsewhere:
            assert elsewhere.store.stream_version("s") == 0
            assert elsewhere.log_id != first.log_id


def test_it_ends_with_its_last_connection() -> None:
    with memory.new() as path, EventLog(path, write=True) as log:
        logs.put(log, logs.event("s"))
    with pytest.raises((EsctlError, apsw.Error)):
        EventLog(path)


def test_what_is_rolled_back_is_gone() -> None:
    with memory.new() as path, EventLog(path, write=True) as log:
        logs.put(log, logs.event("s"))
        with log.transaction(keep=False):
            log.store.append([logs.event("s")])
        assert log.head().position == 1
        assert logs.put(log, logs.event("s"))[0].version == 2


def test_a_copy_in_a_file_is_a_log_as_any_other(log_path: Path) -> None:
    log_path.write_bytes(b"")
    with memory.new() as path, EventLog(path, write=True) as log:
        logs.put(log, logs.event("s"))
        log.store.copy_to(log_path)
        head = log.head()
    assert log_path.read_bytes()[18:20] == b"\2\2"  # SQLite's sign for WAL
    with EventLog(log_path, write=True) as copy:
        assert copy.head() == head
        logs.put(copy, logs.event("s"))
    assert logs.whole(log_path)
