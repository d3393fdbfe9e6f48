"""Tables of projections in one SQLite file: names that change hands unseen, and what others have there left alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from esctl.api import open_log
from esctl.errors import ConflictError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.projections import admin, differences, reading, runs
from esctl.projections.reading import RowFilter
from esctl.store import migrations
from tests.conftest import writer_of
from tests.logs import IDS, alter, hold, run


def put(log: EventLog, many: int, type_: str = "A") -> None:
    with log.transaction():
        writer_of(log).append(
            [NewEvent("s-1", type_, next(IDS), None, 0, f'{{"n":{n}}}', "{}", None) for n in range(many)]
        )


def rebuild(log: EventLog, name: str = "x") -> None:
    for _ in runs.catch_up(log, admin.rebuild(log, name, from_scratch=False)):
        pass


def model(tag: str = "old", *, name: str = "x", more: str = "") -> str:
    return f"""
[projection.{name}]
table = "create table {name}(a integer primary key, b)"
indexes = ["create index {name}_b on {name}(b)"]
{more}
[projection.{name}.on]
A = "insert into {name} values (new.position, '{tag}')"
"""


@contextmanager
def other(path: str | Path) -> Iterator[apsw.Connection]:
    """Another program's connection."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.set_busy_timeout(5000)
        yield connection


def rows(path: str | Path, sql: str) -> list[tuple[Any, ...]]:
    with other(path) as connection:
        return connection.execute(sql).fetchall()


def named(path: str | Path, pattern: str = "x%") -> list[str]:
    sql = f"select name from sqlite_schema where name glob '{pattern.replace('%', '*')}' order by name"
    return [name for (name,) in rows(path, sql)]


# Names that change hands


def test_a_reader_sees_one_whole_version_at_every_moment_of_a_rebuild(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 40)
    monkeypatch.setattr(runs, "GAP_SECONDS", 0)
    hold(log, model("old"))
    put(log, 800)
    run(log).end()
    seen: set[tuple[tuple[str, int], ...]] = set()
    tables: set[tuple[str, ...]] = set()
    wrong: list[Exception] = []
    done, began = threading.Event(), threading.Event()

    def read() -> None:
        with other(log.path) as reader:
            while not done.is_set():
                try:
                    seen.add(tuple(reader.execute("select b, count(*) from x group by b")))
                    tables.add(
                        tuple(n for (n,) in reader.execute("select name from sqlite_schema where name glob 'x*'"))
                    )
                except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                    wrong.append(error)
                    return
                began.set()

    reading = threading.Thread(target=read)
    reading.start()
    assert began.wait(10)
    hold(log, model("new"))
    run(log).end()
    done.set()
    reading.join()
    assert wrong == []
    assert seen <= {(("old", 800),), (("new", 800),)}
    assert all("x" in names for names in tables)
    assert rows(log.path, "select b, count(*) from x group by b") == [("new", 800)]
    assert named(log.path) == ["x", "x__1", "x_b__1", "x_b__2"]


def test_a_batch_that_fails_leaves_every_name_where_it_was(log: EventLog) -> None:
    hold(log, model("old"))
    put(log, 5)
    run(log).end()
    number = admin.rebuild(log, "x", from_scratch=False)
    version = log.store.projections().version(number)
    assert version is not None
    before = rows(log.path, "select type, name, tbl_name, sql from sqlite_schema")

    with pytest.raises(ZeroDivisionError), log.transaction(), log.store.projections().placed(version):
        raise ZeroDivisionError
    assert rows(log.path, "select type, name, tbl_name, sql from sqlite_schema") == before
    assert rows(log.path, "select count(*) from x") == [(5,)]


def test_the_version_that_builds_and_the_live_one_are_fed_apart(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, model("old"))
    put(log, 6)
    run(log).end()
    hold(log, model("new"))
    building = next(v for v in log.store.projections().versions() if v.state == "building")
    next(iter(runs.catch_up(log, building.version)))
    put(log, 1)
    live = next(v for v in log.store.projections().versions() if v.state == "live")
    for _ in runs.catch_up(log, live.version):
        pass
    assert rows(log.path, "select distinct b from x") == [("old",)]
    assert rows(log.path, "select count(*) from x") == [(7,)]
    assert rows(log.path, f"select distinct b from x__{building.version}") in ([], [("new",)])


