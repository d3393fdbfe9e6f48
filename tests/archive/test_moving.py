"""Segments exported, moved and brought back, with nothing lost, whoever else does so meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard  # noqa: TID253 - what others unpack segments with

from esctl.archive import checking, creation, listing, moving
from esctl.errors import ConflictError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store.segments import Segment
from esctl.upkeep import verify
from tests.segments import EVENTS, make, place, replayed

# Moved


def test_a_segment_moved_there_and_back_has_the_same_bytes(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve)[1]
    before = b"".join(moving.export(twelve, segment))
    moved = moving.move(twelve, segment, cold)
    path = place(twelve, moved)
    assert path.read_bytes() == b"".join(moving.export(twelve, moved)) == before
    assert hashlib.sha256(before).digest() == segment.sha256
    assert moving.move(twelve, moved, None) == segment
    assert b"".join(moving.export(twelve, segment)) == before
    assert not path.exists()
    assert list(checking.findings(twelve, full=True)) == []


def test_a_segment_is_the_same_file_whether_made_in_the_log_or_in_a_folder(twelve: EventLog, cold: Path) -> None:
    exported = b"".join(moving.export(twelve, make(twelve, until=4)[0]))
    moving.restore(twelve, listing.named(twelve, "1-4"))
    assert place(twelve, make(twelve, cold, until=4)[0]).read_bytes() == exported


def test_what_is_exported_unpacks_to_the_raw_replay(twelve: EventLog) -> None:
    segment = make(twelve, most=100)[0]
    lines = b"".join(twelve.lines(Query(system=True, raw_schema=True)))
    exported = b"".join(moving.export(twelve, segment))
    unpacked = zstandard.ZstdDecompressor().stream_reader(exported, read_across_frames=True).read()
    assert unpacked == lines


def test_moving_to_where_it_is_changes_nothing(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve, cold)[0]
    path = place(twelve, segment)
    assert moving.move(twelve, segment, cold) == segment
    assert path.exists()


@pytest.mark.parametrize("what", ["file", "symlink"])
def test_a_file_in_the_way_stays_and_is_no_segment(twelve: EventLog, cold: Path, tmp_path: Path, what: str) -> None:
    segment = make(twelve)[0]
    cold.mkdir()
    aim = tmp_path / "aim"
    aim.write_text("mine")
    way = cold / segment.file
    if what == "file":
        way.write_bytes(bytes(segment.size))
    else:
        way.symlink_to(aim)
    with pytest.raises(UsageError):
        moving.move(twelve, segment, cold)
    assert aim.read_text() == "mine"
    assert listing.archived(twelve)[0] == segment
    assert replayed(twelve) == list(range(1, EVENTS + 1))


def test_the_same_file_of_another_log_is_taken_by_a_link(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve)[0]
    cold.mkdir()
    (cold / segment.file).write_bytes(b"".join(moving.export(twelve, segment)))
    assert moving.move(twelve, segment, cold).location == "cold/kept-for-copies"
    assert replayed(twelve) == list(range(1, EVENTS + 1))


# Brought back


@pytest.mark.parametrize("outside", [False, True])
def test_restored_the_log_is_what_it_was(twelve: EventLog, cold: Path, outside: bool) -> None:
    before = list(twelve.read(Query(system=True)))
    for segment in make(twelve, cold if outside else None):
        moving.restore(twelve, segment)
    assert listing.archived(twelve) == []
    assert list(twelve.read(Query(system=True, hot_only=True))) == before
    assert verify.verify(twelve, full=True).findings == []
    assert not cold.exists() or list(cold.iterdir()) == []


# Two at once


def again(log: EventLog, segment: Segment, _: Path) -> None:
    with log.transaction():
        listing.again(log, segment)


def restore(log: EventLog, segment: Segment, _: Path) -> None:
    moving.restore(log, segment)


def move(log: EventLog, segment: Segment, to: Path) -> None:
    moving.move(log, segment, to)


@pytest.mark.parametrize("change", [again, restore, move])
def test_a_change_to_a_segment_that_somebody_else_has_moved_is_a_conflict(
    twelve: EventLog, log_path: Path, cold: Path, change: Callable[[EventLog, Segment, Path], None]
) -> None:
    segment = make(twelve)[0]
    with EventLog(log_path, write=True, bulk=True) as other:
        moving.move(other, segment, cold)
    with pytest.raises(ConflictError, match="has just changed"):
        change(twelve, segment, cold.with_name("ice"))
    assert replayed(twelve) == list(range(1, EVENTS + 1))
    assert place(twelve, listing.archived(twelve)[0]).exists()


def test_events_that_another_has_archived_meanwhile_are_a_conflict(twelve: EventLog, log_path: Path) -> None:
    made = creation.create(twelve, listing.hot(twelve, EVENTS), most=4)
    next(made)
    with EventLog(log_path, write=True, bulk=True) as other:
        make(other)
    with pytest.raises(ConflictError, match="changed while they were archived"):
        list(made)
    assert replayed(twelve) == list(range(1, EVENTS + 1))
    assert verify.verify(twelve, full=True).findings == []


def test_a_segment_that_another_run_moves_after_it_was_checked_is_not_called_damaged(
    twelve: EventLog, cold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment, *_) = make(twelve)
    check = checking.check

    def checked(log: EventLog, segment: Segment) -> None:
        check(log, segment)
        monkeypatch.setattr(moving, "check", check)
        with EventLog(twelve.path, write=True) as other:
            moving.move(other, segment, cold / "elsewhere")

    monkeypatch.setattr(moving, "check", checked)
    with pytest.raises(ConflictError, match="has just changed"):
        moving.move(twelve, segment, cold)
    assert verify.verify(twelve, full=True).findings == []
