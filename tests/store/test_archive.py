"""The archived part of a log, read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest
import zstandard  # noqa: TID253 - what forges a segment
from hypothesis import given
from hypothesis import strategies as st

from esctl.archive import creation, moving
from esctl.errors import VerificationError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import segments
from esctl.upkeep import erasure
from tests.conftest import write_empty_log
from tests.logs import put
from tests.segments import EVENTS, archive_of, fill, folder_of, make


@pytest.fixture(scope="module")
def erased_in_part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of one archived frame: with payloads erased, and with an event of the log's own."""
    path = tmp_path_factory.mktemp("erased") / "log.db"
    write_empty_log(path)
    fill(path)
    with EventLog(path, write=True) as log:
        for _ in erasure.erase(log, [2, 5], "asked"):
            pass
        make(log, until=log.head().position, most=100)
    return path


@pytest.mark.parametrize(("start", "end"), [(None, "cold"), ("cold", None), ("cold", "ice")])
def test_who_has_read_a_segment_reads_salts_and_hashes_right_once_it_was_moved(
    log_path: Path, start: str | None, end: str | None
) -> None:
    with EventLog(log_path, write=True, bulk=True) as log, EventLog(log_path) as reader:
        put(log, *(NewEvent("s", "T", str(n), None, 1, "{}", "{}", None) for n in range(9)))
        before = list(log.read(Query()))
        (segment,) = creation.create(log, [(1, 9)], to=folder_of(log, start))
        assert b"".join(reader.lines(Query())).count(b"\n") == 9  # now it has the frame unpacked
        moving.move(log, segment, folder_of(log, end))
        assert list(reader.read(Query())) == before


def test_a_forged_frame_whose_last_line_has_no_end_is_an_error_for_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    write_empty_log(path)
    fill(path)
    with EventLog(path, write=True) as log:
        make(log, until=4)
    connection = apsw.Connection(str(path))
    ((packed,),) = connection.execute("select packed from frames")
    lines = zstandard.ZstdDecompressor().decompress(packed)[:-1]
    forged = zstandard.ZstdCompressor(write_checksum=True).compress(lines)
    connection.execute(
        "update frames set packed = ?, bytes = ?, raw_bytes = ?, sha256 = ?",
        (forged, len(forged), len(lines), hashlib.sha256(forged).digest()),
    )
    connection.close()
    with EventLog(path) as log:
        for query in (
            Query(stream="s-1"),
            Query(stream="s-1", reverse=True),
            Query(),
            Query(stream="s-1", system=True),
        ):
            with pytest.raises(VerificationError, match="the segment 1-4 is damaged"):
                list(log.read(query))
            with pytest.raises(VerificationError, match="the segment 1-4 is damaged"):
                list(log.lines(query))


COLUMNS = ("position", "stream_id", "version", "id", "type_id", "schema", "time", "recorded", "data", "meta")


@given(st.sets(st.sampled_from(COLUMNS)), st.integers(1, EVENTS), st.integers(1, EVENTS))
def test_some_columns_of_a_frame_are_those_of_its_rows(
    erased_in_part: Path, chosen: set[str], one: int, two: int
) -> None:
    columns = [column for column in COLUMNS if column in chosen | {"position", "stream_id"}]
    low, high = sorted((one, two))
    with EventLog(erased_in_part) as log:
        frame = archive_of(log).unpacked(low)
        high = max(low, high)
        rows = [row for row in frame.rows if low <= row[0] <= high]
        places = [COLUMNS.index(column) for column in columns]
        assert list(frame.fields(columns, low, high)) == [tuple(row[place] for place in places) for row in rows]


def test_without_the_stream_the_logs_own_events_are_left_out(erased_in_part: Path) -> None:
    with EventLog(erased_in_part) as log:
        frame = archive_of(log).unpacked(1)
        own = [row[0] for row in frame.rows if row[1] < 0]
        assert own
        others = [row[0] for row in frame.rows if row[1] > 0]
        assert [position for (position,) in frame.fields(["position"], frame.frame.first, frame.frame.last)] == others


@pytest.fixture
def long_streams(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of two streams of 2,500 events, to be read in windows of 1,000, archived in small frames."""
    monkeypatch.setattr(segments, "FRAME_BYTES", 20_000)
    with EventLog(log_path, write=True, bulk=True) as log:
        put(log, *(NewEvent("ab"[n % 2], "T", str(n), None, 1, "{}", "{}", None) for n in range(5000)))
        assert len(list(creation.create(log, [(1, 5000)]))) == 1
    return log_path


@pytest.mark.parametrize("reverse", [False, True])
def test_who_reads_a_long_stream_in_windows_unpacks_each_of_its_frames_once(
    long_streams: Path, monkeypatch: pytest.MonkeyPatch, *, reverse: bool
) -> None:
    monkeypatch.setattr("esctl.store.archive.CACHED_BYTES", 60_000)
    taken: list[int] = []
    decompress = segments.decompress

    def counted(frame: segments.Frame, packed: bytes, name: str) -> bytes:
        taken.append(frame.first)
        return decompress(frame, packed, name)

    monkeypatch.setattr(segments, "decompress", counted)
    with EventLog(long_streams) as log:
        versions = [event.version for event, _, _ in log.read(Query(stream="a", reverse=reverse))]
    assert versions == sorted(range(1, 2501), reverse=reverse)
    searched = 6 if reverse else 0  # frames that the search for the last one touches
    assert 20 < len(set(taken)) <= len(taken) <= len(set(taken)) + searched


def test_the_frames_of_two_streams_read_by_turns_are_told_apart(long_streams: Path) -> None:
    with EventLog(long_streams) as log:
        both = zip(log.read(Query(stream="a")), log.read(Query(stream="b", reverse=True)), strict=True)
        found = [(one.stream, one.version, other.stream, other.version) for (one, _, _), (other, _, _) in both]
    assert found == [("a", n, "b", 2501 - n) for n in range(1, 2501)]
