"""A log from a stranger, whose projections were edited by hand: they touch only their own tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from esctl.errors import EsctlError, RefusedError, VerificationError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.evolution.plan import Draft, apply
from esctl.log import EventLog
from esctl.model import untrusted
from esctl.model.checks import checked
from esctl.projections import admin, reading
from esctl.projections.reading import RowFilter
from esctl.store.guard import Guard
from tests.conftest import writer_of
from tests.logs import IDS, run

MODEL = """
[projection.x]
table = "create table x(a, b)"
[projection.x.on]
"*" = "insert into x(a, b) values (new.position, new.data)"
"""


def put(log: EventLog, *types: str) -> None:
    with log.transaction():
        writer_of(log).append([NewEvent("s-1", type_, next(IDS), None, 0, '{"n":1}', "{}", None) for type_ in types])


def hold(log: EventLog, text: str, *, judged: bool = True) -> None:
    model, problems = checked(text, {}, trusted=not judged)
    assert problems == []
    apply(log, Draft(text, {}, model), log.definitions.position)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(str(path))) as connection:
        return connection.execute(sql).fetchall()


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the file keeps of a projection, as another program would."""
    with closing(apsw.Connection(str(path))) as connection:
        said = json.loads(connection.execute("select compiled from projections").get)
        change(said)
        connection.execute("update projections set compiled = ?", (json.dumps(said),))


@pytest.fixture
def strange(log_path: Path) -> Path:
    """A log whose projection x has seen two events and misses two."""
    with EventLog(log_path, write=True) as log:
        hold(log, MODEL)
        put(log, "A", "B")
        assert run(log).failures == []
        put(log, "C", "D")
    return log_path


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A database that is none of a log's business."""
    path = tmp_path / "sqlite_victim.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("create table t(a); insert into t values ('untouched')").fetchall()
    return path


LOG = "select position, stream_id, version, id, data, hash from events order by position"


def everything(path: Path) -> list[list[tuple[Any, ...]]]:
    """What a log holds but for the rows of the projection and how far it is."""
    tables = ("head", "streams", "types", "segments", "erased", "snapshots", "_sqlite_migrations")
    return [rows(path, LOG), *(rows(path, f"select * from {table}") for table in tables)]


def stopped(path: Path) -> None:
    """Run what is edited: the log is as it was, and so are the projection's rows."""
    before, kept = everything(path), rows(path, "select * from x")
    with EventLog(path, write=True) as log, suppress(EsctlError):
        assert [failure.exit_code for failure in run(log).failures] == [9]
    assert everything(path) == before
    assert rows(path, "select * from x") == kept


@pytest.mark.parametrize(
    "handler",
    [
        "delete from events where position < 3",
        "update events set data = null",
        "update head set position = 1",
        "insert into leftovers values ('/etc/passwd')",
        "insert into x select position, data from events",
        "insert into x select 1, data from log",
        "insert into x select 1, count(*) from events",
        "insert into x select 1, 1 where exists (select 1 from main.streams)",
        "insert into x select 1, compiled from projections",
        "update projections set position = 0",
        "insert into x select name, 1 from sqlite_master",
        "insert into x select name, 1 from pragma_table_list",
        "insert into x select 1, count(*) from pragma_database_list",
        "insert into x select 1, count(*) from dbstat",
        "insert into x values (random(), 1)",
        "insert into x values (1, randomblob(4))",
        "insert into x values (1, current_timestamp)",
        "insert into x values (1, datetime('now'))",
        "insert into x values (1, datetime('n' || 'ow'))",
        "insert into x values (1, [strftime]('%s', x'6e6f77'))",
        "insert into x values (1, last_insert_rowid())",
        "insert into x values (1, load_extension('e'))",
        "insert into x values (1, writefile('f', 'x'))",
        "insert into x values (1, readfile('/etc/passwd'))",
        "insert into x values (1, zeroblob(9))",
        "insert into x values (1, raise(rollback, 'gone'))",
        "insert into other values (1)",
        "insert into x select 1, a from other",
        "insert into x select 1, count(*) from other",
    ],
)
def test_a_handler_that_was_put_there_is_stopped_when_it_runs(strange: Path, handler: str) -> None:
    rows(strange, "create table other(a)")
    edit(strange, lambda said: said.update(on={"*": f"{handler}\n;"}))
    stopped(strange)
    assert rows(strange, "select * from other") == []


