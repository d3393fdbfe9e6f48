"""SQL of a model does nothing but compute."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest

from esctl import open_log
from esctl.errors import RefusedError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.checks import checked
from esctl.sql.judge import Judge, deterministic_functions, permitted
from esctl.states import folding
from tests.conftest import writer_of
from tests.expressions import places
from tests.logs import hold

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
                writer_of(log).append([NewEvent("s", "T", "id", None, 1, "{}", "{}", None)])


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
