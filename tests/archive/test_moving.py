"""The archive, rule by rule: what is listed, found wrong, moved, brought back and cleared away."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
import zstandard  # noqa: TID253 - what others unpack segments with

from esctl.archive import checking, creation, folders, listing, moving, tidying
from esctl.errors import (
    ConflictError,
    EsctlError,
    NotFoundError,
    SegmentError,
    UnavailableError,
    UsageError,
    VerificationError,
)
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import migrations, segments
from esctl.store.segments import Segment
from esctl.upkeep import copies, verify
from tests.conftest import writer_of

EVENTS = 12


def fill(path: Path, count: int = EVENTS) -> None:
    with EventLog(path, write=True) as log, log.transaction():
        events = [(f"s-{n % 3}", "T", f"id {n}", None, 1, f'{{"n":{n}}}', "{}", None) for n in range(1, count + 1)]
        writer_of(log).append(events)


def make(log: EventLog, to: Path | None = None, *, until: int = EVENTS, most: int = 4) -> list[Segment]:
    return list(creation.create(log, listing.hot(log, until), most=most, to=to))


def altered(path: Path, sql: str, *values: object) -> None:
    """Change a log by another program."""
    connection = apsw.Connection(str(path))
    connection.execute(sql, values)
    connection.close()


def replayed(log: EventLog, *, hot_only: bool = False) -> list[int]:
    return [event[0] for event, _, _ in log.read(Query(system=True, hot_only=hot_only))]


def place(log: EventLog, segment: Segment) -> Path:
    held = log.store.archive()
    assert held is not None
    path = held.place(segment)
    assert path is not None
    return path


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """A log of twelve events."""
    fill(log_path)
    with EventLog(log_path, write=True, bulk=True) as opened:
        yield opened


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    return tmp_path / "cold"


# Listing


def test_a_log_that_was_never_archived_has_no_segments_and_is_hot(log: EventLog) -> None:
    assert listing.archived(log) == []
    assert listing.hot(log, EVENTS) == [(1, EVENTS)]


def test_what_is_hot_are_the_ranges_between_segments(log: EventLog) -> None:
    moving.restore(log, make(log, until=10)[1])
    assert listing.hot(log, EVENTS) == [(5, 8), (11, 12)]
    assert listing.hot(log, 6) == [(5, 6)]
    assert listing.hot(log, 4) == []


def test_segments_are_named_by_their_ranges(log: EventLog) -> None:
    made = make(log)
    assert [segment.name for segment in made] == ["1-4", "5-8", "9-12"]
    assert listing.named(log, "5-8") == made[1]


@pytest.mark.parametrize("name", ["1-5", "", "../1-4", "1-4/", "01-4"])
def test_a_name_that_no_segment_has_is_not_found(log: EventLog, name: str) -> None:
    make(log)
    with pytest.raises(NotFoundError, match="there is no segment") as caught:
        listing.named(log, name)
    assert "1-4" in caught.value.why


def test_nothing_to_archive_makes_nothing(log: EventLog) -> None:
    make(log)
    assert list(creation.create(log, [])) == []


def test_a_folder_beside_the_log_moves_with_it(log: EventLog, cold: Path, tmp_path: Path) -> None:
    assert {segment.location for segment in make(log, cold)} == {"cold"}
    log.close()
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    with EventLog(tmp_path.parent / f"{tmp_path.name}-moved" / "log.db") as moved:
        shutil.rmtree(cold)
        assert replayed(moved) == list(range(1, EVENTS + 1))


# What is wrong is found, and never a shorter answer


def unlink(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [unlink, truncate, link, folder])
def test_a_file_that_is_not_there_as_it_was_is_an_error_that_names_it(
    log: EventLog, cold: Path, harm: Callable[[Path], None]
) -> None:
    segment = make(log, cold, until=8)[1]
    harm(place(log, segment))
    with pytest.raises(SegmentError) as caught:
        replayed(log)
    assert (caught.value.details["segment"], caught.value.details["first"], caught.value.details["last"]) == (
        "5-8",
        5,
        8,
    )
    assert "5 to 8" in caught.value.why
    assert list(checking.problems(log, segment))
    assert replayed(log, hot_only=True) == [9, 10, 11, 12]
    assert not verify.verify(log, full=False).ok
    with pytest.raises(EsctlError):
        moving.restore(log, segment)


@pytest.mark.parametrize("at", [0, 40, -60, -1])
def test_a_changed_byte_anywhere_in_a_file_is_found(log: EventLog, cold: Path, at: int) -> None:
    segment = make(log, cold)[0]
    path = place(log, segment)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert list(checking.problems(log, segment))
    for change in (checking.check, moving.restore):
        with pytest.raises(VerificationError, match="1-4"):
            change(log, segment)
    with pytest.raises(VerificationError):
        moving.move(log, segment, None)
    assert listing.archived(log)[0] == segment


def test_the_file_of_another_log_is_refused(log: EventLog, cold: Path, tmp_path: Path) -> None:
    segment = make(log, cold)[0]
    other = tmp_path / "other" / "log.db"
    other.parent.mkdir()
    migrations.create(other)
    fill(other)
    with EventLog(other, write=True, bulk=True) as another:
        foreign = place(another, make(another, tmp_path / "other" / "cold")[0])
        content = foreign.read_bytes()
    own = place(log, segment)
    own.write_bytes(content[: segment.size].ljust(segment.size, b"\0"))
    with pytest.raises(VerificationError, match="1-4"):
        replayed(log)
    assert list(checking.problems(log, segment))


def test_a_frame_that_says_that_it_is_huge_is_not_unpacked(log: EventLog, log_path: Path) -> None:
    segment = make(log)[0]
    bomb = zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024))
    digest = hashlib.sha256(bomb).digest()
    sql = "update frames set packed = ?, bytes = ?, sha256 = ? where first = 1"
    altered(log_path, sql, bomb, len(bomb), digest)
    with pytest.raises(VerificationError, match="1-4") as caught:
        replayed(log)
    assert "says that it holds" in caught.value.why
    assert list(checking.problems(log, segment))


NOTES = {
    "streams": "update archived_streams set bytes = bytes + 1 where segment = 1",
    "types": "update archived_types set events = events + 1 where segment = 1",
    "ids": "delete from archived_ids where position = 2",
    "salts": "update frames set salts = zeroblob(64) where first = 1",
    "the hash before": "update segments set before = zeroblob(32) where first = 1",
    "the hash after": "update segments set after = zeroblob(32) where first = 1",
    "the digest": "update segments set sha256 = zeroblob(32) where first = 1",
    "the size of its lines": "update segments set raw_bytes = 1 where first = 1",
    "its size": "update segments set bytes = bytes - 4 where first = 1",
    "own events": "update frames set own = 1 where first = 1",
    "a frame": "delete from frames where first = 1",
}


@pytest.mark.parametrize("note", NOTES)
def test_what_is_noted_of_a_segment_is_told_anew_when_it_is_checked(log: EventLog, log_path: Path, note: str) -> None:
    make(log)
    assert list(checking.findings(log, full=True)) == []
    altered(log_path, NOTES[note])
    altered(log_path, "update head set archived = archived + 1")
    found = list(checking.findings(log, full=True))
    assert found
    assert found[0][:2] == ("archive", 1)
    assert "1-4" in found[0][2]


# Moved


def test_a_segment_moved_there_and_back_has_the_same_bytes(log: EventLog, cold: Path) -> None:
    segment = make(log)[1]
    before = b"".join(moving.export(log, segment))
    moved = moving.move(log, segment, cold)
    path = place(log, moved)
    assert path.read_bytes() == b"".join(moving.export(log, moved)) == before
    assert hashlib.sha256(before).digest() == segment.sha256
    assert moving.move(log, moved, None) == segment
    assert b"".join(moving.export(log, segment)) == before
    assert not path.exists()
    assert list(checking.findings(log, full=True)) == []


def test_a_segment_is_the_same_file_whether_made_in_the_log_or_in_a_folder(log: EventLog, cold: Path) -> None:
    exported = b"".join(moving.export(log, make(log, until=4)[0]))
    moving.restore(log, listing.named(log, "1-4"))
    assert place(log, make(log, cold, until=4)[0]).read_bytes() == exported


def test_what_is_exported_unpacks_to_the_raw_replay(log: EventLog) -> None:
    segment = make(log, most=100)[0]
    lines = b"".join(log.lines(Query(system=True, raw_schema=True)))
    exported = b"".join(moving.export(log, segment))
    unpacked = zstandard.ZstdDecompressor().stream_reader(exported, read_across_frames=True).read()
    assert unpacked == lines


def test_moving_to_where_it_is_changes_nothing(log: EventLog, cold: Path) -> None:
    segment = make(log, cold)[0]
    path = place(log, segment)
    assert moving.move(log, segment, cold) == segment
    assert path.exists()


@pytest.mark.parametrize("what", ["file", "symlink"])
def test_a_file_in_the_way_stays_and_is_no_segment(log: EventLog, cold: Path, tmp_path: Path, what: str) -> None:
    segment = make(log)[0]
    cold.mkdir()
    aim = tmp_path / "aim"
    aim.write_text("mine")
    way = cold / segment.file
    if what == "file":
        way.write_bytes(bytes(segment.size))
    else:
        way.symlink_to(aim)
    with pytest.raises(UsageError):
        moving.move(log, segment, cold)
    assert aim.read_text() == "mine"
    assert listing.archived(log)[0] == segment
    assert replayed(log) == list(range(1, EVENTS + 1))


def test_the_same_file_that_a_killed_run_wrote_is_taken(log: EventLog, cold: Path) -> None:
    segment = make(log)[0]
    cold.mkdir()
    (cold / segment.file).write_bytes(b"".join(moving.export(log, segment)))
    assert moving.move(log, segment, cold).location == "cold"
    assert replayed(log) == list(range(1, EVENTS + 1))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EsctlError, match="cannot use the folder"):
        folders.folder_for(tmp_path / "file")


# Brought back


@pytest.mark.parametrize("outside", [False, True])
def test_restored_the_log_is_what_it_was(log: EventLog, cold: Path, outside: bool) -> None:
    before = list(log.read(Query(system=True)))
    for segment in make(log, cold if outside else None):
        moving.restore(log, segment)
    assert listing.archived(log) == []
    assert list(log.read(Query(system=True, hot_only=True))) == before
    assert verify.verify(log, full=True).findings == []
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
    log: EventLog, log_path: Path, cold: Path, change: Callable[[EventLog, Segment, Path], None]
) -> None:
    segment = make(log)[0]
    with EventLog(log_path, write=True, bulk=True) as other:
        moving.move(other, segment, cold)
    with pytest.raises(ConflictError, match="has just changed"):
        change(log, segment, cold.with_name("ice"))
    assert replayed(log) == list(range(1, EVENTS + 1))
    assert place(log, listing.archived(log)[0]).exists()


def test_events_that_another_has_archived_meanwhile_are_a_conflict(log: EventLog, log_path: Path) -> None:
    made = creation.create(log, listing.hot(log, EVENTS), most=4)
    next(made)
    with EventLog(log_path, write=True, bulk=True) as other:
        make(other)
    with pytest.raises(ConflictError, match="changed while they were archived"):
        list(made)
    assert replayed(log) == list(range(1, EVENTS + 1))
    assert verify.verify(log, full=True).findings == []


# After a kill


def test_a_row_that_is_left_in_the_hot_table_has_to_be_the_archived_event(log: EventLog, log_path: Path) -> None:
    made = creation.create(log, listing.hot(log, EVENTS), most=4)
    next(made)  # the run is not at its end
    assert verify.verify(log, full=True).ok
    altered(log_path, "update events set data = '\"other\"' where position = 2")
    assert [finding["position"] for finding in verify.verify(log, full=True).findings] == [2]
    tidying.tidy(log)
    assert verify.verify(log, full=True).ok
    assert replayed(log) == list(range(1, EVENTS + 1))


def test_frames_of_no_segment_are_seen_by_nobody_and_cleared(log: EventLog, log_path: Path) -> None:
    make(log, until=4)
    sql = (
        "insert into frames select 5, 8, 5, 0, before, offset, bytes, raw_bytes, sha256, own, packed, salts from frames"
    )
    altered(log_path, sql)
    assert replayed(log) == list(range(1, EVENTS + 1))
    assert verify.verify(log, full=True).findings == []
    tidying.tidy(log)
    assert [segment.name for segment in listing.archived(log)] == ["1-4"]
    held = apsw.Connection(str(log_path))
    assert held.execute("select count(*) from frames").get == 1
    held.close()


def test_files_that_nothing_needs_any_more_are_removed(log: EventLog, log_path: Path, cold: Path) -> None:
    segment = make(log, cold, until=4)[0]
    path = place(log, segment)
    content = path.read_bytes()
    moving.restore(log, segment)
    path.write_bytes(content)  # as if the run had been killed before it removed the file
    for left in (path, cold / f"0{segment.file}", cold / segment.file.replace("1", "2")):
        altered(log_path, "insert into leftovers values (?)", str(left))
    tidying.tidy(log)
    assert list(cold.iterdir()) == []
    assert log.store.archiving().leftovers() == []


@pytest.mark.parametrize("name", ["mine.txt", "000000000001-000000000004-0123456789abcdef.ndjson.zst"])
def test_a_file_that_was_not_made_for_a_segment_is_not_removed(
    log: EventLog, log_path: Path, cold: Path, name: str
) -> None:
    cold.mkdir()
    (cold / name).write_text("mine")
    altered(log_path, "insert into leftovers values (?)", str(cold / name))
    tidying.tidy(log)
    assert (cold / name).read_text() == "mine"


def test_a_file_that_a_segment_needs_is_not_removed_even_if_it_is_noted(
    log: EventLog, log_path: Path, cold: Path
) -> None:
    path = place(log, make(log, cold)[0])
    altered(log_path, "insert into leftovers values (?)", str(path))
    tidying.tidy(log)
    assert path.exists()
    assert log.store.archiving().leftovers() == []


def test_a_file_whose_folder_is_out_of_reach_stays_noted(log: EventLog, log_path: Path, tmp_path: Path) -> None:
    left = str(tmp_path / "nowhere" / "000000000001-000000000004-0123456789abcdef.ndjson.zst")
    altered(log_path, "insert into leftovers values (?)", left)
    with pytest.raises(UnavailableError, match="cannot remove"):
        tidying.tidy(log)
    assert log.store.archiving().leftovers() == [left]


def test_a_file_is_not_removed_before_the_change_is_committed(log: EventLog, cold: Path) -> None:
    segment = make(log, cold)[0]
    path = place(log, segment)
    with log.transaction(keep=False):
        log.store.archiving().leave(str(path))
    tidying.tidy(log)
    assert path.exists()


# Copies


def test_a_backup_holds_in_itself_what_lies_outside(log: EventLog, cold: Path, tmp_path: Path) -> None:
    make(log, cold)
    copies.backup(log, tmp_path / "copy.db")
    shutil.rmtree(cold)
    with EventLog(tmp_path / "copy.db") as copy:
        assert {segment.location for segment in listing.archived(copy)} == {None}
        assert replayed(copy) == list(range(1, EVENTS + 1))
        assert list(checking.findings(copy, full=True)) == []


def test_a_backup_without_segments_names_them_where_they_lie(log: EventLog, cold: Path, tmp_path: Path) -> None:
    make(log, cold)
    (tmp_path / "deep").mkdir()
    copies.backup(log, tmp_path / "deep" / "copy.db", segments=False)
    with EventLog(tmp_path / "deep" / "copy.db") as copy:
        assert {segment.location for segment in listing.archived(copy)} == {str(cold.resolve())}
        assert replayed(copy) == list(range(1, EVENTS + 1))


@pytest.mark.parametrize("position", [2, 4, 5, 8, 11, 12])
def test_a_fork_ends_at_its_position_wherever_segments_end(log: EventLog, tmp_path: Path, position: int) -> None:
    make(log, until=8)
    copies.fork(log, tmp_path / "fork.db", position)
    with EventLog(tmp_path / "fork.db") as fork:
        assert replayed(fork) == list(range(1, position + 2))
        assert verify.verify(fork, full=True).findings == []
    assert replayed(log) == list(range(1, EVENTS + 1))


def test_what_is_listed_of_a_segment_adds_up(log: EventLog) -> None:
    segment = make(log, most=100)[0]
    record = listing.record(segment)
    assert (record["segment"], record["events"], record["where"]) == ("1-12", EVENTS, "log")
    assert record["bytes"] == len(b"".join(moving.export(log, segment)))
    assert record["raw_bytes"] == len(b"".join(log.lines(Query(system=True, raw_schema=True))))
    assert segments.LEVEL == 9
