"""What is wrong with a segment is found, and never a shorter answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard  # noqa: TID253 - what others unpack segments with

from esctl.archive import checking, listing, moving
from esctl.errors import EsctlError, SegmentError, VerificationError
from esctl.log import EventLog
from esctl.store import migrations
from esctl.upkeep import verify
from tests.segments import altered, fill, make, place, replayed


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
    twelve: EventLog, cold: Path, harm: Callable[[Path], None]
) -> None:
    segment = make(twelve, cold, until=8)[1]
    harm(place(twelve, segment))
    with pytest.raises(SegmentError) as caught:
        replayed(twelve)
    assert (caught.value.details["segment"], caught.value.details["first"], caught.value.details["last"]) == (
        "5-8",
        5,
        8,
    )
    assert "5 to 8" in caught.value.why
    assert list(checking.problems(twelve, segment))
    assert replayed(twelve, hot_only=True) == [9, 10, 11, 12]
    assert not verify.verify(twelve, full=False).ok
    with pytest.raises(EsctlError):
        moving.restore(twelve, segment)


def test_a_file_that_is_merely_not_there_is_not_called_damaged(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve, cold)[1]
    place(twelve, segment).unlink()
    with pytest.raises(SegmentError, match="the segment 5-8 cannot be read"):
        moving.restore(twelve, segment)


@pytest.mark.parametrize("at", [0, 40, -60, -1])
def test_a_changed_byte_anywhere_in_a_file_is_found(twelve: EventLog, cold: Path, at: int) -> None:
    segment = make(twelve, cold)[0]
    path = place(twelve, segment)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert list(checking.problems(twelve, segment))
    for change in (checking.check, moving.restore):
        with pytest.raises(VerificationError, match="1-4"):
            change(twelve, segment)
    with pytest.raises(VerificationError):
        moving.move(twelve, segment, None)
    assert listing.archived(twelve)[0] == segment


def test_the_file_of_another_log_is_refused(twelve: EventLog, cold: Path, tmp_path: Path) -> None:
    segment = make(twelve, cold)[0]
    other = tmp_path / "other" / "log.db"
    other.parent.mkdir()
    migrations.create(other)
    fill(other)
    with EventLog(other, write=True, bulk=True) as another:
        foreign = place(another, make(another, tmp_path / "other" / "cold")[0])
        content = foreign.read_bytes()
    own = place(twelve, segment)
    own.write_bytes(content[: segment.size].ljust(segment.size, b"\0"))
    with pytest.raises(VerificationError, match="1-4"):
        replayed(twelve)
    assert list(checking.problems(twelve, segment))


def test_a_frame_that_says_that_it_is_huge_is_not_unpacked(twelve: EventLog, log_path: Path) -> None:
    segment = make(twelve)[0]
    bomb = zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024))
    digest = hashlib.sha256(bomb).digest()
    sql = "update frames set packed = ?, bytes = ?, sha256 = ? where first = 1"
    altered(log_path, sql, bomb, len(bomb), digest)
    with pytest.raises(VerificationError, match="1-4") as caught:
        replayed(twelve)
    assert "says that it holds" in caught.value.why
    assert list(checking.problems(twelve, segment))


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
def test_what_is_noted_of_a_segment_is_told_anew_when_it_is_checked(
    twelve: EventLog, log_path: Path, note: str
) -> None:
    make(twelve)
    assert list(checking.findings(twelve, full=True)) == []
    altered(log_path, NOTES[note])
    altered(log_path, "update head set archived = archived + 1")
    found = list(checking.findings(twelve, full=True))
    assert found
    assert found[0][:2] == ("archive", 1)
    assert "1-4" in found[0][2]