def test_references_among_a_projections_tables_follow_its_versions(log: EventLog) -> None:
    text = """
[projection.c]
tables = { p = "create table p(i integer primary key)" }
table = "create table c(a references p(i) on delete cascade, s references c(a), unique (a))"
[projection.c.on]
A = "insert into p values (new.position); insert into c values (new.position, new.position)"
"""
    hold(log, text)
    put(log, 3)
    run(log).end()
    rebuild(log, "c")
    put(log, 1)
    run(log).end()
    assert rows(log.path, "select count(*) from c join p on i = a") == [(4,)]
    parents = 'select distinct "table" from pragma_foreign_key_list({}) order by 1'
    assert rows(log.path, parents.format("'c'")) == [("c",), ("p",)]
    assert rows(log.path, parents.format("'c__1'")) == [("c__1",), ("p__1",)]
    rebuild(log, "c")
    admin.drop(log, "c")
    assert named(log.path, "[cp]") == named(log.path, "[cp]__*") == []


# What others have made


def test_a_view_that_a_user_made_shows_the_live_version_after_every_switch(log: EventLog) -> None:
    hold(log, model("old"))
    put(log, 3)
    run(log).end()
    rows(log.path, "create view mine as select b, count(*) as n from x group by b")
    for tag in ("new", "newer"):
        assert len(rows(log.path, "select * from mine")) == 1
        hold(log, model(tag))
        run(log).end()
        assert rows(log.path, "select * from mine") == [(tag, 3)]
    admin.roll_back(log, "x")
    run(log).end()
    assert rows(log.path, "select b from mine") == [("new",)]
    assert rows(log.path, "select sql from sqlite_schema where name = 'mine'")[0][0].endswith("from x group by b")


def test_a_trigger_elsewhere_that_writes_a_projections_table_writes_the_live_version(log: EventLog) -> None:
    hold(log, model("old"))
    put(log, 1)
    run(log).end()
    rows(log.path, "create table mine(a)")
    rows(log.path, "create trigger touch after insert on mine begin update x set b = new.a; end")
    rebuild(log)
    rows(log.path, "insert into mine values ('touched')")
    assert rows(log.path, "select b from x") == [("touched",)]
    assert rows(log.path, "select b from x__1") == [("old",)]


def test_a_trigger_that_a_user_made_on_a_projections_table_goes_with_its_version(log: EventLog) -> None:
    hold(log, model("old"))
    put(log, 1)
    run(log).end()
    rows(log.path, "create table heard(a)")
    rows(log.path, "create trigger hear after insert on x begin insert into heard values (new.a); end")
    put(log, 1)
    run(log).end()
    assert len(rows(log.path, "select * from heard")) == 1
    rebuild(log)
    assert rows(log.path, "select tbl_name from sqlite_schema where name = 'hear'") == [("x__1",)]
    assert len(rows(log.path, "select * from heard")) == 1


@pytest.mark.parametrize("name", ["x", "X"])
@pytest.mark.parametrize("kind", ["table {}(u)", "view {} as select 'mine' as u", "index {} on streams(last)"])
def test_what_a_user_has_by_the_name_of_a_table_is_refused_and_not_touched(log: EventLog, name: str, kind: str) -> None:
    statement = f"create {kind.format(name)}"
    if "index" in kind:
        column = rows(log.path, "select name from pragma_table_info('streams')")[-1][0]
        statement = statement.replace("last", str(column))
    rows(log.path, statement)
    before = rows(log.path, f"select sql from sqlite_schema where name = '{name}'")
    with pytest.raises(ConflictError) as refused:
        hold(log, model())
    assert refused.value.details["table"] == "x"
    assert rows(log.path, f"select sql from sqlite_schema where name = '{name}'") == before
    assert rows(log.path, "select count(*) from projections") == [(0,)]


