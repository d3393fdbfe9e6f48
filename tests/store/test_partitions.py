"""Which projections have rows that depend on one stream each, judged by their SQL."""

from __future__ import annotations

import pytest

from esctl.model import projections, toml
from esctl.model.compiled import Compiled
from esctl.store.partitions import by_stream

TABLE = "create table t(k text primary key, n integer not null default 0, x)"
INSERT = "insert into t(k, n) values (new.stream, 1) on conflict(k) do update set n = n + 1"


def form(table: str, *handlers: str, more: str = "") -> Compiled:
    on = "\n".join(f"T{n} = '''{sql}'''" for n, sql in enumerate(handlers))
    text = f"[projection.t]\ntable = '''{table}'''\n{more}\n[projection.t.on]\n{on}\n"
    model, problems = toml.parse(text, str)
    assert problems == []
    return projections.compiled(model.projections["t"], {})


@pytest.mark.parametrize(
    "handler",
    [
        INSERT,
        "insert into t values (new.stream, 1, new.data ->> 'x')",
        "insert or ignore into t(x, k) values (max(new.data ->> 'a', 2), new.stream)",
        "insert into T(x, K) values (json_array(1, 'a,b'), NEW.stream) on conflict do nothing",
        "update t set n = n + 1, x = new.data ->> 'x' where k = new.stream",
        "update t set x = replace(x, 'a', 'k') where t.k = new.stream and n in (1, 2) and x <> 'or'",
        "delete from t where k = new.stream",
        "delete from t where k = new.stream; insert into t(k, x) values (new.stream, new.position) /* or */",
    ],
)
def test_rows_that_are_written_by_their_stream_depend_on_it_alone(handler: str) -> None:
    assert by_stream(form(TABLE, handler)) == {"t": "k"}


@pytest.mark.parametrize(
    "handler",
    [
        "insert into t(k) values (new.data ->> 'k')",
        "insert into t(k) values (new.stream || 'x')",
        "insert into t(k) values (new.type)",
        "insert into t(k) values (new.stream), ('b')",
        "insert into t(k, n) select new.stream, 1",
        "insert into t(k, n) values (new.stream, (select count(*) from t))",
        "insert or replace into t(k) values (new.stream)",
        "replace into t(k) values (new.stream)",
        "insert into t(n, k) values (1, new.stream) on conflict(k) do update set k = 'other'",
        "insert into t(n, k) values (1, new.stream) on conflict(k) do update set n = 2, \"k\" = 'other'",
        "insert into t(n, k) values (1, new.stream) on conflict(k) do update set (n, k) = (1, 'other')",
        "update t set n = 1",
        "update t set k = 'a' where k = new.stream",
        "update t set n = 1 where k = new.stream or n = 2",
        "update t set n = 1 where not k = new.stream",
        "update t set n = 1 where k = new.stream collate nocase",
        "update t set n = 1 where k = new.stream || ''",
        "update t set n = 1 where k <> new.stream",
        "update t set n = 1 where n = 1 and k = new.stream",
        "update t set n = o.n from t as o where t.k = new.stream",
        "update t set n = 1 where k = new.stream and (k, n, x) in t",
        "update t set n = rowid where k = new.stream",
        "delete from t",
        "delete from t where k = new.stream; delete from t where n = 0",
    ],
)
def test_what_may_read_or_write_rows_of_other_streams_depends_on_all(handler: str) -> None:
    assert by_stream(form(TABLE, handler)) is None


def test_every_handler_has_to_be_so() -> None:
    assert by_stream(form(TABLE, INSERT, "update t set n = 1 where k = new.stream")) == {"t": "k"}
    assert by_stream(form(TABLE, INSERT, "update t set n = 1")) is None


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("create table t(k text, n integer, x, primary key (k, n)) without rowid", {"t": "k"}),
        ("create table t(k, n integer default 0, x, primary key (n, k))", {"t": "k"}),
        ("create table t(k text, n integer primary key, x)", None),
        ("create table t(k text, n integer, x)", None),
        ("create table t(k text unique, n integer, x)", None),
        ("create table t(k text primary key, n integer, x unique)", None),
        ("create table t(k text primary key collate nocase, n integer, x)", None),
        ("create table t(k integer, n integer, x, primary key (k, n))", None),
        ("create table t(k varchar(9) primary key, n integer, x)", None),
    ],
)
def test_the_stream_has_to_be_in_every_key_and_be_compared_by_its_bytes(
    table: str, expected: dict[str, str] | None
) -> None:
    assert by_stream(form(table, "insert into t(k, n) values (new.stream, new.version)")) == expected


def test_a_unique_index_is_a_key() -> None:
    index = "indexes = ['create unique index i on t({})']"
    assert by_stream(form(TABLE, INSERT, more=index.format("n"))) is None
    assert by_stream(form(TABLE, INSERT, more=index.format("n, k"))) == {"t": "k"}
    assert by_stream(form(TABLE, INSERT, more=index.format("k, lower(x)"))) == {"t": "k"}
