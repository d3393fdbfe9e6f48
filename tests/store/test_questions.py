"""A question is one SELECT over the tables of a log: it reads, and does nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.errors import UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.sql.conditions import CONDITION_COLUMNS
from tests.logs import day, event, fresh, hold, put, run

FORBIDDEN = [
    "insert into events select * from events",
    "insert into log values (1)",
    "replace into types values (1, 'x')",
    "update events set data = '{}'",
    "update head set position = 0 returning position",
    "delete from events",
    "delete from events returning id",
    "with x as (select 1) delete from events",
    "with x as (select 1) insert into types select 9, 'x' from x",
    "create table evil (x)",
    "create temp table evil (x)",
    "create table evil as select * from events",
    "create view evil as select 1",
    "create temp view log as select 1",
    "create index evil on events (time)",
    "create temp trigger evil after insert on events begin select 1; end",
    "create virtual table evil using fts5 (x)",
    "drop table events",
    "drop view log",
    "alter table events add column x",
    "alter table events rename to evil",
    "reindex",
    "analyze",
    "vacuum",
    "vacuum into 'evil.db'",
    "attach 'evil.db' as evil",
    "attach ':memory:' as evil",
    "detach main",
    "begin",
    "begin immediate",
    "commit",
    "rollback",
    "savepoint evil",
    "release evil",
    "pragma user_version",
    "pragma user_version = 9",
    "pragma query_only = off",
    "pragma journal_mode = delete",
    "pragma writable_schema = on",
    "pragma wal_checkpoint(truncate)",
    "select * from pragma_user_version",
    "select load_extension('evil')",
    "select LOAD_EXTENSION('evil')",
    "select writefile('evil', 'x')",
    "select readfile('/etc/hostname')",
    "select edit('x')",
    "select fts3_tokenizer('simple')",
    "select * from fsdir('.')",
    "select * from nowhere",
    "select nothing from log",
    "select 1 as a, 2 as a",
    "select",
    "selec 1",
    "",
    " ",
    ";",
    "-- nothing",
    "/* nothing */",
    "select ?",
    "select :a",
]
SECOND = [
    "select 2",
    "delete from events",
    "pragma query_only = off; delete from events",
    "attach 'evil.db' as evil; create table evil.x (y)",
    "vacuum into 'evil.db'",
    "create temp table evil (x)",
    "garbage",
]


@pytest.mark.parametrize(
    "sql", [*FORBIDDEN, *(f"select {n}; {second}" for n in ("1", "position from log") for second in SECOND)]
)
def test_a_question_that_is_not_one_select_is_refused_and_changes_nothing(
    orders: EventLog, log_path: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log_path.parent)
    before, files = log_path.read_bytes(), sorted(log_path.parent.iterdir())
    events = b"".join(orders.lines(Query()))
    with pytest.raises(UsageError, match="the SQL cannot be run"):
        list(orders.question(sql)[1])
    assert log_path.read_bytes() == before
    assert sorted(log_path.parent.iterdir()) == files
    assert b"".join(orders.lines(Query())) == events


QUESTIONS = [
    ("select 1", ["1"], [(1,)]),
    ("select 1;", ["1"], [(1,)]),
    ("select 1; -- and a comment", ["1"], [(1,)]),
    ("-- a comment first\nselect 1", ["1"], [(1,)]),
    ("values (1, 'a'), (2, 'b')", ["column1", "column2"], [(1, "a"), (2, "b")]),
    ("select position, type from log where position > 1", ["position", "type"], [(2, "Placed"), (3, "Paid")]),
    ("select type, count(*) as n from log group by type order by n", ["type", "n"], [("Paid", 1), ("Placed", 2)]),
    ("select sum(data ->> 'amount') as s from log", ["s"], [(349.5,)]),
    ("select value from log, json_each(data) where json_type(data) = 'array'", ["value"], [(1,)]),
    ("with recursive n(x) as (select 1 union all select x + 1 from n where x < 3) select * from n", ["x"],
     [(1,), (2,), (3,)]),
    ("select row_number() over (order by position desc) as r from log limit 1", ["r"], [(1,)]),
    ("select count(*) as n from log a join log b on a.stream = b.stream", ["n"], [(5,)]),
    ("select name from streams union select name from types order by 1", ["name"],
     [("Paid",), ("Placed",), ("order-1",), ("order-2",)]),
    ("select * from log where 0", list(CONDITION_COLUMNS), []),
    ("select position from log limit 0", ["position"], []),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "header", "rows"), QUESTIONS)
def test_what_a_question_may_ask(orders: EventLog, sql: str, header: list[str], rows: list[tuple[object, ...]]) -> None:
    columns, answer = orders.question(sql)
    assert (columns, list(answer)) == (header, rows)


@pytest.mark.parametrize("position", [1, 2])
def test_a_question_that_fails_on_some_row_is_a_wrong_question(orders: EventLog, position: int) -> None:
    with pytest.raises(UsageError, match="malformed JSON"):
        list(orders.question(f"select json(iif(position = {position}, '{{', '1')) from log")[1])


TIMED = [
    ("select count(*) as n from log where time = '2026-01-01 01:00 +0100'", 1),
    ("select count(*) as n from log where time > '2026-01-01T00:00:00Z'", 1),
    ('select count(*) as n from log where time <= "2026-01-01T00:00:00Z"', 1),
    ("select count(*) as n from log where utc(time) < '2026-01-02T00:00:00Z'", 1),
    ("select count(*) as n from log where utc('2026-01-01') = time", 1),
]


@pytest.mark.parametrize(("sql", "n"), TIMED)
def test_a_literal_beside_a_time_means_the_moment(sql: str, n: int) -> None:
    with fresh() as log:
        put(log, event("s", time=day(1)), event("s", time=day(2)))
        assert list(log.question(sql)[1]) == [(n,)]


def test_a_projections_own_column_of_that_name_is_compared_as_it_is() -> None:
    with fresh() as log:
        hold(
            log,
            """[projection.p]
table = "create table p(k integer primary key, time)"
on.T = "insert into p values (new.position, new.data ->> 'at')"
""",
        )
        put(log, event("s", data={"at": "2026-01-01T00:00:00Z"}, time=day(1)))
        run(log)
        noted, seen = "time = '2026-01-01T00:00:00Z'", "time = '2026-01-01T01:00:00+01:00'"
        for sql in (
            f"select count(*) as n from p where {noted}",
            f"select count(*) as n from p join log on k = position where p.{noted} and log.{seen}",
            f"select count(*) as n from p join log as l on k = position where p.{noted} and l.{seen}",
            f"select count(*) as n from p join log l on k = position where p.{noted} and l.{seen}",
        ):
            assert list(log.question(sql)[1]) == [(1,)], sql
