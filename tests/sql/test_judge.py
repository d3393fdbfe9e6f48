"""SQL from outside: a condition is one deterministic expression over an event, a question reads and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from esctl import open_log
from esctl.errors import EsctlError, HandlerError, RefusedError, UsageError
from esctl.events import system
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.checks import checked
from esctl.sql.clock import DATES, names_dates, without_clock
from esctl.sql.conditions import CONDITION_COLUMNS, STATE_COLUMNS, check_condition
from esctl.sql.judge import Judge, deterministic_functions, permitted
from esctl.sql.tokens import why_not_one_expression
from esctl.states import folding
from tests.conftest import writer_of
from tests.logs import hold

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
    check_condition(refused.value.why.partition(", such as ")[2])


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
        list(log.question(sql)[1])
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
    columns, answer = log.question(sql)
    assert (columns, list(answer)) == (header, rows)


@pytest.mark.parametrize("position", [1, 2])
def test_a_question_that_fails_on_some_row_is_a_wrong_question(log: EventLog, position: int) -> None:
    with pytest.raises(UsageError, match="malformed JSON"):
        list(log.question(f"select json(iif(position = {position}, '{{', '1')) from log")[1])


# Conditions on a state


@pytest.mark.parametrize(
    "condition",
    ["state ->> 'status' = 'Paid'", "version > 3 and position > 4", "stream glob 'order-*' and time < '2027'"],
)
def test_a_condition_on_a_state_is_over_the_columns_of_a_state(condition: str) -> None:
    check_condition(condition, STATE_COLUMNS)


@pytest.mark.parametrize(
    "condition",
    ["data ->> 'a' = 1", "new.data is null", "type = 'Placed'", "meta is null", "folded > 1", "latest > time", "n = 1",
     "random()", "time > datetime('now')", "(select 1)", "max(version) > 1", "", "1; select 1", "?"],
)  # fmt: skip
def test_what_a_condition_on_a_state_may_not_do(condition: str) -> None:
    with pytest.raises(UsageError, match=r"^--when "):
        check_condition(condition, STATE_COLUMNS, option="--when")


def test_a_refusal_of_a_condition_on_a_state_shows_an_example_that_holds() -> None:
    with pytest.raises(UsageError) as refused:
        check_condition("amount > 1", STATE_COLUMNS, option="--when")
    assert all(column in refused.value.why for column in STATE_COLUMNS)
    check_condition(refused.value.why.partition(", such as ")[2], STATE_COLUMNS)


# What a model's expressions may do


def places(sql: str) -> dict[str, str]:
    """Models with the same expression wherever one may stand, by the place."""
    said = json.dumps(sql, ensure_ascii=False)
    upcast, begin = "[[event.T.upcast]]\nfrom = 1\n", "[aggregate.a]\nstreams = '*'\n"
    return {
        "event.T.upcast[1].compute.x": f"{upcast}compute = {{ x = {said} }}",
        "event.T.upcast[1].when": f"{upcast}set = {{ a = 1 }}\nwhen = {said}",
        "event.T.upcast[1].split[1].compute.x": f"{upcast}split = [ {{ type = 'U', compute = {{ x = {said} }} }} ]",
        "event.U.upcast[1].when": f"[event.U]\nschema = 2\n[[event.U.upcast]]\nfrom = 1\ndrop = true\nwhen = {said}",
        "aggregate.a.on.T.compute.x": f"{begin}[aggregate.a.on.T]\ncompute = {{ x = {said} }}",
        "aggregate.a.on.T[2].when": f"{begin}[[aggregate.a.on.T]]\n[[aggregate.a.on.T]]\nwhen = {said}",
        "aggregate.a.accept.T": f"{begin}[aggregate.a.accept]\nT = {said}",
        "aggregate.a.accept.*": f"{begin}[aggregate.a.accept]\n'*' = {{ rule = {said} }}",
    }


FORBIDDEN_TO_MODELS = {
    "chance": [
        "random()", "RANDOM()", "abs(random()) % 2", "hex(randomblob(4))", "'a' || random()", "(select random())",
        "(with r as (select random() as x) select x from r)", "case when new.version > 1 then random() end",
        '"random"()', "[random]()", "`random`()", "random/* */()",
    ],
    "the clock": [
        "datetime('now')", "datetime()", "date()", "time()", "julianday()", "unixepoch()", "date('now')",
        "date('NOW')", "DATE ( 'now' )", "date('now', '-1 day')", "strftime('%Y')", "strftime('%Y', 'now')",
        "strftime('%Y', 'now', '+1 day')", "timediff('now', new.time)", "timediff(new.time, 'now')",
        "unixepoch('subsec')", "unixepoch('subsecond')", "datetime('subsec')", "datetime(new.time, 'localtime')",
        "datetime(new.time, 'utc')", "datetime(1, 'unixepoch', 'localtime')", "current_timestamp", "CURRENT_DATE",
        "current_time", "(select current_timestamp)", "iif(new.version > 5, date('now'), 1)",
        "(select date('now') from json_each(new.data))",
    ],
    "the clock, called by another spelling": [
        "\"date\"('now')", "[datetime]('now')", "`unixepoch`()", "date/* */('now')", "date -- now\n('now')",
        "date(/* */)", "date(/**/'now')", "date(('now'))", "strftime(('%Y'))",
    ],
    "other tables": [
        "(select count(*) from events)", "(select data from events)", "(select name from streams limit 1)",
        "exists (select 1 from head)", "1 in (select position from main.events)", "new.type in types",
        "(select name from sqlite_master)", "(select name from sqlite_schema)",
        "(select name from main.sqlite_schema)", "(select name from sqlite_temp_master)",
        "(select name from temp.sqlite_schema)", "(select state from esctl_fold_1)", "(select * from new)",
        "(select * from feed)", "(select * from log)", "(select * from sqlite_dbpage)", "(select * from dbstat)",
        "(select * from bytecode('select 1'))", "(select * from sqlite_stmt)",
        "(select * from generate_series(1, 2))", "(select * from fts5vocab)", "(select * from carray(1, 2))",
        "(select * from completion('x'))", "(select * from fsdir('.'))",
    ],
    "pragmas": [
        "(select user_version from pragma_user_version)", "(select name from pragma_table_info('events'))",
        "(select file from pragma_database_list)", "(select name from pragma_function_list limit 1)",
        "(select 1 from pragma_wal_checkpoint)", "pragma user_version",
    ],
    "functions that reach out": [
        "load_extension('x')", "LOAD_EXTENSION('x')", "(select load_extension('x', 'y'))",
        "readfile('/etc/hostname')", "writefile('x', 'y')", "edit('x')", "fts3_tokenizer('simple')",
        "sqlite_offset(new.data)", "sqlite_log(1, 'x')", "esctl_fail(1, 'x')", "last_insert_rowid()", "changes()",
        "total_changes()", "no_such_function(1)", "new.type match 'x'", "new.type regexp 'x'",
        "new.type collate nowhere = 'x'",
    ],
    "raise": [
        "raise(ignore)", "RAISE(abort, 'x')", "raise (fail, 'x')", "raise/* */(rollback, 'x')",
        "raise -- x\n(ignore)", "(select raise(ignore))", "case when 1 then raise(abort, 'x') end",
        "iif(0, raise(ignore), 1)",
    ],
    "parameters": ["?", "?1", ":a", "@a", "$a", "new.data ->> ?", "$a::b(c)", "#1"],
    "statements": [
        "attach 'x' as y", "1; attach 'x' as y", "1; drop table events", "1); drop table events; --",
        "1; end; drop table events; begin", "1; end", "1) where (1", "1), (2", "1) from (select 1",
        "1) union select (1", "(select 1); delete from events", "(delete from events)",
        "(insert into events values (1) returning 1)", "(update head set position = 0 returning 1)",
        "(with x as (select 1) delete from events returning 1)", "vacuum", "vacuum into 'x'", "detach main", "begin",
        "commit", "(create table x (y))", "analyze",
    ],
    "more or less than one expression": [
        "", " ", "\n", ";", "1;", "1, 2", "(1, 2)", "(select 1, 2)", "*", "new.*", "new", "1 as one", "1 order by 1",
        "1 limit 1", "1 where 1", "1 returning 1", "and", "1 and", "default", "excluded.x", "old.data",
    ],
    "quotes and brackets that are not closed": [
        "(", ")", "1)", "(1", "((1)", "(1))", "'", "'open", "'it''s", '"', '"open', "[open", "`open", "1 /*", "/* 1",
        "1) /*", "1)) --", "1 */", "x'0", "x'0g'",
    ],
    "comments alone": ["--", "-- 1", "/* 1 */", "/**/", "-- 1\n/* 2 */"],
    "aggregates and windows in their wrong place": [
        "count(*)", "sum(new.version)", "max(new.version)", "group_concat(new.type)", "json_group_array(new.data)",
        "row_number() over ()", "rank() over (order by new.version)", "lag(new.version) over ()",
        "count(*) filter (where 1)", "abs(1) over ()", "abs(1) filter (where 1)",
    ],
    "what an event does not have": [
        "data", "type", "position", "new.salt", "new.hash", "new.stream_id", "new.part", "new.rowid", "new.oid",
        "new._rowid_", "rowid", "key", "result", "latest", "folded", "e.data", "s.name", "t.name", "p.n",
        "main.new.data", "nothing",
    ],
    "double-quoted strings": ['"text"', 'new.data ->> "amount"', "`text`"],
    "a NUL": ["1\0", "'\0'"],
}  # fmt: skip


@pytest.mark.parametrize(
    "sql", [pytest.param(sql, id=f"{why}: {sql!r}") for why, some in FORBIDDEN_TO_MODELS.items() for sql in some]
)
def test_what_a_model_may_not_do_is_refused_at_check_wherever_it_stands(sql: str) -> None:
    for place, text in places(sql).items():
        _, problems = checked(text, {})
        assert [problem.place for problem in problems] == [place]
        assert problems[0].problem


NAMED_ACTIONS = [
    ("(select name from sqlite_master)", "read the table sqlite_master"),
    ("random()", "call random()"),
    ("load_extension('x')", "call load_extension()"),
    ("datetime('now')", "the clock"),
    ("raise(abort, 'x')", "raise()"),
    ("1; drop table x", "';'"),
    ("(select user_version from pragma_user_version)", "pragma"),
]


@pytest.mark.parametrize(("sql", "named"), NAMED_ACTIONS)
def test_a_refusal_names_what_was_tried(sql: str, named: str) -> None:
    with closing(Judge()) as judge:
        assert named in judge.expression(sql, state=True)
        assert named in judge.expression(sql, state=False)


PERMITTED_TO_MODELS = [
    "1", "null", "'text'", "x'00'", "new.data ->> 'amount'", "new.data -> '$.items[0]'", "NEW.Data ->> 'a'",
    "new.position + new.version + new.schema", "new.stream || new.id || new.type || new.time || new.recorded",
    '"new"."stream"', "[new].[stream]", "new /* c */ . time", "new -- c\n.stream",
    "case new.type when 'a' then 1 else 2 end", "iif(new.version > 1, 'a', 'b')", "coalesce(new.data ->> 'a', 0)",
    "round(new.data ->> 'a', 2)", "printf('%.2f', new.data ->> 'a')", "substr('abc', 1, 2) || upper('a')",
    "json_extract(new.data, '$.a')", "json_object('a', json_array(1, 2))", "json_set(new.data, '$.a', 1)",
    "new.type glob 'Order*' or new.type like 'o%'", "new.type in ('a', 'b')", "max(1, 2)", "date(new.time)",
    "strftime('%Y-%m', new.time)", "julianday(new.time) - julianday('2026-01-01')",
    "date(new.time, '+1 day', 'start of month')", "datetime(1700000000, 'unixepoch')",
    "(select sum(value) from json_each(new.data, '$.items'))", "(select group_concat(key) from json_tree(new.data))",
    "(select max(value) over () from json_each(new.data))",
    "exists (select 1 from json_each(new.data) where value = 1)",
    "(with recursive n(x) as (select 1 union all select x + 1 from n where x < 3) select sum(x) from n)",
    "(with n(x) as (values (1), (2)) select count(*) from n)", "(values (1))", "select 1",
    "1 -- a comment (", "/* a comment ) */ 1", "'; drop table x' || ';'",
    "'raise(abort)'", "'--' || '/*'", "'it''s'", "new.data ->> 'random()'", "1\n+\n2", "'\u00e4\U0001f600'",
    "(select count(new.data))", "(select max(new.version))",
]  # fmt: skip


@pytest.mark.parametrize("sql", PERMITTED_TO_MODELS)
def test_what_a_model_may_do_is_taken_and_runs_wherever_it_stands(log_path: Path, sql: str) -> None:
    with open_log(log_path, write=True) as written:
        written.append("s", "T", {"a": 1.5, "items": [1, 2]}, time="2026-01-02T10:00:00Z")
        written.append("s", "U", {"a": 1}, time="2026-01-02T10:00:00Z")
    with EventLog(log_path, write=True) as log:
        for text in places(sql).values():
            hold(log, text)
            list(log.lines(Query()))
            folding.state(log, Query(stream="s"))
            with suppress(RefusedError), log.transaction(keep=False):
                writer_of(log).append([("s", "T", "id", None, 1, "{}", "{}", None)])


@pytest.mark.parametrize("sql", ["state ->> 'a'", "json(state)", "state is not null"])
def test_only_a_fold_or_a_rule_has_a_state(sql: str) -> None:
    with closing(Judge()) as judge:
        assert judge.expression(sql, state=True) == ""
        assert "no such column" in judge.expression(sql, state=False)


def test_a_judge_is_not_swayed_by_what_it_judged_before() -> None:
    with closing(Judge()) as judge:
        for sql in ("random()", "(select name from sqlite_schema)", "1) where (1"):
            assert judge.expression(sql, state=True)
            assert judge.expression("new.version", state=True) == ""
            assert judge.expression("absent", state=False) == "no such column: absent"


@pytest.mark.parametrize("sql", ["1", "(1)", "'('", '"("', "[(]", "`(`", "1 -- (", "/* ( */ 1", "'it''s ('", "x'00'"])
def test_a_text_whose_brackets_and_quotes_are_closed_may_be_an_expression(sql: str) -> None:
    assert why_not_one_expression(sql) == ""


@pytest.mark.parametrize("sql", ["", "(", ")", ")(", "';", "1;", "/*", "1 /* *", "--", "raise(x)", "Raise (x)"])
def test_a_text_whose_tokens_are_no_expression_is_told_why(sql: str) -> None:
    assert why_not_one_expression(sql)


def test_functions_of_models_are_those_that_depend_on_their_arguments_alone() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        functions = deterministic_functions(connection)
    assert {"abs", "json_extract", "sum", "group_concat", "like", "glob", "date", "printf"} <= functions
    reaching = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_offset", "sqlite_log"}
    changing = {"random", "randomblob", "changes", "total_changes", "last_insert_rowid"}
    assert not functions & (reaching | changing | {"current_date", "current_time", "current_timestamp"})


@pytest.mark.parametrize(
    ("action", "first", "second", "allowed"),
    [
        (apsw.SQLITE_SELECT, None, None, True),
        (apsw.SQLITE_RECURSIVE, None, None, True),
        (apsw.SQLITE_READ, "mine", "x", True),
        (apsw.SQLITE_READ, "json_each", "value", True),
        (apsw.SQLITE_READ, "json_tree", "value", True),
        (apsw.SQLITE_READ, "events", "data", False),
        (apsw.SQLITE_READ, "sqlite_master", "name", False),
        (apsw.SQLITE_UPDATE, "mine", "x", True),
        (apsw.SQLITE_UPDATE, "events", "x", False),
        (apsw.SQLITE_INSERT, "mine", None, False),
        (apsw.SQLITE_DELETE, "mine", None, False),
        (apsw.SQLITE_FUNCTION, None, "abs", True),
        (apsw.SQLITE_FUNCTION, None, "ABS", True),
        (apsw.SQLITE_FUNCTION, None, "random", False),
        (apsw.SQLITE_FUNCTION, None, None, False),
        (apsw.SQLITE_PRAGMA, "user_version", None, False),
        (apsw.SQLITE_ATTACH, "x", None, False),
        (apsw.SQLITE_DETACH, "x", None, False),
        (apsw.SQLITE_TRANSACTION, "BEGIN", None, False),
        (apsw.SQLITE_SAVEPOINT, "BEGIN", "x", False),
        (apsw.SQLITE_CREATE_TABLE, "x", None, False),
        (apsw.SQLITE_CREATE_TEMP_TRIGGER, "x", None, False),
        (apsw.SQLITE_DROP_TABLE, "mine", None, False),
        (apsw.SQLITE_ALTER_TABLE, "main", "mine", False),
        (apsw.SQLITE_CREATE_VTABLE, "x", "fts5", False),
    ],
)
def test_a_definition_is_permitted_its_tables_and_functions(
    action: int, first: str | None, second: str | None, allowed: bool
) -> None:
    assert permitted(action, first, second, {"mine"}, {"abs"}) is allowed


# The clock, which only shows when an expression runs


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


# Expressions that run away

ENDLESS = "(with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n)"


@pytest.fixture
def endless(log_path: Path) -> Iterator[EventLog]:
    """A log with two events, and patience for a tenth of a second."""
    with open_log(log_path, write=True) as written:
        written.append("s", "T", {})
        written.append("s", "U", {})
    with EventLog(log_path, write=True) as log:
        log.store.limit(0.1)
        yield log


def touch(log: EventLog, place: str) -> None:
    """Do what runs the expression of a place."""
    if place.startswith("event"):
        list(log.lines(Query()))
    elif "accept" in place:
        with log.transaction():
            writer_of(log).append([("s", "T", "id", None, 1, "{}", "{}", None)])
    else:
        folding.state(log, Query(stream="s"))


@pytest.mark.parametrize("place", places("1"))
def test_an_expression_that_never_ends_is_stopped(endless: EventLog, place: str) -> None:
    hold(endless, places(ENDLESS)[place])
    begin = time.monotonic()
    with pytest.raises(HandlerError, match=r"more than 0\.1 seconds") as stopped:
        touch(endless, place)
    assert stopped.value.exit_code == 9
    assert time.monotonic() - begin < 5
    read = endless.read(Query(raw_schema=True, system=True))
    assert [event[4] for event, _, _ in read] == ["T", "U", system.MODEL_APPLIED]  # and the log is as it was


def test_rows_of_a_read_are_stopped_as_lines_are(endless: EventLog) -> None:
    hold(endless, places(ENDLESS)["event.T.upcast[1].compute.x"])
    with pytest.raises(HandlerError):
        list(endless.read(Query()))
