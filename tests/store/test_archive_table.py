"""The table of archived events answers as the hot table did, by whatever way in it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.log import EventLog
from esctl.store import segments
from esctl.store.archive_table import narrow
from tests.conftest import write_empty_log
from tests.segments import fill, make
from tests.stores import connection_of

COLUMNS = "position, stream_id, version, id, type_id, schema, time, recorded, data, meta, salt, hash"
OPERATORS = st.sampled_from(["=", "<", "<=", ">", ">="])
NUMBERS = st.integers(-1, 14)


@given(st.lists(st.tuples(OPERATORS, NUMBERS)))
def test_a_range_with_more_bounds_holds_what_meets_them_all(bounds: list[tuple[str, int]]) -> None:
    low, high = 0, 13
    for operator, number in bounds:
        low, high = narrow((low, high), operator, number)
    meets = {
        "=": int.__eq__, "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__,
    }  # fmt: skip
    wanted = [n for n in range(14) if all(meets[operator](n, number) for operator, number in bounds)]
    assert list(range(low, high + 1)) == wanted


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """A log whose twelve events are archived, most frames of one event; the table `kept` has them as they were."""
    path = write_empty_log(tmp_path_factory.mktemp("table") / "log.db")
    fill(path)
    with EventLog(path, write=True, bulk=True) as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FRAME_BYTES", 300)
        connection = connection_of(log.store)
        connection.execute(f"create temp table kept as select {COLUMNS} from main.events")
        make(log, most=5)
        assert connection.execute("select count(*) from main.events").get == 0
        yield connection


TERM = st.one_of(
    st.builds("position {} {}".format, OPERATORS, NUMBERS),
    st.builds("version {} {}".format, OPERATORS, st.integers(-1, 6)),
    st.builds("stream_id = {}".format, st.integers(-1, 4)),
    st.builds("id = 'id {}'".format, NUMBERS),
    st.sampled_from(
        ["position between 3 and 9", "version in (1, 3)", "id is null", "position = '3'", "stream_id = 'x'"]
    ),
)
ORDERS = st.sampled_from(["position", "position desc", "stream_id, version", "version desc, position", "id, position"])


@given(st.lists(TERM, max_size=3).map(lambda terms: " and ".join(terms) or "1"), ORDERS, st.integers(0, 13))
@example("stream_id = 2", "position desc", 13)
@example("stream_id = 2 and version > 1", "version desc", 13)
@example("position > 2", "position desc", 7)
def test_archived_events_are_found_as_hot_ones_are(
    archived: apsw.Connection, where: str, order: str, limit: int
) -> None:
    asked = f"select {COLUMNS} from {{}} where {where} order by {order} limit {limit}"
    found, wanted = (archived.execute(asked.format(table)).fetchall() for table in ("archived", "kept"))
    assert found == wanted


def test_nobody_writes_to_archived_events(archived: apsw.Connection) -> None:
    for sql in ("delete from archived", "update archived set data = '{}'", "insert into archived select * from kept"):
        with pytest.raises(apsw.SQLError, match="may not be modified"):
            archived.execute(sql)


@pytest.mark.parametrize(
    ("where", "frames"),
    [("position = 5", [5]), ("id = 'id 5'", [5]), ("stream_id = 3 and version = 2", [2, 5])],
)
def test_a_read_takes_only_the_frames_that_hold_what_it_asks_for(
    twelve: EventLog, where: str, frames: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FRAME_BYTES", 1)
    make(twelve, most=12)
    taken: list[int] = []
    decompress = segments.decompress

    def counted(frame: segments.Frame, packed: bytes, name: str) -> bytes:
        taken.append(frame.first)
        return decompress(frame, packed, name)

    monkeypatch.setattr(segments, "decompress", counted)
    with EventLog(twelve.path) as reader:
        assert reader.store.archive() is not None
        found = connection_of(reader.store).execute(f"select position from archived where {where}").fetchall()
    assert found == [(5,)]
    assert taken == frames  # of a stream: those that hold it, from its first one to the version
