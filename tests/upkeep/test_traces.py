"""The search for what was erased: the file is written anew only if a piece of it is found, and then none is left."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.api import open_log
from esctl.archive import creation, listing, moving
from esctl.errors import EsctlError, UnavailableError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states.snapshot_care import take
from esctl.upkeep import erasure, traces
from esctl.upkeep.traces import MAX_LEFTOVER, MAX_REMOVED, Traces
from esctl.upkeep.verify import verify
from tests.conftest import write_empty_log
from tests.interleaving import interleaved, stopped
from tests.logs import hold, run

TABLES = ("events", "snapshots", "frames", "projections")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    write_empty_log(path)
    append(path, range(1, 401), (100, 300))
    return path


def append(path: Path, numbers: Sequence[int], sizes: Sequence[int], seed: int = 1) -> None:
    choose = Random(seed).choice
    with open_log(path, write=True) as log:
        log.append_all(
            {
                "stream": f"s-{n % 9}",
                "type": "T",
                "data": {"name": f"payload-{n:05}", "more": f"{n:05}" * (choose(sizes) // 5)},
            }
            for n in numbers
        )


@pytest.fixture
def put_back(tmp_path: Path) -> tuple[Path, list[int]]:
    """A log in which events were brought back between others, and those of which copies are left."""
    for seed in range(20):
        path = tmp_path / f"{seed}.db"
        write_empty_log(path)
        append(path, range(1, 401), (5, 40, 300, 2000), seed)
        with EventLog(path, write=True) as log:
            list(creation.create(log, [(1, 300)], most=25))
            for segment in Random(seed).sample(listing.archived(log), 6):
                moving.restore(log, segment)
            left = leftover(log)
        copied = [n for n in range(1, 401) if f"payload-{n:05}".encode() in left]
        if copied:
            return path, copied
        path.unlink()
    raise AssertionError("SQLite leaves no copies any more")


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    with EventLog(path, write=True) as opened:
        yield opened


@pytest.fixture
def statements(log: EventLog) -> list[str]:
    """What SQLite is asked to do."""
    found: list[str] = []
    log.store.statements.trace(found.append)
    return found


def written_anew(statements: list[str]) -> bool:
    return "sql: vacuum;" in statements


def erased(log: EventLog, *positions: int) -> None:
    found = Traces()
    list(erasure.erase(log, positions, "test", found))
    assert erasure.scrub(log, found)


def in_files(path: Path, *numbers: int) -> list[int]:
    raw = b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    return [number for number in numbers if f"payload-{number:05}".encode() in raw]


def leftover(log: EventLog) -> bytes:
    assert log.store.compact()[2]
    with log.transaction():
        return b"".join(log.store.archiving().leftover_bytes(*TABLES))


# When the file is written anew


def test_a_log_that_was_only_appended_to_is_not_written_anew(path: Path, log: EventLog, statements: list[str]) -> None:
    erased(log, 3, 200, 400)
    assert not written_anew(statements)
    assert in_files(path, 3, 200, 400) == []
    assert not traces.unfinished(log)


def test_copies_from_when_rows_were_put_back_are_found(put_back: tuple[Path, list[int]]) -> None:
    path, copied = put_back
    with EventLog(path, write=True) as log:
        statements: list[str] = []
        log.store.statements.trace(statements.append)
        erased(log, *copied)
        assert written_anew(statements)
        assert in_files(path, *copied) == []
        assert leftover(log) == b""


def test_copies_of_other_events_only_are_no_reason_to_write_the_file_anew(
    put_back: tuple[Path, list[int]],
) -> None:
    path, _ = put_back
    with EventLog(path, write=True) as log:
        left = leftover(log)
        clean = [n for n in range(1, 401) if f"{n:05}".encode() not in left]
        statements: list[str] = []
        log.store.statements.trace(statements.append)
        erased(log, *clean[:5])
        assert not written_anew(statements)
        assert in_files(path, *clean[:5]) == []


def test_after_a_stopped_erasure_whatever_is_left_counts_as_found(put_back: tuple[Path, list[int]]) -> None:
    path, _ = put_back
    with EventLog(path, write=True) as log:
        list(erasure.erase(log, [3], "stopped"))
        statements: list[str] = []
        log.store.statements.trace(statements.append)
        erased(log, 399)
        assert written_anew(statements)
        assert leftover(log) == b""


def test_what_another_process_erased_meanwhile_counts_too(put_back: tuple[Path, list[int]]) -> None:
    path, _ = put_back
    with EventLog(path, write=True) as log, EventLog(path, write=True) as other:
        found = Traces()
        list(erasure.erase(log, [399], "test", found))
        list(erasure.erase(other, [3], "stopped"))
        assert erasure.scrub(log, found)
        assert leftover(log) == b""
        assert in_files(path, 3, 399) == []


def test_an_erasure_that_was_stopped_in_a_log_without_copies_ends_without_writing_it_anew(
    log: EventLog, statements: list[str]
) -> None:
    list(erasure.erase(log, [3], "stopped"))
    assert erasure.scrub(log)
    assert not written_anew(statements)


# Pieces


@pytest.mark.parametrize(
    ("removed", "left", "remaining", "expected"),
    [
        ([b"payload of somebody"], [], [], False),
        ([b"payload of somebody"], [b"...load of some..."], [], True),
        ([b"payload of somebody"], [b"...yload of"], [], True),
        ([b"payload of somebody"], [b"...load o"], [], False),
        ([b"payload of somebody"], [b"another thing"], [], False),
        ([b"payload of somebody"], [b"load of ", b"somebody"], [b"the load of somebody else"], False),
        ([b"payload of somebody"], [b"load of somebody"], [b"load of somebod"], True),
        ([b"{}{}"], [b"{}{}"], [], False),
        ([], [b"anything"], [], False),
    ],
)
def test_a_piece_of_eight_bytes_is_found_unless_others_have_it(
    removed: list[bytes], left: list[bytes], remaining: list[bytes], expected: bool
) -> None:
    found = Traces()
    for part in removed:
        found.add(part)
    assert found.found_in(left, remaining) == expected


def test_parts_that_stood_side_by_side_are_one_piece() -> None:
    found = Traces()
    found.add("{}", "{}", bytes(range(16)))
    assert found.found_in([b"x}{}" + bytes(range(5)) + b"x"], [])


def test_without_knowledge_of_all_that_was_removed_anything_left_counts() -> None:
    found = Traces()
    found.is_whole = False
    assert found.found_in([b"x"], [b"x"])
    assert not found.found_in([], [])


@pytest.mark.parametrize("way", ["much is removed", "much is left"])
def test_beyond_bounds_of_memory_anything_left_counts(way: str) -> None:
    found = Traces()
    found.add(b"a" * (MAX_REMOVED + 1 if way == "much is removed" else 10))
    assert found.found_in([b"b" * (10 if way == "much is removed" else MAX_LEFTOVER + 1)], [])


def test_with_other_writers_between_each_two_steps_the_file_is_written_anew(
    path: Path, log: EventLog, statements: list[str]
) -> None:
    """They fill the WAL again before it can be seen empty."""
    compact: Callable[..., tuple[int, int, bool]] = log.store.compact

    with EventLog(path, write=True) as other, pytest.MonkeyPatch.context() as patch:

        def busy(*, full: bool = False) -> tuple[int, int, bool]:
            found = compact(full=full)
            with other.transaction():
                other.say("Noted", {})
            return found

        patch.setattr(log.store, "compact", busy)
        erased(log, 3)
    assert written_anew(statements)
    assert in_files(path, 3) == []


# The law

Step = tuple[str, int]
STEPS = st.tuples(
    st.sampled_from(
        ["append", "append large", "append one", "archive", "archive to folder", "restore", "take", "erase"]
    ),
    st.integers(0, 10_000),
)


class History:
    """A log, and what its payloads were."""

    def __init__(self, path: Path) -> None:
        self.path, self.number, self.gone = path, 0, list[bytes]()
        write_empty_log(path)
        self.log = EventLog(path, write=True)
        self.of: dict[int, tuple[bytes, bytes]] = {}  # payload and salt of those that are there, by position

    def append(self, count: int, size: int) -> None:
        append(self.path, range(self.number, self.number + count), (size,))
        self.number += count
        last = max(self.of, default=0)
        for event, salt, _ in self.log.read(Query(since=last + 1)):
            if event.data is not None and salt is not None:
                self.of[event.position] = json.loads(event.data)["name"].encode(), salt

    def step(self, step: str, n: int) -> None:
        archived = listing.archived(self.log)
        match step:
            case "append":
                self.append(n % 120, n % 700)
            case "append large":
                self.append(1 + n % 3, 9000 + n)
            case "append one":
                self.append(1, n % 90)
            case "archive" | "archive to folder":
                spans = listing.hot(self.log, n % (self.log.head().position + 1))
                to = self.path.parent / "cold" if step == "archive to folder" else None
                list(creation.create(self.log, spans, most=10 + n % 90, to=to))
            case "restore":
                if archived:
                    moving.restore(self.log, archived[n % len(archived)])
            case "take":
                with suppress(EsctlError):  # the stream has no events
                    take(self.log, f"s-{n % 9}")
            case "erase":
                positions = sorted(self.of)[n % 7 :: 1 + n % 31]
                erased(self.log, *positions)
                self.gone += [part for position in positions for part in self.of.pop(position)]

    def check(self) -> None:
        files = [file for file in self.path.parent.rglob("*") if file.is_file()]
        raw = b"".join(file.read_bytes() for file in files)
        assert [part for part in self.gone if part in raw] == []
        assert verify(self.log, full=True).findings == []


@settings(max_examples=30, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_after_any_history_no_byte_of_what_was_erased_is_in_any_file(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder, "log.db"))
        with history.log:
            for step, n in (*steps, ("erase", 5)):
                history.step(step, n)
                if step == "erase":
                    history.check()


# Beside another erasure

KEPT = """
[event.T]
erasable = true
[projection.names]
table = "create table names(k text primary key, name text)"
[projection.names.on]
T = "insert into names values (new.stream, new.data ->> 'name') on conflict(k) do update set name = excluded.name"
"""


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_an_erasure_that_is_stopped_beside_another_is_ended_by_it_or_recorded(tmp_path: Path, stride: int) -> None:
    """It may begin between any two steps, and its payload must not stay where nobody looks any more."""
    original = tmp_path / "original.db"
    write_empty_log(original)
    append(original, range(1, 19), (5,))
    with EventLog(original, write=True) as log:
        hold(log, KEPT)
        run(log)

    def one(number: int) -> int:
        shutil.rmtree(folder := tmp_path / "run", ignore_errors=True)
        folder.mkdir()
        path = folder / "log.db"
        shutil.copy(original, path)

        def other() -> None:
            with EventLog(path, write=True, timeout=0) as second, suppress(UnavailableError):  # the write lock is taken
                list(erasure.erase(second, [17], "stopped"))

        with EventLog(path, write=True) as log, stopped(log, 1 + (number - 1) * stride, other) as steps:
            found = Traces()
            list(erasure.erase(log, [18], "test", found))
            finished = erasure.scrub(log, found)
            remains = traces.unfinished(log)
        with EventLog(path) as log:
            gone = [n for n in (17, 18) if log.event(str(n)).event.data is None]
        if finished and not remains:
            assert in_files(path, *gone) == []
        with EventLog(path, write=True) as log:
            assert erasure.scrub(log)
            assert verify(log, full=True).findings == []
        assert in_files(path, *gone) == []
        assert 18 in gone
        return (steps[0] + stride - 1) // stride

    assert interleaved(one) * stride > 20


def test_rows_that_wait_from_an_earlier_erasure_are_not_kept_by_a_later_one(tmp_path: Path) -> None:
    """However it came that the log does not say so."""
    path = tmp_path / "log.db"
    write_empty_log(path)
    append(path, range(1, 19), (5,))
    with EventLog(path, write=True) as log:
        hold(log, KEPT)
        run(log)
        list(erasure.erase(log, [17], "stopped"))
        with log.transaction():
            log.store.archiving().removed(traces.TRACES)
        erased(log, 18)
    assert in_files(path, 17, 18) == []