@pytest.mark.parametrize(
    "injected",
    [
        "attach '{0}' as z",
        "attach 'sqlite_temp_master' as z",
        "commit; attach '{0}' as z; insert into z.t values (1)",
        "delete from events",
        "drop table events",
        "pragma user_version = 99",
        "create table y(a)",
        "vacuum into 'y.db'",
    ],
)
def test_what_was_put_behind_the_end_of_a_handler_does_not_run(
    strange: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, injected: str
) -> None:
    monkeypatch.chdir(victim.parent)
    files = sorted(path.name for path in victim.parent.iterdir())
    sql = f"update x set a = a; end; {injected.format(victim)}; begin"
    edit(strange, lambda said: said.update(on={"*": f"{sql}\n;"}))
    stopped(strange)
    assert rows(victim, "select * from t") == [("untouched",)]
    assert sorted(path.name for path in victim.parent.iterdir()) == files


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("data", "data; commit; attach '{0}' as z; insert into z.t values (1); --"),
        ("data", "data; attach '{0}' as z; insert into z.t values (1); commit; --"),
        ("data", "data; delete from events; --"),
        ("data", "(select group_concat(name) from sqlite_schema)"),
        ("data", "(select count(*) from head)"),
        ("data", "random()"),
        ("data", "current_timestamp"),
        ("data", "datetime('n' || 'ow')"),
        ("data; commit; attach '{0}' as z; insert into z.t values (1); --", "data"),
        ('data" , "x', "data"),
    ],
)
def test_columns_that_were_put_there_are_no_sql(strange: Path, victim: Path, name: str, expression: str) -> None:
    columns = {"position": "position", "type": "type", name.format(victim): expression.format(victim)}
    edit(strange, lambda said: said.update(columns=columns))
    stopped(strange)
    assert rows(victim, "select * from t") == [("untouched",)]


@pytest.mark.parametrize("fingerprint", ["x as sel", "a;commit", "a/*", "'", '"'])
def test_a_fingerprint_that_was_put_there_is_no_sql(strange: Path, fingerprint: str) -> None:
    before = everything(strange)
    rows(strange, f"update projections set fingerprint = '{fingerprint.replace(chr(39), chr(39) * 2)}'")
    with EventLog(strange, write=True) as log, suppress(EsctlError):
        run(log)
    assert everything(strange) == before


@pytest.mark.parametrize(
    "expression",
    [
        "(select json_object('n', count(*)) from head)",
        "json_object('n', (select group_concat(name) from sqlite_master))",
        "(select data from events where position = 1)",
        "json_object('n', random())",
        "json_object('n', current_timestamp)",
        "json_object('n', datetime('n' || 'ow'))",
        "json_object('n', load_extension('e'))",
        "1; delete from events; --",
    ],
)
def test_an_upcast_that_was_put_there_sees_nothing_but_the_event(strange: Path, expression: str) -> None:
    shape = {kind: {"1": [[kind, 1, expression, None, None]]} for kind in "CD"}
    edit(strange, lambda said: said.update(upcasting=shape))
    stopped(strange)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("head", "log_id = 'another'"),
        ("HEAD", "log_id = 'another'"),
        ("events", "data = '{}'"),
        ("streams", "name = name || 's'"),
        ("types", "name = name || 's'"),
        ("projections", "name = name || 's'"),
        ("log", "data = '{}'"),
        ("sqlite_schema", "sql = null"),
        ("_sqlite_migrations", "name = name || 's'"),
    ],
)
def test_a_table_of_the_log_is_no_projections_whatever_was_put_there(strange: Path, table: str, change: str) -> None:
    edit(strange, lambda said: said["tables"].update({table: f"{table}(a)"}))
    edit(strange, lambda said: said.update(on={"*": f"update {table} set {change}\n;"}))
    stopped(strange)


@pytest.mark.parametrize("table", ["head", "events", "streams", "projections", "HEAD", "_sqlite_migrations"])
def test_dropping_a_projection_drops_no_table_of_the_log_whatever_was_put_there(strange: Path, table: str) -> None:
    before = everything(strange)
    edit(strange, lambda said: said["tables"].update({table: f"{table}(a)"}))
    with EventLog(strange, write=True) as log, suppress(EsctlError):
        admin.drop(log, "x")
    assert everything(strange) == before


