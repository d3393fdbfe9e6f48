"""Literals that are compared with a time of the log mean moments."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.events.times import utc_text
from esctl.sql.functions import define
from esctl.sql.moments import OF_NEW, in_condition, with_moments

NOON, EXACT = "'2026-07-28T12:00:00Z'", "'2026-07-28T12:00:00.000000Z'"


@pytest.mark.parametrize(
    "sql",
    [
        "time = §",
        "time=§",
        "§ <= time",
        "not time >= §",
        "time <> § and id = #",
        "recorded is §",
        "recorded is not §",
        "time is distinct from §",
        "time is not distinct from §",
        "log.time == §",
        'l . "time" != §',
        "`time` < § -- not #",
        "[time] /* not # */ < §",
        "TIME < §",
        "(time) > (§)",
        "((time)) > ((§))",
        "time between § and §",
        "time not between § and § and id = #",
        "time between § and recorded",
        "time between coalesce(id, id and id) and §",
        "time between case when id between 1 and 2 then 1 end and § and id = #",
        "§ between time and recorded",
        "time in (§, §, 'x')",
        "time not in (§)",
        "§ in (recorded, time)",
        "(time, position) > (§, 5)",
        "(position, time) in ((1, §), (2, §))",
        "time = § collate nocase",
        "time collate binary = §",
        "case time when § then # when id then # when § then 1 else # end",
        "max(time) >= §",
        "max(time) filter (where id = #) >= §",
        "max(time) over (order by id) >= §",
        "max(time, §) = id",
        "coalesce(time, §) = §",
        "utc(data ->> 'at') >= §",
        "§ = utc(data)",
        'time = "2026-07-28T12:00:00Z"',
        "select max(time) as last from log group by stream having last > §",
        "select * from (select time at from log) where at > §",
        "with l as (select recorded as r from log) select * from l where l.r between § and §",
        "with l(n, t) as (select id, max(time) from log) select * from l where n = # and t >= §",
        "with l(t) as not materialized (select time from log) select * from l where t = §",
        "time in (select §)",
        "time in (values (§), (§))",
        "id = # or time = §",
        "data ->> 'at' = # and time = §",
    ],
)
def test_a_literal_that_is_compared_with_a_time_gets_the_logs_form(sql: str) -> None:
    given_sql = sql.replace("§", NOON).replace("#", NOON)
    expected = sql.replace("§", EXACT).replace("#", NOON).replace('"2026-07-28T12:00:00Z"', EXACT)
    assert with_moments(given_sql) == expected
    assert with_moments(expected) == expected


@pytest.mark.parametrize(
    "sql",
    [
        f"id = {NOON}",
        f"data ->> 'time' = {NOON}",
        f"with l(t, n) as (select id, time from log) select * from l where t = {NOON}",
        f"with l(t) as (values (1)) select * from l where t = {NOON}",
        f"with l(t) as log where time.t = {NOON}",
        f"time(as = {NOON}",
        f"data ->> time = {NOON}",
        f"time || '' = {NOON}",
        f"time = {NOON} || ''",
        f"'a' || time = {NOON}",
        f"substr(time, 1, 20) = {NOON}",
        f"cast(time as text) = {NOON}",
        f"time like {NOON}",
        f"upper({NOON}) = time",
        f"id in ({NOON}) = time",
        f"time(id) = {NOON}",
        f"timed = {NOON}",
        f"'time' = {NOON}",
        f"time, {NOON}",
        "time >= '2026-07-28'",
        "time >= '2026-07'",
        "time >= '2026-07-28T12'",
        "time >= '2026-02-30T12:00:00Z'",
        f"time = {EXACT}",
        "time >= 'x-y'",
        f"-- time = {NOON}",
        f"time between {NOON[:-1]}",
        "time in (",
        "time between",
        "time is not distinct",
        "case time when",
        "(" * 5000 + "time-",
        ")" * 50 + "-time",
    ],
)
def test_everything_else_stays_as_it_is(sql: str) -> None:
    assert with_moments(sql) == sql


@pytest.mark.parametrize(
    ("literal", "moment"),
    [
        ("2026-07-28T14:00:00+02:00", "2026-07-28T12:00:00.000000Z"),
        ("2026-07-28 14:00 +0200", "2026-07-28T12:00:00.000000Z"),
        ("2026-07-28t12:00:00.5z", "2026-07-28T12:00:00.500000Z"),
        ("2026-07-28 12:00:00", "2026-07-28T12:00:00.000000Z"),
        ("2026-07-28T12:00", "2026-07-28T12:00:00.000000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("@1769848200", "2026-01-31T08:30:00.000000Z"),
    ],
)
def test_every_spelling_is_known_and_one_without_a_zone_is_utc(literal: str, moment: str) -> None:
    assert with_moments(f"time = '{literal}' -- -") == f"time = '{moment}' -- -"


@pytest.mark.parametrize(
    ("sql", "rewritten"),
    [
        ("time >= datetime('now', '-1 hour')", "time >= utc(datetime('now', '-1 hour'))"),
        ("DateTime(at) < recorded", "utc(DateTime(at)) < recorded"),
        ("time between datetime(1) and datetime((2))", "time between utc(datetime(1)) and utc(datetime((2)))"),
        (f"time in (datetime(max(time, {NOON})))", f"time in (utc(datetime(max(time, {EXACT}))))"),
        ("at > datetime(1)", "at > datetime(1)"),
        ("time > datetime(1) || 'Z'", "time > datetime(1) || 'Z'"),
        ("time > utc(datetime(1))", "time > utc(datetime(1))"),
        ("time > datetime(", "time > datetime("),
    ],
)
def test_what_the_function_datetime_gives_is_a_moment_too(sql: str, rewritten: str) -> None:
    assert with_moments(sql) == rewritten
    assert with_moments(rewritten) == rewritten


def test_a_condition_is_on_columns_of_the_log_alone() -> None:
    assert in_condition(f"time = {NOON}") == f"time = {EXACT}"
    assert in_condition(f"x.time = {NOON}") == f"x.time = {NOON}"


def test_in_a_model_only_the_event_has_times_of_the_log() -> None:
    sql = "update p set time = {1} where time > {1} and p.time > {1} and new.time > {0} and {0} < new.recorded"
    assert with_moments(sql.format(NOON, NOON), OF_NEW) == sql.format(EXACT, NOON)


_AFTER = st.sampled_from([0, 1, 500_000, 999_999, 1_000_000]) | st.integers(0, 4_000_000)  # microseconds
MOMENTS = _AFTER.map(lambda after: datetime(2026, 7, 28, 12, tzinfo=UTC) + timedelta(microseconds=after))
COMPARISONS: dict[str, Callable[[datetime, datetime], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "<>": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
    "is": operator.eq,
    "is not": operator.ne,
}


@st.composite
def spellings(draw: st.DrawFn, moment: datetime) -> str:
    """A moment as someone would write it."""
    offset = draw(st.sampled_from([0, 0, 60, -90, 330, 23 * 60 + 59, -720]))
    text = (moment + timedelta(minutes=offset)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    text = text.rstrip("0").rstrip(".") if draw(st.booleans()) else text
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    zone = f"{sign}{minutes // 60:02}{draw(st.sampled_from([':', '']))}{minutes % 60:02}"
    zone = draw(st.sampled_from(["Z", "z", "", " UTC", zone])) if offset == 0 else zone
    blank = draw(st.sampled_from(["", " "])) if zone.startswith(("+", "-")) else ""
    return text.replace("T", draw(st.sampled_from("Tt "))) + blank + zone


def truth(sql: str, time: datetime) -> bool:
    """Whether a condition holds for an event of this time."""
    with closing(apsw.Connection(":memory:")) as connection:
        define(connection)
        rewritten = in_condition(sql)
        return bool(connection.execute(f"select {rewritten} from (select ? as time)", (utc_text(time),)).get)


@given(st.data(), MOMENTS, MOMENTS, st.sampled_from(sorted(COMPARISONS)))
def test_a_comparison_is_one_of_moments(data: st.DataObject, time: datetime, bound: datetime, sign: str) -> None:
    literal = data.draw(spellings(bound))
    assert truth(f"time {sign} '{literal}'", time) == COMPARISONS[sign](time, bound)
    assert truth(f"'{literal}' {sign} time", time) == COMPARISONS[sign](bound, time)
    assert truth(f"utc(time) {sign} '{literal}'", time) == COMPARISONS[sign](time, bound)
    assert truth(f"time {sign} utc('{literal}')", time) == COMPARISONS[sign](time, bound)


@given(st.data(), MOMENTS, st.lists(MOMENTS, min_size=2, max_size=4))
def test_between_and_in_are_of_moments(data: st.DataObject, time: datetime, bounds: list[datetime]) -> None:
    literals = [f"'{data.draw(spellings(bound))}'" for bound in bounds]
    low, high = bounds[:2]
    assert truth(f"time between {literals[0]} and {literals[1]}", time) == (low <= time <= high)
    assert truth(f"time not between {literals[0]} and {literals[1]}", time) != (low <= time <= high)
    assert truth(f"time in ({', '.join(literals)})", time) == (time in bounds)


@given(
    st.text(alphabet=st.sampled_from(list("time(), '\"-=<>|.")) | st.sampled_from(list("abinsct012:TZ")), max_size=60)
)
def test_any_text_can_be_looked_at(text: str) -> None:
    assert with_moments(f"{text} -time")


PIECES = ["time", "case", "when", "between", "and", "in", "(", ")", ",", "as", "not", "is", "distinct", "from", ".",
          NOON, "max", "over", "datetime", "collate", "||", "=", "utc", '"1"', "end"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_words_can_be_looked_at_and_only_literals_change(words: list[str]) -> None:
    sql = " ".join(words)
    assert re.sub(r"utc\((datetime \(.*?\))\)", r"\1", with_moments(sql).replace(EXACT, NOON)) == sql
