"""Summaries of blocks and types are those of the events, whatever happens to the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation, listing, moving
from esctl.log import EventLog
from esctl.store import format as storage
from esctl.store import summaries
from esctl.store.noted import Noted
from esctl.upkeep import copies, erasure
from esctl.upkeep.verify import verify
from tests.logs import alter, day, event, fresh, put


@pytest.fixture(autouse=True)
def blocks_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "POSITIONS_PER_BLOCK", 10)


def problems(log: EventLog) -> list[str]:
    return [problem for check, _, problem in log.check(full=True) if check == "summaries"]


def numbered(first: int, last: int) -> Iterator[object]:
    for n in range(first, last + 1):
        yield event(f"s-{n % 4}", f"T{n % 3}", {"n": n}, time=day(1 + n * 7 % 28), schema=1 + n % 2)


def filled(log: EventLog, events: int, batch: int = 7) -> None:
    for first in range(1, events + 1, batch):
        put(log, *numbered(first, min(events, first + batch - 1)))  # type: ignore[arg-type]  # they are events


def rows(log: EventLog, table: str) -> list[tuple[object, ...]]:
    return log.store._connection.execute(f"select * from {table} order by 1, 2, 3, 4").fetchall()


@pytest.mark.parametrize("batch", [1, 3, 10, 35])
def test_every_full_block_is_summarized_whatever_the_batches(batch: int) -> None:
    with fresh() as log:
        filled(log, 35, batch)
        assert [row[0] for row in rows(log, "block_summaries")] == [0, 1, 2]
        assert problems(log) == []


def test_many_events_of_a_type_are_counted_and_a_few_are_listed() -> None:
    noted = Noted([(p, 1, 1 if p < 60 else 2, 1, 5, day(1)) for p in range(1, 64)])
    _, of_types = summaries.summarized(0, noted)
    assert [(row[2], row[4], row[-1]) for row in of_types] == [(1, 59, None), (2, 4, "60,61,62,63")]


def test_a_rolled_back_transaction_leaves_no_summary() -> None:
    with fresh() as log:
        filled(log, 8)
        with log.transaction(keep=False):
            log.store.append(list(numbered(9, 30)))  # type: ignore[arg-type]  # they are events
        assert rows(log, "block_summaries") == []
        filled(log, 12)
        assert problems(log) == []


def test_the_times_of_a_block_are_those_of_other_streams_than_the_log_s_own() -> None:
    with fresh() as log:
        put(log, event("s", time=day(3)))
        for _ in range(19):
            log.record("MarkSet", {"name": "m", "position": 1})
        assert [row[1:] for row in rows(log, "block_summaries")] == [(1, day(3), day(3)), (0, None, None)]
        assert problems(log) == []


@settings(max_examples=25)
@given(
    st.integers(1, 45),
    st.lists(st.tuples(st.sampled_from(["archive", "erase", "append", "restore"]), st.integers(1, 45)), max_size=5),
)
def test_they_are_right_after_archiving_erasing_and_restoring(events: int, steps: list[tuple[str, int]]) -> None:
    with fresh() as log:
        filled(log, events)
        for step, at in steps:
            head = log.head().position
            archived = listing.archived(log)
            first = archived[-1].last + 1 if archived else 1
            if step == "archive" and first <= min(at, head):
                list(creation.create(log, [(first, min(at, head))], most=5))
            elif step == "erase":
                list(erasure.erase(log, [min(at, events)], "asked"))
            elif step == "append":
                filled(log, at)
            elif step == "restore" and archived:
                moving.restore(log, archived[-1])
        assert problems(log) == []
        assert verify(log, full=True).ok


def test_a_fork_has_those_of_its_own_events(tmp_path: Path) -> None:
    with fresh() as log:
        filled(log, 38)
        list(creation.create(log, [(1, 33)], most=7))
        copies.fork(log, tmp_path / "fork.db", 25)
    with EventLog(tmp_path / "fork.db") as fork:
        assert [row[0] for row in rows(fork, "block_summaries")] == [0, 1]
        assert problems(fork) == []


@pytest.mark.parametrize(
    "sql",
    [
        "delete from block_summaries where block = 1",
        "update block_summaries set least_time = greatest_time where block = 0",
        "delete from block_type_summaries where block = 1 and type_id = 2",
        "update block_type_summaries set positions = '1' where block = 1",
        "update block_type_summaries set bytes = bytes + 1 where block = 0",
        "update type_summaries set events = events - 1",
        "update type_summaries set first_time = '2020-01-01T00:00:00.000000Z' where type_id = 1",
        "delete from type_summaries",
        "insert into block_summaries values (3, 10, '2026', '2027')",
    ],
)
def test_verify_finds_an_altered_summary(log_path: Path, sql: str) -> None:
    with EventLog(log_path, write=True) as log:
        filled(log, 34)
    alter(log_path, sql)
    with EventLog(log_path) as log:
        assert problems(log)


def test_a_quick_verification_finds_a_summary_that_contradicts_others(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        filled(log, 34)
    alter(log_path, "delete from block_type_summaries where block = 1 and type_id = 2")
    with EventLog(log_path) as log:
        assert [check for check, _, _ in log.check(full=False)] == ["summaries"] * 2
