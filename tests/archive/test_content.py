"""The bytes of a segment are the same wherever it lies, and its digest is of all of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.archive import content
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.segments import Segment
from tests.segments import archive_of, make


def whole(log: EventLog, segment: Segment) -> bytes:
    archive = archive_of(log)
    return b"".join(content.parts(log, archive, segment, archive.frames(segment)))


@given(st.lists(st.binary()))
def test_a_digest_does_not_depend_on_how_bytes_are_cut(parts: list[bytes]) -> None:
    assert content.digest_of(parts) == hashlib.sha256(b"".join(parts)).digest()


@given(st.lists(st.binary()))
def test_measured_parts_pass_unchanged_and_their_sizes_are_kept(parts: list[bytes]) -> None:
    sizes: list[int] = []
    assert list(content.measured(parts, sizes)) == parts
    assert sizes == [len(part) for part in parts]


@pytest.mark.parametrize("outside", [False, True])
def test_the_parts_of_a_segment_are_what_its_digest_and_its_size_say(
    twelve: EventLog, cold: Path, outside: bool
) -> None:
    for segment in make(twelve, cold if outside else None):
        found = whole(twelve, segment)
        assert (hashlib.sha256(found).digest(), len(found)) == (segment.sha256, segment.size)
        if outside:
            assert found == (cold / segment.file).read_bytes()


@pytest.mark.parametrize("outside", [False, True])
def test_the_lines_of_a_frame_are_its_events(
    twelve: EventLog, cold: Path, outside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FRAME_BYTES", 1)
    (segment,) = make(twelve, cold if outside else None, most=12)
    archive = archive_of(twelve)
    frames = archive.frames(segment)
    lines = [line for frame in frames for line in content.lines(archive, frame, segment)]
    assert [line.position for line in lines] == list(range(1, 13))
    assert len(frames) > 1


@pytest.mark.parametrize("outside", [False, True])
def test_packed_frames_have_their_bytes_and_a_salt_an_event(twelve: EventLog, cold: Path, outside: bool) -> None:
    (segment,) = make(twelve, cold if outside else None, most=12)
    for packed in content.packed(archive_of(twelve), segment):
        assert hashlib.sha256(packed.packed).digest() == packed.frame.sha256
        assert len(packed.salts) == 16 * (packed.frame.last - packed.frame.first + 1)