@pytest.mark.parametrize("name", ["x__1", "x__2", "X__2", "x_b__2"])
def test_what_a_user_has_by_the_name_of_another_versions_table_is_not_touched(log: EventLog, name: str) -> None:
    hold(log, model())
    put(log, 2)
    run(log).end()
    rows(log.path, f'create table "{name}"(u)')
    rows(log.path, f"insert into \"{name}\" values ('mine')")
    for _ in range(2):
        with suppress(ConflictError):  # another number may be free
            rebuild(log)
    assert rows(log.path, f'select * from "{name}"') == [("mine",)]
    assert rows(log.path, "select count(*) from x") == [(2,)]
    put(log, 1)
    with suppress(ConflictError):
        run(log).end()
    assert rows(log.path, "select count(*) from x") == [(3,)]


def test_indexes_of_two_versions_have_names_of_their_own(log: EventLog) -> None:
    more = (
        'indexes = ["create unique index \\"i j\\" on x(b, a)", "create index [k{}] on x(b)", "create index é on x(a)"]'
    )
    text = model().replace('indexes = ["create index x_b on x(b)"]', more)
    hold(log, text)
    put(log, 2)
    run(log).end()
    rebuild(log)
    sql = "select name, tbl_name from sqlite_schema where type = 'index' and tbl_name glob 'x*' order by name"
    assert rows(log.path, sql) == [
        ("i j__1", "x__1"), ("i j__2", "x"), ("k{}__1", "x__1"), ("k{}__2", "x"), ("é__1", "x__1"), ("é__2", "x")
    ]  # fmt: skip


def test_an_index_may_have_a_name_that_no_word_character_begins(log: EventLog) -> None:
    hold(log, model().replace("create index x_b", "create index 📈"))
    put(log, 2)
    run(log).end()
    rebuild(log)
    assert rows(log.path, "select count(*) from x") == [(2,)]


@pytest.mark.parametrize("name", ["a b", "a.b", "it's", "📈", "select", "main", "temp", "y" * 300])
def test_a_table_of_any_name_is_fed_rebuilt_and_built_as_of_a_point(log: EventLog, name: str) -> None:
    quoted = f'\\"{name}\\"'
    hold(
        log,
        f"""
[projection."{name}"]
table = "create table {quoted}(a, b)"
[projection."{name}".on]
A = "insert into {quoted}(a) values (new.position)"
""",
    )
    put(log, 3)
    run(log).end()
    rebuild(log, name)
    put(log, 1)
    run(log).end()
    held = log.definitions.model.projections[name]
    assert [row[0] for row in reading.rows(log, held, RowFilter(), built=False).rows] == [2, 3, 4, 5]
    for _ in reading.at(log, held, Query(until=3)):
        pass
    assert [row[0] for row in reading.rows(log, held, RowFilter(), built=True).rows] == [2, 3]
    admin.drop(log, name)


def test_a_table_may_have_a_column_that_is_called_rowid(log: EventLog) -> None:
    text = model().replace("x(a integer primary key, b)", "x(rowid, b)")
    hold(log, text)
    put(log, 3)
    run(log).end()
    held = log.definitions.model.projections["x"]
    for _ in reading.at(log, held, Query(until=4)):
        pass
    assert reading.rows(log, held, RowFilter(), built=True).rows == [(2, "old"), (3, "old"), (4, "old")]


# What is built as of a point


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def built(path: Path, until: int) -> list[Any]:
    with EventLog(path) as log:
        held = log.definitions.model.projections["x"]
        for _ in reading.at(log, held, Query(until=until)):
            pass
        return [row[0] for row in reading.rows(log, held, RowFilter(), built=True).rows]


def cells(path: Path, since: int, until: int) -> list[tuple[str, Any]]:
    with EventLog(path) as log:
        held = log.definitions.model.projections["x"]
        found = differences.between(log, held, Query(until=since), Query(until=until))
        return [(cell.change, cell.key["a"]) for cell in found if isinstance(cell, differences.Cell)]


