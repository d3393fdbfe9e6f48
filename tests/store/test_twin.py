"""Two connections on one state of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from esctl.store import memory
from esctl.store.store import Store
from esctl.store.twin import TRIES, Twin
from tests.stores import commit, event, ids


@pytest.fixture
def writer(log_path: Path) -> Iterator[Store]:
    with closing(Store(log_path, write=True)) as writer:
        commit(writer, event(id="first"))
        yield writer


@pytest.fixture
def reader(writer: Store) -> Iterator[Store]:
    with closing(Store(writer.path)) as reader:
        yield reader


def test_both_see_the_state_at_the_beginning_whatever_is_written_meanwhile(writer: Store, reader: Store) -> None:
    with Twin(reader, wanted=True) as twin:
        commit(writer, event(id="second"))
        assert twin is not None
        assert ids(reader) == ids(twin) == ["first"]
    assert ids(reader) == ["first", "second"]


@pytest.mark.parametrize("times", [1, TRIES - 1])
def test_what_is_written_between_the_two_beginnings_is_seen_by_both(writer: Store, reader: Store, times: int) -> None:
    left = iter(range(times))

    def write(sql: str) -> None:
        if sql == "sql: begin" and next(left, None) is not None:
            commit(writer, event())

    reader.statements.trace(write)
    with Twin(reader, wanted=True) as twin:
        assert twin is not None
        assert twin.head() == reader.head() == writer.head()
    assert writer.head().position == 1 + times


def test_beside_a_writer_that_never_pauses_there_is_one_store(writer: Store, reader: Store) -> None:
    number = iter(range(10 * TRIES))

    def write(sql: str) -> None:
        if "from head" in sql:
            commit(writer, event(id=f"n{next(number)}"))

    reader.statements.trace(write)
    with Twin(reader, wanted=True) as twin:
        assert twin is None
        before = reader.head()
        assert reader.head() == before


def test_within_a_transaction_there_is_one_store(writer: Store) -> None:
    with writer.transaction():
        writer.append([event(id="second")])
        with Twin(writer, wanted=True) as twin:
            assert twin is None
            assert ids(writer) == ["first", "second"]


def test_in_memory_there_is_one_store() -> None:
    with memory.new() as path, closing(Store(path, write=True)) as store, Twin(store, wanted=True) as twin:
        assert twin is None


def test_what_is_not_wanted_is_not_opened(reader: Store) -> None:
    with Twin(reader, wanted=False) as twin:
        assert twin is None
