"""The archived part of a log, read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest
import zstandard  # noqa: TID253 - what forges a segment

from esctl.archive import creation, moving
from esctl.errors import VerificationError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from tests.conftest import write_empty_log
from tests.logs import put
from tests.segments import fill, folder_of, make


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