@pytest.fixture
def kept(log_path: Path) -> Path:
    """A log whose projection holds 4 events of 6."""
    with EventLog(log_path, write=True) as log:
        hold(log, model())
        put(log, 4)
        run(log).end()
        put(log, 2)
    with closing(apsw.Connection(str(log_path))) as connection:
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    return log_path


@pytest.mark.parametrize("until", [1, 3, 5, 7])
def test_what_is_built_as_of_a_point_leaves_the_file_as_it_was(kept: Path, until: int) -> None:
    before = digest(kept)
    assert built(kept, until) == list(range(2, until + 1))
    assert cells(kept, 3, until) == [("added", n) for n in range(4, until + 1)] + [
        ("gone", n) for n in range(until + 1, 4) if n > 1
    ]
    assert digest(kept) == before
    assert rows(kept, "select count(*) from x") == [(4,)]


def test_a_read_only_log_is_shown_as_of_a_point(kept: Path) -> None:
    folder = kept.parent
    before = digest(kept)
    kept.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert built(kept, 3) == [2, 3]
        assert built(kept, 7) == [2, 3, 4, 5, 6, 7]
        assert cells(kept, 3, 4) == [("added", 4)]
        assert sorted(path.name for path in folder.iterdir()) == ["log.db"]
    finally:
        folder.chmod(0o700)
        kept.chmod(0o600)
    assert digest(kept) == before


def test_what_was_checked_leaves_the_file_as_it_was(kept: Path) -> None:
    before = digest(kept)
    with EventLog(kept) as log:
        assert [cell for cell in differences.checked(log, "x") if isinstance(cell, differences.Cell)] == []
    assert digest(kept) == before
    rows(kept, "update x set b = 'changed' where a = 3")
    with EventLog(kept) as log:
        found = [cell for cell in differences.checked(log, "x") if isinstance(cell, differences.Cell)]
    assert [(cell.change, cell.column, cell.before, cell.after) for cell in found] == [
        ("changed", "b", "changed", "old")
    ]


def test_nothing_temporary_is_seen_by_others(kept: Path) -> None:
    names = named(kept, "*")
    with EventLog(kept) as log:
        held = log.definitions.model.projections["x"]
        for _ in reading.at(log, held, Query(until=3)):
            pass
        assert rows(kept, "select count(*) from x") == [(4,)]
        assert named(kept, "*") == names
    assert [n for n in names if n.startswith("x")] == ["x", "x_b__1"]
    assert set(migrations.schema()) <= set(names)


# Versions


def test_versions_are_numbered_once_for_all_projections(log: EventLog) -> None:
    hold(log, model() + model(name="y"))
    put(log, 1)
    run(log).end()
    rebuild(log, "y")
    rebuild(log, "x")
    found = {(v.name, v.state): v.version for v in log.store.projections().versions()}
    assert len(set(found.values())) == 4
    assert named(log.path, "[xy]__*") == sorted(f"{name}__{found[name, 'previous']}" for name in "xy")


def test_lost_tables_are_named_and_counted_as_empty(log: EventLog) -> None:
    hold(log, model())
    put(log, 2)
    run(log).end()
    (version,) = log.store.projections().versions()
    assert log.store.projections().missing_tables(version) == []
    assert log.store.projections().count(version) == 2
    assert log.store.projections().size(version) > 0
    rows(log.path, "drop table x")
    assert log.store.projections().missing_tables(version) == ["x"]
    assert log.store.projections().count(version) == 0
    assert log.store.projections().size(version) == 0


def test_a_version_without_handlers_gets_no_event(log_path: Path) -> None:
    """None is stored by a model, but a file may have one."""
    with EventLog(log_path, write=True) as log:
        hold(
            log,
            "[projection.counts]\ninline = true\ntable = 'create table counts(n)'\n"
            "[projection.counts.on]\nT = 'insert into counts values (1)'\n",
        )
    alter(
        log_path,
        "insert into projections values (9, 'p', 'live', 1, 1, 0, '', null, 0, '', null, null, null, null, '{}')",
    )
    with open_log(log_path, write=True) as log:
        assert log.append("s", "T", {}).position == 2
