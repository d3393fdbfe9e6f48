"""The tables of a log are those of every log: what a stranger put in their place, or on them, is refused at open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from esctl.errors import RefusedError, VerificationError
from esctl.log import EventLog
from esctl.sql.judge import RESERVED
from esctl.store import migrations
from esctl.store.schema import DIGESTS, OWN, digests
from esctl.store.store import Store
from tests.logs import alter, event, hold, put, run, whole

PROJECTION = """
[projection.counts]
inline = true
table = "create table counts (k text primary key, n integer)"
[projection.counts.on]
T = "insert into counts values (new.stream, 1) on conflict (k) do update set n = n + 1"
"""
FOREVER = "with recursive c(n) as (select 1 union all select n + 1 from c) select max(n)"


def test_the_digests_are_of_the_schema_that_the_migrations_make() -> None:
    assert digests(migrations.schema()) == DIGESTS


def test_the_names_are_those_of_the_log_and_none_may_be_a_projections() -> None:
    assert {name for name, row in migrations.schema().items() if row[0] != "index"} == set(OWN)
    assert set(RESERVED) >= OWN


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    ("sql", "what"),
    [
        (f"alter table head rename to old; create view head as {FOREVER} as log_id from c", "view head"),
        (f"drop table streams; create view streams as {FOREVER} as stream_id, 'a' as name from c", "view streams"),
        ("drop view log", "log is missing"),
        ("drop view log; create view log as select 1 as position", "view log"),
        ("drop table leftovers", "leftovers is missing"),
        ("drop table leftovers; create virtual table leftovers using fts5(path)", "table leftovers"),
        ("drop table erased; create table erased (position integer primary key, digest blob not null,"  # noqa: ISC004
         " event integer as (length(hex(zeroblob(100000000)))) virtual)", "table erased"),
        ("drop table leftovers; create table leftovers (path text primary key check (length(path) < 9))",
         "table leftovers"),
        ("create trigger hush before insert on events begin select raise(ignore); end", "trigger hush on events"),
        ("create trigger hush before insert on EVENTS begin select raise(ignore); end", "trigger hush on events"),
        ("create trigger hush instead of insert on log begin select 1; end", "trigger hush on log"),
        ("create index slow on events (length(hex(data)))", "index slow on events"),
        ("create unique index odd on events (recorded)", "index odd on events"),
        ("pragma writable_schema = on; update sqlite_schema set name = 'erAsed' where name = 'erased'", "table erased"),
        ("alter table _sqlite_migrations rename to x; create view _sqlite_migrations as select 1", "not a table"),
    ],
)  # fmt: skip
def test_what_is_none_of_the_logs_is_refused_at_open(log_path: Path, sql: str, what: str, write: bool) -> None:
    alter(log_path, sql)
    before = log_path.read_bytes()
    with pytest.raises(VerificationError) as caught:
        Store(log_path, write=write)
    assert what in caught.value.why
    assert log_path.read_bytes() == before


def test_others_may_have_tables_views_and_triggers_of_their_own(log_path: Path) -> None:
    alter(log_path, "create table mine (x); create view ours as select x from mine; create index i on mine(x)")
    alter(log_path, "create trigger t after insert on mine begin select 1; end; analyze")
    assert whole(log_path)


@pytest.mark.parametrize(
    "sql",
    [
        f"drop table counts; create view counts as {FOREVER} as n, 'a' as k from c",
        "drop table counts; create virtual table counts using fts5(k, n)",
        f"create view counts__1 as {FOREVER} as n from c",
    ],
)
def test_a_view_in_place_of_a_projections_table_is_refused(log_path: Path, sql: str) -> None:
    with EventLog(log_path, write=True) as log:
        hold(log, PROJECTION)
        put(log, event("a"))
        run(log)
    alter(log_path, sql)
    with pytest.raises(VerificationError) as caught:
        Store(log_path)
    assert "in place of the table of a projection" in caught.value.why


def test_a_view_besides_damaged_projections_is_no_bug(log_path: Path) -> None:
    alter(log_path, "create view ours as select 1")
    alter(log_path, "insert into projections values (1, 'x', 'live', 1, 1, 0, '', null, 0, '', null, null, null, null,"
                    " '{')")  # fmt: skip
    with closing(Store(log_path)):
        pass


@pytest.mark.parametrize("table", sorted(OWN - {"log", "_sqlite_migrations"}))
def test_a_trigger_on_a_projections_table_cannot_write_the_logs_own_tables(log_path: Path, table: str) -> None:
    with EventLog(log_path, write=True) as log:
        hold(log, PROJECTION)
        put(log, event("a"))
        run(log)
    alter(log_path, f"create trigger hear after update on counts begin delete from {table}; end")
    with EventLog(log_path, write=True) as log, pytest.raises(RefusedError, match="not authorized"):
        put(log, event("a"))


def test_a_trigger_on_a_projections_table_may_write_others(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        hold(log, PROJECTION)
        put(log, event("a"))
        run(log)
    alter(log_path, "create table heard (x); create trigger hear after insert on counts begin"
                    " insert into heard values (new.k); end")  # fmt: skip
    with EventLog(log_path, write=True) as log:
        put(log, event("b"))
    with closing(sqlite3.connect(log_path)) as connection:
        assert connection.execute("select x from heard").fetchall() == [("b",)]
