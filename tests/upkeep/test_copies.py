"""Whole logs copied: what a restored and a forked log hold, and what they cannot hold any more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from esctl.api import open_log
from esctl.archive import checking, creation, folders, listing, moving, tidying
from esctl.errors import SegmentError, UnavailableError, UsageError, VerificationError
from esctl.events import system
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.upkeep import copies, erasure, verify
from tests.conftest import write_empty_log
from tests.logs import alter, hold, run, whole
from tests.projections.counts import COUNTS
from tests.segments import EVENTS, make, place, replayed
from tests.store.test_carving import made, overwrite, root_of

MODEL = '[aggregate.a]\nstreams = "s-*"\n[aggregate.a.on.T]\nadd = { n = 1 }\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of twelve events in two streams, a model applied after the sixth, and a snapshot of each stream's end."""
    path = tmp_path / "log.db"
    write_empty_log(path)
    (tmp_path / "model.toml").write_text(MODEL)
    with open_log(path, write=True) as log:
        for n in range(1, EVENTS + 1):
            log.append(f"s-{n % 2}", "T", {"secret": f"payload-{n:03}"})
            if n == 6:
                log.apply_model(tmp_path / "model.toml")
    return path


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    with EventLog(path) as opened:
        yield opened


def payloads(path: Path) -> list[str]:
    with EventLog(path) as log:
        return [event[8] for event, _, _ in log.read(Query())]


def own(path: Path, type_: str) -> dict[str, object]:
    with EventLog(path) as log:
        (event,) = log.system_events(type_)
        data: dict[str, object] = json.loads(event[8])
        return data


@pytest.mark.parametrize("position", range(EVENTS + 2))
def test_a_fork_holds_what_the_log_held_up_to_a_position(log: EventLog, tmp_path: Path, position: int) -> None:
    copies.fork(log, tmp_path / "fork.db", position)
    expected = [event[8] for event, _, _ in log.read(Query(until=position))] if position else []
    assert payloads(tmp_path / "fork.db") == expected
    assert whole(tmp_path / "fork.db")
    assert own(tmp_path / "fork.db", system.LOG_FORKED)["until"] == position
    with EventLog(tmp_path / "fork.db") as fork:
        assert fork.store.model() == (7 if position >= 7 else 0)


def test_a_fork_goes_on_where_its_streams_end(log: EventLog, tmp_path: Path) -> None:
    copies.fork(log, tmp_path / "fork.db", 4)
    with open_log(tmp_path / "fork.db", write=True) as fork:
        assert fork.append("s-0", "T", {}, expect=2).version == 3
        assert fork.append("s-0", "T", {"secret": "payload-006"}).version == 4
    assert whole(tmp_path / "fork.db")


def test_what_was_cut_off_is_not_in_the_file_of_a_fork(log: EventLog, tmp_path: Path) -> None:
    copies.fork(log, tmp_path / "fork.db", 5)
    data = (tmp_path / "fork.db").read_bytes()
    assert b"payload-005" in data
    assert b"payload-006" not in data


def test_a_fork_has_no_snapshot_of_what_came_later(path: Path, tmp_path: Path) -> None:
    with EventLog(path, write=True) as log:
        from esctl.states.snapshot_care import take

        take(log, "s-0")
        copies.fork(log, tmp_path / "fork.db", 8)
        copies.fork(log, tmp_path / "all.db", 13)
    with EventLog(tmp_path / "fork.db") as fork, EventLog(tmp_path / "all.db") as all_:
        assert [len(list(each.store.snapshots().of())) for each in (fork, all_)] == [0, 1]


def test_the_log_that_is_forked_is_not_touched(log: EventLog, path: Path, tmp_path: Path) -> None:
    before, data = log.head(), path.read_bytes()
    copies.fork(log, tmp_path / "fork.db", 5)
    assert (log.head(), path.read_bytes()) == (before, data)


def test_a_restored_log_is_the_backup_and_says_where_it_comes_from(log: EventLog, tmp_path: Path) -> None:
    copies.backup(log, tmp_path / "backup.db")
    with EventLog(tmp_path / "backup.db") as backup:
        copies.restore(backup, tmp_path / "restored.db")
        head = backup.head()
    assert payloads(tmp_path / "restored.db") == payloads(tmp_path / "backup.db")
    assert own(tmp_path / "restored.db", system.LOG_RESTORED) == {"from": f"{head[0]}:{head[1].hex()}"}
    assert whole(tmp_path / "restored.db")


