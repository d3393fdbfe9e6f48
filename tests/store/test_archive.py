"""The archived part of a log, read."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.archive import creation, moving
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from tests.logs import put
from tests.segments import folder_of


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
