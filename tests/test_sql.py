"""SQL from outside: a condition is one deterministic expression over an event, a question reads and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.errors import UsageError
from esctl.log import EventLog
from esctl.query import Query
from esctl.sql import CONDITION_COLUMNS, check_condition

EVENTS: list[dict[str, Any]] = [
    {"stream": "order-1", "type": "Placed", "time": "2026-01-02T10:00:00Z", "data": {"amount": 99.5, "vip": True}},
    {"stream": "order-2", "type": "Placed", "time": "2026-02-02T10:00:00Z", "data": {"amount": 250, "note": "now"}},
    {"stream": "order-1", "type": "Paid", "time": "2026-02-03T10:00:00Z", "data": [1], "meta": {"actor": "web"}},
]


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """A log of the events above, open for reading."""
    with open_log(log_path, write=True) as written:
        written.append_all(EVENTS)
    with EventLog(log_path) as opened:
        yield opened


# Conditions

REFUSED = {
    "another table": [
        "(select 1)",
        "(select count(*) from events) > 1",
        "exists (select 1 from head)",
        "exists (select 1 from log)",
        "position in (select max(position) from log)",
        "position = (values (1))",
        "stream in streams",
        "stream in (with x as (select 1) select * from x)",
        "events.position = 1",
        "e.position = 1",
        "s.name = 'order-1'",
        "main.log.position = 1",
        "type in json_each(data)",
        "1) union select (1",
        "1) or exists (select 1 from log where 1",
        "1) from log, (select 1",
    ],
    "what an event does not have": [
        "nothing = 1",
        "salt is null",
        "hash is null",
        "stream_id > 0",
        "rowid > 1",
        "oid > 1",
        "_rowid_ > 1",
        "excluded.position = 1",
        "new.position = 1",
    ],
    "chance and the clock": [
        "random() > 0",
        "abs(random()) % 2",
        "length(randomblob(4)) = 4",
        "time > datetime('now')",
        "time > datetime()",
        "time > date()",
        "time > strftime('%Y', 'now')",
        "julianday('now') > 1",
        "julianday() > 1",
        "unixepoch() > 1",
        "unixepoch('now', '-1 day') > 1",
        "time('now', 'localtime') > time",
        "current_timestamp > time",
        "current_date > time",
        "current_time > time",
        "last_insert_rowid() = 0",
        "changes() = 0",
        "total_changes() = 0",
    ],
    "the clock, where no sample comes by": [
        "case when position > 1 then datetime('now') end > time",
        "iif(position > 1, unixepoch(), 0) > 0",
    ],
    "parameters": ["?", "position = ?", "position = ?1", "position = :a", "position = @a", "position = $a"],
    "more than one expression": [
        "",
        " ",
        ";",
        "1;",
        "1; select 2",
        "1; drop table log",
        "1); drop table log; --",
        "position, type",
        "1), (2",
        "1) where (1",
        "1)) where ((1",
        "position asc",
        "position) desc, (type",
        "1 as one",
        "1 limit 1",
        "1 order by 1",
        "1 group by 1",
        "*",
        "log.*",
        ")",
        "(",
        "and",
        "position = 1 and",
        "'",
        "'unterminated",
        "\0",
        "1\0 garbage",
    ],
    "comments that swallow": ["--", "-- 1", "/* 1 */", "1 /*", "1) /*", "1)) /*", "1) --", "1)) --", "1 */"],
    "aggregates and windows": [
        "count(*) > 1",
        "max(position) > 1",
        "sum(position) > 1",
        "total(position) > 1",
        "group_concat(type) = 'a'",
        "json_group_array(type) = '[]'",
        "row_number() over () = 1",
        "count(*) filter (where 1) > 0",
        "rank() over (order by position) = 1",
    ],
    "functions that reach out": [
        "load_extension('x')",
        "readfile('/etc/hostname') is null",
        "writefile('x', 'y')",
        "edit('x')",
        "fts3_tokenizer('x')",
        "raise(ignore)",
        "sqlite_offset(position)",
        "no_such_function(1)",
        "type match 'x'",
        "type regexp 'x'",
        "type collate nowhere = 'x'",
    ],
    "double-quoted strings": ['"order-1" = stream', 'type = "Placed"', 'data ->> "amount" > 1', "`order-1` = stream"],
}


@pytest.mark.parametrize(
    "condition", [pytest.param(c, id=f"{why}: {c}") for why, some in REFUSED.items() for c in some]
)
def test_what_a_condition_may_not_do(log: EventLog, condition: str) -> None:
    with pytest.raises(UsageError, match=r"^--where "):
        check_condition(condition)
    with pytest.raises(UsageError):
        log.read(Query(where=condition))
    with pytest.raises(UsageError):
        log.lines(Query(where=condition))


def test_a_condition_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UsageError):
        check_condition("'\ud800' = stream")


def test_a_refusal_tells_the_columns_and_shows_an_example() -> None:
    with pytest.raises(UsageError) as refused:
        check_condition("customer = 'a'")
    assert "no such column: customer" in refused.value.what
    assert all(column in refused.value.why for column in CONDITION_COLUMNS)
    check_condition(refused.value.fix.removeprefix('--where "').removesuffix('"'))


ALLOWED: dict[str, list[int]] = {
    "1": [1, 2, 3],
    "0": [],
    "null": [],
    "1 and '2 apples'": [1, 2, 3],
    "position = 2": [2],
    "stream = 'order-1' and version = 2": [3],
    "id is not null and schema = 1": [1, 2, 3],
    "data ->> 'amount' > 100": [2],
    "data ->> 'amount' > 99 and type = 'Placed'": [1, 2],
    "data ->> '$[0]' = 1": [3],
    "data -> 'vip' = 'true'": [1],
    "data ->> 'vip'": [1],
    "json_extract(data, '$.note') = 'now'": [2],
    "json_type(data) = 'array'": [3],
    "meta ->> 'actor' = 'web'": [3],
    "meta = '{}'": [1, 2],
    "stream glob '*-1'": [1, 3],
    "type like 'p%' escape '!'": [1, 2, 3],
    "type in ('Paid', 'Refunded')": [3],
    "position between 2 and 3": [2, 3],
    "not position = 2": [1, 3],
    "position is distinct from 2": [1, 3],
    "(position, type) = (3, 'Paid')": [3],
    "time < '2026-02'": [1],
    "date(time) = '2026-02-02'": [2],
    "date(time, '+1 day') = '2026-02-03'": [2],
    "strftime('%Y-%m', time) = '2026-02'": [2, 3],
    "julianday(time) - julianday('2026-02-02T10:00:00Z') = 1": [3],
    "recorded > time": [1, 2, 3],
    "case type when 'Paid' then 1 else 0 end": [3],
    "iif(position > 1, 1, 0)": [2, 3],
    "coalesce(meta ->> 'actor', 'nobody') = 'nobody'": [1, 2],
    "max(position, 2) = 2": [1, 2],
    "upper(type) = 'PAID' collate nocase": [3],
    "\"type\" = 'Paid'": [3],
    "position = 2 -- the second": [2],
    "/* the second */ position = 2": [2],
    "'--' = '--' and position = 2": [2],
    "'/*' <> '*/' and position = 2": [2],
    "';' = ';' and '\"' = '\"' and position = 2": [2],
    "'it''s' is not null and position\n=\n2": [2],
    "'random() select ?' <> type and position = 2": [2],
}


@pytest.mark.parametrize("condition", ALLOWED)
def test_what_a_condition_may_do(log: EventLog, condition: str) -> None:
    check_condition(condition)
    assert [event[0] for event, _, _ in log.read(Query(where=condition))] == ALLOWED[condition]
    assert b"".join(log.lines(Query(where=condition))).count(b"\n") == len(ALLOWED[condition])


def test_an_or_in_a_condition_does_not_get_around_the_other_filters(log: EventLog) -> None:
    for condition in ("position = 2 or 1", "0) or (1"):
        query = Query(where=condition, stream="order-2")
        assert [event[0] for event, _, _ in log.read(query)] == [2]


# Questions

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
    log: EventLog, log_path: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log_path.parent)
    before, files = log_path.read_bytes(), sorted(log_path.parent.iterdir())
    events = b"".join(log.lines(Query()))
    with pytest.raises(UsageError, match="the SQL cannot be run"):
        list(log.store.question(sql)[1])
    assert log_path.read_bytes() == before
    assert sorted(log_path.parent.iterdir()) == files
    assert b"".join(log.lines(Query())) == events


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
def test_what_a_question_may_ask(log: EventLog, sql: str, header: list[str], rows: list[tuple[object, ...]]) -> None:
    columns, answer = log.store.question(sql)
    assert (columns, list(answer)) == (header, rows)


@pytest.mark.parametrize("position", [1, 2])
def test_a_question_that_fails_on_some_row_is_a_wrong_question(log: EventLog, position: int) -> None:
    with pytest.raises(UsageError, match="malformed JSON"):
        list(log.store.question(f"select json(iif(position = {position}, '{{', '1')) from log")[1])