def test_a_copy_never_takes_a_name_that_is_taken(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        copies.fork(log, tmp_path / "there", 3)
    assert (tmp_path / "there").read_text() == "mine"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_copy_into_a_folder_that_is_not_there_leaves_nothing(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        copies.restore(log, tmp_path / "nowhere" / "copy.db")


def test_a_copy_without_segments_never_removes_the_files_of_the_log_that_it_names(path: Path, tmp_path: Path) -> None:
    with EventLog(path, write=True) as log:
        list(creation.create(log, [(1, 6)], to=tmp_path / "cold"))
        copies.backup(log, tmp_path / "copy.db", segments=False)
    with EventLog(tmp_path / "copy.db", write=True) as copy:
        (segment,) = listing.archived(copy)
        moving.restore(copy, segment)
    assert whole(tmp_path / "copy.db")
    assert whole(path)


def test_a_segment_moved_to_the_folder_where_it_lies_is_still_there(path: Path, tmp_path: Path) -> None:
    with EventLog(path, write=True) as log:
        list(creation.create(log, [(1, 6)], to=tmp_path / "cold"))
        copies.backup(log, tmp_path / "copy.db", segments=False)  # which names the folder by its whole path
    with EventLog(tmp_path / "copy.db", write=True) as copy:
        (segment,) = listing.archived(copy)
        moving.move(copy, segment, tmp_path / "cold")
    assert whole(tmp_path / "copy.db")
    assert whole(path)


# Logs with an archive


def test_a_backup_holds_in_itself_what_lies_outside(twelve: EventLog, cold: Path, tmp_path: Path) -> None:
    make(twelve, cold)
    copies.backup(twelve, tmp_path / "copy.db")
    shutil.rmtree(cold)
    with EventLog(tmp_path / "copy.db") as copy:
        assert {segment.location for segment in listing.archived(copy)} == {None}
        assert replayed(copy) == list(range(1, EVENTS + 1))
        assert list(checking.findings(copy, full=True)) == []


def test_a_backup_without_segments_names_links_of_them_that_stay(twelve: EventLog, cold: Path, tmp_path: Path) -> None:
    make(twelve, cold)
    (tmp_path / "deep").mkdir()
    copies.backup(twelve, tmp_path / "deep" / "copy.db", segments=False)
    with EventLog(tmp_path / "deep" / "copy.db") as copy:
        assert {segment.location for segment in listing.archived(copy)} == {str(cold.resolve() / folders.KEPT)}
        assert replayed(copy) == list(range(1, EVENTS + 1))


@pytest.mark.parametrize("position", [2, 4, 5, 8, 11, 12])
def test_a_fork_ends_at_its_position_wherever_segments_end(twelve: EventLog, tmp_path: Path, position: int) -> None:
    make(twelve, until=8)
    copies.fork(twelve, tmp_path / "fork.db", position)
    with EventLog(tmp_path / "fork.db") as fork:
        assert replayed(fork) == list(range(1, position + 2))
        assert verify.verify(fork, full=True).findings == []
    assert replayed(twelve) == list(range(1, EVENTS + 1))


# A copy owns nothing of its original


COPIES: dict[str, Callable[[EventLog, Path], object]] = {
    "backup": copies.backup,
    "thin": lambda log, target: copies.backup(log, target, segments=False),
    "restore": copies.restore,
    "fork": lambda log, target: copies.fork(log, target, EVENTS),
    "cp": lambda log, target: [
        subprocess.run(["cp", f"{log.path}{end}", f"{target}{end}"], check=False, stderr=subprocess.DEVNULL)
        for end in ("", "-wal")
    ],
}


def change(log: EventLog, what: str, cold: Path) -> None:
    """A command that writes or removes a segment's file."""
    if what == "create":
        make(log, cold, until=8)
    elif what == "erase":
        list(erasure.erase(log, [2, 6], "asked for"))
    else:
        for segment in listing.archived(log):
            if what == "restore":
                moving.restore(log, segment)
            else:
                moving.move(log, segment, {"out": cold, "in": None, "elsewhere": cold.with_name("ice")}[what])


@contextmanager
def watched(action: Callable[[], None]) -> Iterator[None]:
    """Call an action before each operation on files, except those of the action itself."""
    busy = False

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal busy
            if not busy:
                busy = True
                action()
                busy = False
            return real(*given, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "link", "unlink", "mkdir"):
            patch.setattr(os, name, around(getattr(os, name)))
        yield


def found_whole(path: Path) -> None:
    with EventLog(path) as log:
        assert verify.verify(log, full=True).findings == []
        assert replayed(log)[:EVENTS] == list(range(1, EVENTS + 1))


RARE = [pytest.param(what, marks=pytest.mark.slow) for what in ("out", "in", "restore")]


@pytest.mark.parametrize("what", ["create", "elsewhere", "erase", *RARE])
def test_a_copy_made_between_any_two_operations_on_files_owns_nothing_of_its_original(
    twelve: EventLog, log_path: Path, cold: Path, what: str
) -> None:
    if what != "create":
        make(twelve, None if what == "out" else cold, until=8)
    made: list[Path] = []

    def copied() -> None:
        for how, copy in COPIES.items():
            target = log_path.with_name(f"{how}-{len(made)}.db")
            with EventLog(log_path) as reader:
                copy(reader, target)
            made.append(target)

    with watched(copied):
        change(twelve, what, cold)
    assert len(made) >= 4 * len(COPIES)
    files = [place(twelve, segment) for segment in listing.archived(twelve) if segment.location is not None]
    for target in made:
        by_hand = target.name.startswith("cp")  # the original may have removed files that such a copy refers to
        with EventLog(target, write=True, bulk=True) as copy:
            tidying.tidy(copy)
            for segment in listing.archived(copy):
                with suppress(*[SegmentError, VerificationError] if by_hand else []):
                    moving.restore(copy, segment)
            tidying.tidy(copy)
        if not by_hand:
            found_whole(target)
        assert [file for file in files if not file.exists()] == [], target.name
    found_whole(log_path)


@pytest.mark.parametrize("what", ["in", "elsewhere", "restore", "erase"])
def test_a_backup_without_segments_stays_whole_whatever_its_original_does(
    twelve: EventLog, log_path: Path, cold: Path, what: str
) -> None:
    make(twelve, cold, until=8)
    thin = log_path.with_name("thin.db")
    copies.backup(twelve, thin, segments=False)
    change(twelve, what, cold)
    found_whole(thin)
    found_whole(log_path)
    with EventLog(thin) as log:
        assert all(event.data is not None for event, _, _ in log.read(Query()))


def test_a_copy_that_archives_the_same_events_into_the_same_folder_removes_none_of_its_originals_files(
    twelve: EventLog, log_path: Path, cold: Path
) -> None:
    copies.backup(twelve, copy_path := log_path.with_name("copy.db"))
    with EventLog(copy_path, write=True, bulk=True) as copy:
        for first, second in ((copy, twelve), (twelve, copy)):
            make(first, cold, until=8)
            make(second, cold, until=8)
            change(first, "restore", cold)
            found_whole(Path(second.path))
            change(second, "restore", cold)


def test_an_erasure_in_a_backup_without_segments_leaves_the_payload_to_its_original(
    twelve: EventLog, log_path: Path, cold: Path
) -> None:
    make(twelve, cold, until=8)
    copies.backup(twelve, thin := log_path.with_name("thin.db"), segments=False)
    for path in (thin, log_path):
        with EventLog(path, write=True, bulk=True) as log:
            change(log, "erase", cold)
            found_whole(path)
            assert [event.position for event, _, _ in log.read(Query()) if event.data is None] == [2, 6]
    found_whole(thin)
    change(twelve, "restore", cold)
    found_whole(thin)


def test_an_erasure_that_cannot_remove_the_file_names_it(twelve: EventLog, log_path: Path, cold: Path) -> None:
    make(twelve, cold, until=8)
    ids = count(1)  # a file system that gives files another identity each time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_fsid=next(ids)))
        with pytest.raises(UnavailableError, match="still has them") as caught:
            list(erasure.erase(twelve, [2], "asked for"))
    Path(str(caught.value.details["path"])).unlink()
    list(erasure.erase(twelve, [2, 6], "asked for"))
    found_whole(log_path)


def test_a_fork_to_before_an_erasure_that_is_archived_records_it_again(twelve: EventLog, tmp_path: Path) -> None:
    list(erasure.erase(twelve, [2], "asked for"))
    make(twelve, until=EVENTS + 1, most=EVENTS)
    copies.fork(twelve, tmp_path / "fork.db", 3)
    assert own(tmp_path / "fork.db", system.PAYLOAD_ERASED) == {"positions": [[2, 2]], "reason": "asked for"}
    assert whole(tmp_path / "fork.db")


def test_no_copy_of_a_damaged_log_is_kept(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    overwrite(path, root_of(path, "events"))
    with EventLog(path) as log:
        attempts: list[Callable[[EventLog, Path], object]] = [
            copies.backup,
            copies.restore,
            lambda a, b: copies.fork(a, b, 9),
        ]
        for copy in attempts:
            with pytest.raises(VerificationError, match=r"log\.db is damaged"):
                copy(log, tmp_path / "copy.db")
            assert not list(tmp_path.glob("*copy*"))


def test_a_log_of_which_only_a_projection_is_damaged_is_copied(path: Path, tmp_path: Path) -> None:
    with EventLog(path, write=True) as log:
        hold(log, COUNTS)
        run(log)
    alter(path, "update projections set position = 99")
    with EventLog(path) as log:
        copies.backup(log, tmp_path / "copy.db")
    with EventLog(tmp_path / "copy.db") as copy:
        assert {finding["check"] for finding in verify.verify(copy, full=False).findings} == {"projection"}
        assert replayed(copy)
