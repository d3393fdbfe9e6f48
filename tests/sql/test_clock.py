"""No expression reads the clock or the time zone, whatever it calls them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl import open_log
from esctl.errors import EsctlError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.checks import checked
from esctl.sql.clock import DATES, names_dates, without_clock
from esctl.states import folding
from tests.expressions import places
from tests.logs import hold


@pytest.mark.parametrize(
    ("sql", "result"),
    [
        ("date('2026-01-02T10:00:00Z')", "2026-01-02"),
        ("time('2026-01-02T10:00:00Z', '+1 hour')", "11:00:00"),
        ("datetime(0, 'unixepoch')", "1970-01-01 00:00:00"),
        ("julianday('2000-01-01T12:00:00')", 2451545.0),
        ("unixepoch('1970-01-01T00:00:01Z')", 1),
        ("strftime('%Y', '2026-01-02')", "2026"),
        ("timediff('2026-01-02', '2026-01-01')", "+0000-00-01 00:00:00.000"),
        ("date('garbage')", None),
        ("date(null)", None),
        ("datetime('2026-01-02', 'subsec')", "2026-01-02 00:00:00.000"),
    ],
)
def test_without_a_clock_dates_are_what_they_were(sql: str, result: object) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        assert connection.execute(f"select {sql}").get == result
        without_clock(connection)
        assert connection.execute(f"select {sql}").get == result


READS_THE_CLOCK = [
    *(f"{name}({value})" for name in DATES if name not in ("strftime", "timediff") for value in ("", "'now'")),
    "strftime('%Y')",
    "strftime('%Y', 'now')",
    "timediff('now', '2026-01-01')",
    "timediff('2026-01-01', 'now')",
    "date('NOW')",
    "date('n' || 'ow')",
    "unixepoch('sub' || 'sec')",
    "strftime('%f', 'subsec')",
    "strftime('%f', 'subsecond')",
    "datetime('2026-01-01', 'local' || 'time')",
    "datetime('2026-01-01', 'u' || 'tc')",
    "datetime('2026-01-01', '+1 day', 'LOCALTIME')",
    "date(x'6e6f77')",
    "date(cast('now' as blob))",
    "date('now' || char(0) || 'x')",
    "unixepoch(cast('subsec' as blob))",
    "datetime('2026-01-01', cast('localtime' as blob))",
]


@pytest.mark.parametrize("sql", READS_THE_CLOCK)
def test_without_a_clock_dates_never_read_it(sql: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        without_clock(connection)
        with pytest.raises((EsctlError, apsw.Error)):
            connection.execute(f"select {sql}").fetchall()


@pytest.mark.parametrize(
    "sql",
    ["date(x)", "DATE (x)", "1 + strftime('%Y', x)", "(unixepoch(x))", '"date"(x)', "[time](x)", "`datetime` (x)",
     "julianday/* */(x)", "date -- x\n(x)"],
)  # fmt: skip
def test_an_expression_that_may_call_a_date_function_is_known(sql: str) -> None:
    assert names_dates(sql)


@pytest.mark.parametrize("sql", ["new.time", "abs(x)", "update(x)", "1"])
def test_an_expression_that_calls_no_date_function_is_known(sql: str) -> None:
    assert not names_dates(sql)


HIDDEN_CLOCK = [
    "date(new.data ->> 'when')",
    "DATETIME(new.data ->> 'when')",
    "strftime('%Y', new.data ->> 'when')",
    "unixepoch(lower(new.data ->> 'loud'))",
    "date(new.time, new.data ->> 'zone')",
    "date('n' || 'ow')",
    "\"date\"(new.data ->> 'when')",
    "date/* */(new.data ->> 'when')",
    "date(cast(new.data ->> 'when' as blob))",
    "date(new.data ->> 'nul')",
]


@pytest.fixture
def clock_log(log_path: Path) -> Iterator[EventLog]:
    """A log whose payload names the clock."""
    with open_log(log_path, write=True) as written:
        written.append("s", "T", {"when": "now", "loud": "NOW", "zone": "localtime", "nul": "now\0"})
    with EventLog(log_path, write=True) as log:
        yield log


@pytest.mark.parametrize("place", ["event.T.upcast[1].compute.x", "event.T.upcast[1].when"])
@pytest.mark.parametrize("sql", HIDDEN_CLOCK)
def test_a_clock_that_a_payload_asks_for_is_refused_when_an_upcast_reads_it(
    clock_log: EventLog, sql: str, place: str
) -> None:
    if checked(places(sql)[place], {})[1]:
        return  # refused at check, which is as good
    hold(clock_log, places(sql)[place])
    with pytest.raises(EsctlError, match="clock"):
        list(clock_log.lines(Query()))


@pytest.mark.parametrize("sql", HIDDEN_CLOCK)
def test_a_clock_that_a_payload_asks_for_is_refused_when_a_fold_reads_it(clock_log: EventLog, sql: str) -> None:
    text = places(sql)["aggregate.a.on.T.compute.x"]
    if checked(text, {})[1]:
        return  # refused at check, which is as good
    hold(clock_log, text)
    with pytest.raises(EsctlError, match="clock"):
        folding.state(clock_log, Query(stream="s"))
