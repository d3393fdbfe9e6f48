"""Payloads erased in a segment: only the frames that had them change, and the result is what a whole rewrite gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard  # noqa: TID253 - what others unpack segments with
from hypothesis import given
from hypothesis import strategies as st

from esctl.archive import checking, creation, erasing, listing, moving
from esctl.errors import ConflictError, VerificationError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.segments import Packed, Segment
from esctl.upkeep import erasure
from tests import independent_verifier
from tests.conftest import Esctl, writer_of
from tests.segments import altered, archive_of, place

EVENTS = 60
FRAME = 10  # events
folders = pytest.mark.parametrize("folder", [None, "cold"])


@pytest.fixture
def sixty(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """A log of sixty events, for frames of ten; the payloads of 41 and later are empty."""
    monkeypatch.setattr(segments, "FRAME_EVENTS", FRAME)
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append(
            [
                NewEvent(f"s-{n % 7}", f"T{n % 2}", f"id {n}", None, 1, _data(n), "{}", None)
                for n in range(1, EVENTS + 1)
            ]
        )
    return EventLog(log_path, write=True, bulk=True)


def _data(n: int) -> str:
    return "{}" if n > 40 else json.dumps({"name": f"payload-{n:03}", "more": hashlib.sha256(bytes([n])).hexdigest()})


def archived(log: EventLog, folder: str | None) -> Segment:
    (segment,) = creation.create(log, [(1, EVENTS)], to=Path(log.path).parent / folder if folder else None)
    assert len(archive_of(log).frames(segment)) == EVENTS // FRAME
    return segment


def packed(log: EventLog) -> list[Packed]:
    (segment,) = listing.archived(log)
    archive = archive_of(log)
    return [Packed(f, archive.packed(f, segment), archive.salts(f, segment)) for f in archive.frames(segment)]


def erase(log: EventLog, *positions: int) -> None:
    list(erasure.erase(log, positions, "test"))
    assert erasure.scrub(log)


def whole(log: EventLog) -> None:
    """The segment is in every byte and every fact what can be computed from its lines, and others can read it."""
    (segment,) = listing.archived(log)
    assert list(checking.problems(log, segment)) == []
    file = Path(log.path).parent / f"out-{segment.file}"
    file.write_bytes(b"".join(moving.export(log, segment)))
    independent_verifier.from_segment(str(file))
    raw = file.read_bytes()
    lines = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
    assert lines == b"".join(log.lines(Query(until=EVENTS, system=True, raw_schema=True)))


@folders
@pytest.mark.parametrize("positions", [(5,), (1, 10), (11, 12, 39), tuple(range(1, EVENTS + 1)), (45,), (3, 55)])
def test_what_is_rewritten_is_as_if_all_of_it_were(
    sixty: EventLog, folder: str | None, positions: Sequence[int]
) -> None:
    archived(sixty, folder)
    erase(sixty, *positions)
    whole(sixty)
    assert [event.position for event, _, _ in sixty.read(Query(until=EVENTS)) if event.data is None] == [*positions]


@folders
def test_frames_without_erased_payloads_stay_byte_for_byte(sixty: EventLog, folder: str | None) -> None:
    archived(sixty, folder)
    before = packed(sixty)
    erase(sixty, 5, 33)
    after = packed(sixty)
    same = [old[1:] == new[1:] for old, new in zip(before, after, strict=True)]
    assert same == [False, True, True, False, True, True]


def test_in_the_logs_file_a_smaller_frame_keeps_its_place_and_its_size(sixty: EventLog) -> None:
    archived(sixty, None)
    before = packed(sixty)
    erase(sixty, 5, 33)
    assert [p.frame[:8] for p in packed(sixty)] == [(*p.frame[:7], q.frame.raw_size) for p, q in _pairs(before, sixty)]


def _pairs(before: list[Packed], log: EventLog) -> list[tuple[Packed, Packed]]:
    return list(zip(before, packed(log), strict=True))


@folders
def test_frames_behind_one_that_grows_move(sixty: EventLog, folder: str | None) -> None:
    """An erased line is longer than one with an empty payload."""
    archived(sixty, folder)
    before = packed(sixty)
    erase(sixty, *range(41, 51))
    moved = [new.frame.offset - old.frame.offset for old, new in _pairs(before, sixty)]
    assert moved[:5] == [0] * 5
    assert moved[5] == packed(sixty)[4].frame.size - before[4].frame.size != 0
    whole(sixty)


def test_a_padded_frame_can_be_erased_from_again_and_moved(sixty: EventLog, cold: Path) -> None:
    archived(sixty, None)
    for position in (5, 6, 7):
        erase(sixty, position)
        whole(sixty)
    moving.move(sixty, listing.archived(sixty)[0], cold)
    whole(sixty)
    erase(sixty, 8)
    whole(sixty)
    assert list(checking.findings(sixty, full=True)) == []


def test_lines_behind_a_padded_frame_are_appended_too(esctl: Esctl, log_path: Path) -> None:
    lines = [json.dumps({"stream": "s", "type": "T", "data": {"n": n}}).encode() + b"\n" for n in range(4)]
    frames = [segments.compressor(9)(line) for line in lines]
    content = b"".join(segments.padded(frame, len(frame) + 8 + n) for n, frame in enumerate(frames))
    assert esctl("append", "--log", str(log_path), input=content).returncode == 0
    with EventLog(log_path) as log:
        assert log.head().position == len(lines)


@folders
@pytest.mark.parametrize("frame", [0, 3])
def test_damage_anywhere_in_a_segment_stops_its_erasure(sixty: EventLog, folder: str | None, frame: int) -> None:
    segment = archived(sixty, folder)
    if folder is None:
        altered(Path(sixty.path), f"update frames set packed = zeroblob(length(packed)) where number = {frame}")
    else:
        path, offset = place(sixty, segment), packed(sixty)[frame].frame.offset
        content = bytearray(path.read_bytes())
        content[offset + 20] ^= 1
        path.write_bytes(content)
    with pytest.raises(VerificationError, match="1-60 is damaged"):
        list(erasure.erase(sixty, [5], "test"))
    assert [event for event, _, _ in sixty.read(Query(since=61, system=True))] == []


def test_a_segment_that_moves_before_its_file_is_written_is_a_conflict(sixty: EventLog) -> None:
    segment = archived(sixty, "cold")
    made = erasing.without(sixty, archive_of(sixty), segment, [5])
    with EventLog(sixty.path, write=True) as other:
        moving.move(other, listing.archived(other)[0], None)
    with pytest.raises(ConflictError, match="has just changed"):
        erasing.written(sixty, segment, made)
    assert erasing.without(sixty, archive_of(sixty), listing.archived(sixty)[0], [99]).new == []


@given(text=st.binary(min_size=1, max_size=500), more=st.integers(-50, 300))
def test_a_padded_frame_is_unpacked_as_it_was(text: bytes, more: int) -> None:
    frame = segments.compressor(9)(text)
    padded = segments.padded(frame, len(frame) + more)
    assert len(padded) == (len(frame) + more if more >= 8 else len(frame))
    assert padded.startswith(frame)
    assert zstandard.ZstdDecompressor().stream_reader(padded, read_across_frames=True).read() == text
    assert zstandard.ZstdDecompressor().decompress(padded) == text