@pytest.mark.parametrize(
    "table",
    [
        "create table x(a, b default (random()))",
        "create table x(a, b default current_timestamp)",
        "create table x(a, b default (datetime('n' || 'ow')))",
        "create table x(a, b check (random() is not null))",
        "create table x(a, b default (datetime('now')))",
        "create table x(a, b references events on delete cascade)",
        "create table x(a, b); attach 'y.db' as y",
        "create table x(a, b); delete from events",
    ],
)
def test_a_model_that_was_never_judged_is_refused_when_its_tables_are_made(
    log_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.chdir(log_path.parent)
    with EventLog(log_path, write=True) as log:
        put(log, "A")
        text = MODEL.replace("create table x(a, b)", table).replace(
            "x(a, b) values (new.position, new.data)", "x(a) values (1)"
        )
        with pytest.raises(EsctlError):
            hold(log, text, judged=False)
    assert rows(log_path, "select name from sqlite_schema where name in ('x', 'y')") == []
    assert not (log_path.parent / "y.db").exists()


@pytest.mark.parametrize(
    "column",
    [
        "c); attach '{0}' as z; insert into z.t values (1); --",
        "c); attach '{0}new' as z; create table z.t(a); --",
    ],
)
def test_a_column_of_a_strangers_table_is_no_sql_in_a_condition(log_path: Path, victim: Path, column: str) -> None:
    name = column.format(victim)
    with EventLog(log_path, write=True) as log:
        hold(log, MODEL.replace('x(a, b)"', f'x(a, b, \\"{name}\\")"'))
        put(log, "A")
        run(log)
        picture = reading.rows(log, log.definitions.model.projections["x"], RowFilter(where="a > 0"), built=False)
        assert picture.columns == ["a", "b", name]
        assert len(picture.rows) == 1
    assert rows(victim, "select * from t") == [("untouched",)]
    assert not Path(f"{victim}new").exists()


def test_a_condition_may_name_columns_however_they_are_called(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        hold(log, MODEL.replace('x(a, b)"', 'x(a, b, \\"order count\\", \\"select\\")"'))
        put(log, "A")
        run(log)
        asked = RowFilter(where='a > 0 and "order count" is null and "select" is null')
        assert len(reading.rows(log, log.definitions.model.projections["x"], asked, built=False).rows) == 1


# Handlers that take too much, or leave the transaction

RUNAWAY = "insert into x with recursive c(n) as (select 1 union all select n + 1 from c) select max(n), 1 from c"
HUNGRY = "insert into x with recursive c(n) as (select 'x' union all select n || n from c) select 1, max(n) from c"


@pytest.mark.parametrize("handler", [RUNAWAY, HUNGRY])
def test_a_handler_that_runs_away_stops_its_projection_and_no_append(log_path: Path, handler: str) -> None:
    with EventLog(log_path, write=True) as log:
        log.store.statements.limit(0.2)
        hold(log, MODEL.replace("insert into x(a, b) values (new.position, new.data)", handler))
        put(log, "A")
        assert [failure.exit_code for failure in run(log).failures] == [9]
        put(log, "B")
    assert rows(log_path, "select position, failed from projections") == [(1, 2)]


@pytest.mark.parametrize("handler", [RUNAWAY, HUNGRY])
def test_an_inline_handler_that_runs_away_refuses_the_append_in_time(log_path: Path, handler: str) -> None:
    with EventLog(log_path, write=True) as log:
        log.store.statements.limit(0.2)
        model = MODEL.replace("insert into x(a, b) values (new.position, new.data)", handler)
        hold(log, model.replace("[projection.x]\n", "[projection.x]\ninline = true\n"))
        with pytest.raises(RefusedError):
            put(log, "A")
    assert rows(log_path, "select count(*) from events") == [(1,)]


LEAVING = (
    "insert into x values (1, new.data); insert into x select 2, raise(rollback, 'gone') where new.type = 'B'",
    "insert into x values (1, new.data); insert or rollback into x select 1, null from x where new.type = 'B'",
)


@pytest.mark.parametrize("handler", LEAVING)
def test_a_handler_that_ends_the_transaction_leaves_no_rows_behind(log_path: Path, handler: str) -> None:
    """It takes a model that was not judged. Events that the projection had missed are not taken twice."""
    text = f"""
[projection.x]
inline = true
table = "create table x(a, b not null)"
[projection.x.on]
"*" = "{handler}"
"""
    with EventLog(log_path, write=True) as log:
        put(log, "A", "A", "B")
        with suppress(RefusedError):  # refused right away is as good
            hold(log, text, judged=False)
            with pytest.raises(RefusedError):
                put(log, "C")
            assert rows(log_path, "select * from x") == []
            assert rows(log_path, "select position from projections") == [(0,)]
    assert rows(log_path, "select group_concat(name) from events join types using (type_id)")[0][0].count("C") == 0


# The guard itself

VIEW = "esctl_run_1_abcdef01"


@pytest.mark.parametrize(
    ("action", "first", "second", "allowed"),
    [
        (apsw.SQLITE_INSERT, "x", None, True),
        (apsw.SQLITE_UPDATE, "x", "a", True),
        (apsw.SQLITE_DELETE, "x", None, True),
        (apsw.SQLITE_READ, "x", "a", True),
        (apsw.SQLITE_READ, "json_each", "value", True),
        (apsw.SQLITE_SELECT, None, None, True),
        (apsw.SQLITE_FUNCTION, None, "lower", True),
        (apsw.SQLITE_INSERT, "y", None, False),
        (apsw.SQLITE_READ, "y", "a", False),
        (apsw.SQLITE_READ, "events", "", False),
        (apsw.SQLITE_DELETE, "events", None, False),
        (apsw.SQLITE_FUNCTION, None, "random", False),
        (apsw.SQLITE_FUNCTION, None, "load_extension", False),
        (apsw.SQLITE_ATTACH, "x", None, False),
        (apsw.SQLITE_ATTACH, VIEW, None, False),
        (apsw.SQLITE_PRAGMA, "x", None, False),
        (apsw.SQLITE_CREATE_TABLE, "x", None, False),
        (apsw.SQLITE_DROP_TABLE, "x", None, False),
        (apsw.SQLITE_ALTER_TABLE, "main", "x", False),
        (apsw.SQLITE_TRANSACTION, "COMMIT", None, False),
        (apsw.SQLITE_CREATE_TEMP_TABLE, "x", None, False),
        (apsw.SQLITE_CREATE_VTABLE, "x", "fts5", False),
    ],
)
def test_inside_a_handler_only_its_own_tables_are_within_reach(
    action: int, first: str | None, second: str | None, allowed: bool
) -> None:
    guard = Guard(apsw.Connection(":memory:"), write=True)
    guard.tables[VIEW] = {"x"}
    answer = guard(action, first, second, "main", f"{VIEW}_3")
    assert answer == (apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY)


def test_a_handler_of_another_version_has_other_tables() -> None:
    guard = Guard(apsw.Connection(":memory:"), write=True)
    guard.tables[VIEW] = {"x"}
    assert guard(apsw.SQLITE_INSERT, "x", None, "main", "esctl_run_2_abcdef01_0") == apsw.SQLITE_DENY
    assert guard(apsw.SQLITE_INSERT, "x", None, "main", VIEW) == apsw.SQLITE_DENY


@pytest.mark.parametrize("action", [apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE, apsw.SQLITE_DROP_TABLE])
def test_a_reader_writes_temporary_tables_alone(action: int) -> None:
    guard = Guard(apsw.Connection(":memory:"), write=False)
    guard.tables[VIEW] = {"x"}
    for inside in (None, f"{VIEW}_0"):
        assert guard(action, "x", None, "main", inside) == apsw.SQLITE_DENY
    assert guard(action, "x", None, "temp", None) == apsw.SQLITE_OK


@pytest.mark.parametrize(
    ("action", "first"),
    [
        (apsw.SQLITE_ATTACH, "sqlite_temp_master"),
        (apsw.SQLITE_PRAGMA, "sqlite_temp_master"),
        (apsw.SQLITE_ATTACH, "t"),
        (apsw.SQLITE_CREATE_TEMP_TABLE, "t"),
        (apsw.SQLITE_CREATE_TEMP_TRIGGER, "u"),
        (apsw.SQLITE_CREATE_TRIGGER, "t"),
        (apsw.SQLITE_DELETE, "events"),
        (apsw.SQLITE_SELECT, None),
        (apsw.SQLITE_TRANSACTION, "BEGIN"),
    ],
)
def test_where_a_trigger_is_made_nothing_else_is(action: int, first: str | None) -> None:
    guard = Guard(apsw.Connection(":memory:"), write=True)
    guard.defining = "t"
    assert guard(apsw.SQLITE_CREATE_TEMP_TRIGGER, "t", "v", "temp", None) == apsw.SQLITE_OK
    assert guard(action, first, None, "temp", None) == apsw.SQLITE_DENY


def test_a_projection_cannot_be_built_as_of_a_point_from_what_was_put_there(strange: Path) -> None:
    """As of a point, the model is what counts, and not what the file keeps of it."""
    edit(strange, lambda said: said.update(on={"*": "insert into x values (666, 666)\n;"}))
    with EventLog(strange) as log:
        held = log.definitions.model.projections["x"]
        for _ in reading.at(log, held, Query(until=5)):
            pass
        found = reading.rows(log, held, RowFilter(), built=True).rows
    assert [row[0] for row in found] == [2, 3, 4, 5]


def versions(path: Path, cache: Path) -> list[tuple[str, dict[str, str]]]:
    """The projections that a log keeps, as they are read with a cache."""
    with EventLog(path, cache=str(cache)) as log:
        return [(version.name, version.compiled.on) for version in log.store.projections().versions()]


def test_what_was_edited_is_judged_although_the_original_is_cached(strange: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert [name for name, _ in versions(strange, cache)] == ["x"]
    edit(strange, lambda said: said["columns"].update(data="(select data from events)"))
    for _ in range(2):
        with pytest.raises(VerificationError, match="is damaged") as refusal:
            versions(strange, cache)
        assert "is not a column of an event" in refusal.value.why


def test_a_compiled_projection_is_judged_once(strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    plain = versions(strange, cache)
    monkeypatch.setattr(untrusted, "wrong", lambda _: "judged again")
    assert versions(strange, cache) == plain
    with pytest.raises(VerificationError) as refusal:
        versions(strange, tmp_path / "another cache")
    assert "judged again" in refusal.value.why
