"""What a projection's SQL may do: nothing but keep its own tables, judged without a trace, whatever is tried."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from esctl.events.query import Shape
from esctl.model.declared import Projection
from esctl.model.projections import ProjectionJudge, body, compiled, mark, seen
from esctl.store import migrations

TABLE = "create table x(a primary key, b)"
OTHER = Projection("other", {"other": "create table other(c)"}, (), False, {}, {})


def projection(
    on: Mapping[str, str] | None = None,
    tables: Mapping[str, str] | None = None,
    indexes: tuple[str, ...] = (),
    *,
    inline: bool = False,
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> Projection:
    return Projection("x", tables or {"x": TABLE}, indexes, inline, columns or {}, on or {})


@pytest.fixture
def judge() -> Iterator[ProjectionJudge]:
    """A judge that has seen another projection of the model, whose table is `other`."""
    judge = ProjectionJudge()
    assert list(judge.problems(OTHER)) == []
    yield judge
    judge.close()


def found(judge: ProjectionJudge, judged: Projection) -> list[tuple[str, str]]:
    return [(key, why) for key, why, _ in judge.problems(judged)]


# Handlers


@pytest.mark.parametrize(
    "handler",
    [
        "insert into x values (new.position, new.data ->> 'amount')",
        "insert into x values (1, new.time) on conflict(a) do update set b = excluded.b",
        "update x set b = b + 1 where a = new.stream; delete from x where b > 3;",
        "insert into x select new.position, value from json_each(new.data)",
        "insert or replace into x select new.position, count(*) from (select 1 union select 2)",
        "insert into x with recursive c(n) as (select 1 union all select n + 1 from c where n < 9) select n, 1 from c",
        "insert into x select a || '.', row_number() over (order by a) from x",
        "insert into x values (date(new.time), strftime('%Y', new.time))",
        "select 1",
        "UPDATE X SET B = 'now'; -- said",
    ],
)
def test_a_handler_may_read_and_write_its_own_tables(judge: ProjectionJudge, handler: str) -> None:
    assert found(judge, projection({"T": handler})) == []


@pytest.mark.parametrize(
    ("handler", "named"),
    [
        ("delete from events", "events"),
        ("update head set position = 0", "head"),
        ("insert into x select 1, data from events", "events"),
        ("insert into x select 1, c from other", "read the table other"),
        ("insert into other values (1)", "insert into other"),
        ("update other set c = 1", "update other"),
        ("delete from other", "delete from other"),
        ("insert into x select 1, count(*) from other", "other"),
        ("insert into x select 1, 1 where exists (select 1 from other)", "other"),
        ("insert into x select 1, (select count(*) from main.other)", "other"),
        ("insert into x select 1, sql from sqlite_master", "read the table sqlite_master"),
        ("insert into x select 1, count(*) from sqlite_schema", "sqlite_schema|sqlite_master"),
        ("insert into x select 1, name from pragma_table_list", "read the table pragma_table_list"),
        ("insert into x select 1, count(*) from pragma_table_info('x')", "read the table pragma_table_info"),
        ("insert into x select 1, count(*) from dbstat", "dbstat"),
        ("insert into x values (random(), 1)", r"call random\(\)"),
        ('insert into x values ("random"(/* so */), 1)', r"call random\(\)"),
        ("insert into x values ([random](), 1)", r"call random\(\)"),
        ("insert into x values (1, randomblob(4))", r"call randomblob\(\)"),
        ("insert into x values (1, current_timestamp)", r"call current_timestamp\(\)"),
        ("insert into x values (1, CURRENT_DATE)", r"call current_date\(\)"),
        ("insert into x select a, b from x order by random()", r"call random\(\)"),
        ("insert into x values (1, datetime('now'))", "reads the clock"),
        ("insert into x values (1, date())", "reads the clock"),
        ("insert into x values (1, `time`/**/('NOW'))", "reads the clock"),
        ("insert into x values (1, strftime('%s'))", "reads the clock"),
        ("insert into x values (1, datetime(new.time, 'localtime'))", "reads the clock"),
        ("insert into x values (1, last_insert_rowid())", r"call last_insert_rowid\(\)"),
        ("insert into x values (1, changes())", r"call changes\(\)"),
        ("insert into x values (1, load_extension('e'))", r"call load_extension\(\)"),
        ("insert into x values (1, zeroblob(1000000000))", r"call zeroblob\(\)"),
        ("insert into x values (1, fts3_tokenizer('simple'))", r"call fts3_tokenizer\(\)"),
        ("insert into x values (1, writefile('f', 'x'))", "writefile"),
        ("insert into x values (1, readfile('f'))", "readfile"),
        ("insert into x values (1, edit('f'))", "edit"),
        ("insert into x values (1, raise(rollback, 'x'))", r"raise\(\)"),
        ("insert into x values (1, raise/**/(rollback, 'x'))", r"raise\(\)"),
        ("insert into x values (1, raise -- so\n (ignore))", r"raise\(\)"),
        ("attach 'f' as y", "attach"),
        ("pragma user_version = 3", "pragma"),
        ("drop table x", "drop"),
        ("create table y(a)", "create"),
        ("alter table x add column c", "alter"),
        ("vacuum", "vacuum"),
        ("insert into main.x values (1, 1)", "qualified"),
        ("insert into x select 1, count(*) from temp.x", "temp"),
        ("insert into x values (new.nothing, 1)", "nothing"),
        ("insert into x values (1, 1) returning a", "RETURNING"),
        ("", "syntax|empty"),
        ("-- nothing", "syntax|empty"),
        ("update x set a = 1 /*", "incomplete|closed"),
        ("update x set a = '", "unrecognized|closed"),
        ('update x set a = "', "unrecognized|closed"),
        ("update x set a = 1\0", "NUL"),
        ("update x set a = '\ud800'", "UTF-8"),
    ],
)
def test_a_handler_that_tries_anything_else_is_refused_and_it_is_named(
    judge: ProjectionJudge, handler: str, named: str
) -> None:
    problems = found(judge, projection({"T": handler}))
    assert [key for key, _ in problems] == ["on.T"]
    assert re.search(named, problems[0][1]), problems


@pytest.mark.parametrize("handler", ["insert or rollback into x values (1, 1)", "update or rollback x set a = 1"])
def test_a_handler_may_not_end_the_transaction_that_it_runs_in(judge: ProjectionJudge, handler: str) -> None:
    assert [key for key, _ in found(judge, projection({"T": handler}))] == ["on.T"]


def test_a_table_may_not_end_the_transaction_that_its_handlers_run_in(judge: ProjectionJudge) -> None:
    assert found(judge, projection(tables={"x": "create table x(a primary key on conflict rollback)"})) != []


def test_a_handler_does_not_say_which_database_its_tables_are_in(judge: ProjectionJudge) -> None:
    """Built as of a point, they are not in the file: `main.x` would be what is live."""
    assert found(judge, projection({"T": "insert into x select max(a) + 1, 1 from main.x"})) != []


INJECTED = (
    "attach '{0}' as y",
    "vacuum into '{0}'",
    "create table y(a)",
    "create trigger t after insert on x begin select 1; end",
    "drop table x",
    "pragma writable_schema = on",
    "select 1",
    "delete from x",
)


@pytest.mark.parametrize("end", ["; begin", "; begin immediate", "", "; create trigger judged2 begin select 1", "; /*"])
@pytest.mark.parametrize("injected", INJECTED)
def test_what_follows_the_end_of_a_handler_is_refused_and_does_nothing(
    judge: ProjectionJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, injected: str, end: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert judge.table("x", TABLE) == ""
    for file in ("y.db", "sqlite_y.db", f"sqlite_/../..{tmp_path}/z.db", "sqlite_temp_master", "sqlite_master"):
        assert judge.handler(f"update x set b = 1; end; {injected.format(file)}{end}", {"x"})
    assert list(tmp_path.iterdir()) == []
    assert judge.handler("update x set b = 1", {"x"}) == ""


# Tables and indexes


@pytest.mark.parametrize(
    "table",
    ["create table x(a, b as (decimal_add(a, 1)))", "create table x(a, b check (decimal_cmp(a, 1) > 0))"],
)
def test_a_table_needs_no_function_that_other_programs_lack(judge: ProjectionJudge, table: str) -> None:
    ((key, why),) = found(judge, projection(tables={"x": table}))
    assert key == "table"
    assert "other programs" in why


def test_a_handler_adds_exactly(judge: ProjectionJudge) -> None:
    assert found(judge, projection({"T": "update x set a = decimal_add(a, new.data -> 'n')"})) == []


@pytest.mark.parametrize(
    "table",
    [
        "create table x(a)",
        "create table if not exists x(a)",
        "CREATE TABLE [x] (a integer primary key, b text default 'now', c real default 1.5, d any default (1)) strict",
        "create table main.x(a, b as (a || 'x') stored, check (a > 0))",
        "create table x(a primary key, b references x) without rowid -- said",
        "create table x(a default (json('{}')), unique (a collate nocase))",
    ],
)
def test_a_table_may_be_any_table(judge: ProjectionJudge, table: str) -> None:
    assert found(judge, projection(tables={"x": table})) == []


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("create table x(a default (random()))", r"random\(\)"),
        ("create table x(a default current_timestamp)", "current_timestamp"),
        ("create table x(a default (current_date))", "current_date"),
        ("create table x(a default /* so */ current_time)", "current_time"),
        ('create table x(a default "current_timestamp")', "default"),
        ("create table x(a default (datetime('now')))", "clock"),
        ("create table x(a default (datetime('n' || 'ow')))", "clock|default"),
        ("create table x(a default (/**/unixepoch(x'6e6f77')))", "clock|default"),
        ("create table x(a check (random() > 0))", r"random\(\)"),
        ("create table x(a check (a < current_timestamp))", "current_timestamp"),
        ("create table x(a, b as (random()))", r"random\(\)"),
        ("create table x(a, b as (current_timestamp) stored)", "current_timestamp"),
        ("create table x(a, b as (load_extension('e')))", r"load_extension\(\)"),
        ("create table x as select 1 as a", "x"),
        ("create temp table x(a)", "sqlite_temp_master|temp"),
        ("create table temp.x(a)", "sqlite_temp_master|temp"),
        ("create virtual table x using fts5(a)", "virtual table x"),
        ("create virtual table x using rtree(i, a, b)", "virtual table x"),
        ("create view x as select 1", "view x"),
        ("create table x(a); attach 'f' as z", "attach"),
        ("create table x(a); vacuum into 'f'", "attach|vacuum"),
        ("create table x(a); pragma user_version = 3", "pragma"),
        ("create table x(a); create trigger t after insert on x begin delete from x; end", "trigger"),
        ("create table x(a); create view v as select * from x", "view v"),
        ("create table x(a); create table y(a)", "table y"),
        ("create table x(a); insert into x values (1)", "insert into x"),
        ("create table x(a); drop table other", "sqlite_master|drop"),
        ("create table x(a); alter table other rename to y", "ALTER"),
        ("create table x(a); create index i on other(c)", "index on other"),
        ("create table x(a); delete from other", "delete from other"),
        ("create table x(a); commit", "TRANSACTION"),
        ("create table x(a); analyze", "sqlite_stat1|ANALYZE"),
        ("create table x(a references events)", "events"),
        ("create table x(a references EVENTS on delete cascade)", "EVENTS"),
        ("create table x(a references other on update cascade)", "other"),
        ("create table x(i integer primary key autoincrement)", "sqlite_sequence"),
        ("create table X(a)", "X"),
        ("create table y(a)", "y"),
        ("select 1", "does not create the table x"),
        ("", "does not create the table x"),
        ("create table x(a /*", "syntax|incomplete|closed"),
        ("create table x('a", "unrecognized|closed"),
        ("create table x(a)\0", "NUL"),
    ],
)
def test_a_table_that_is_more_than_a_table_is_refused_and_it_is_named(
    judge: ProjectionJudge, table: str, named: str
) -> None:
    key, why = found(judge, projection(tables={"x": table}))[0]
    assert key == "table"
    assert re.search(named, why), why


def test_a_log_never_has_a_table_that_a_projection_may_have(judge: ProjectionJudge) -> None:
    own = [name for name, (kind, *_) in migrations.schema().items() if kind in ("table", "view")]
    assert "_sqlite_migrations" in own
    assert [name for name in own if not judge.table(name, f'create table "{name}"(a)')] == []


@pytest.mark.parametrize(
    "name",
    [
        "events", "EVENTS", "Log", "states", "new", "sqlite_x", "SQLITE_SEQUENCE", "pragma_x", "Esctl_x", "esctl_run_1",
        "json_each", "JSON_TREE", "fts5", "dbstat", "x__1", "y__0", "_sqlite_migrations"
    ],
)  # fmt: skip
def test_a_name_that_is_taken_is_refused_however_it_is_written(judge: ProjectionJudge, name: str) -> None:
    for written in (name, f'"{name}"', f"[{name}]", f"`{name}`"):
        assert "name" in judge.table(name, f"create table {written}(a)")


@pytest.mark.parametrize("name", ["events", "Esctl_i", "json_each", "sqlite_i", "_sqlite_migrations"])
def test_an_index_has_no_name_that_is_taken(judge: ProjectionJudge, name: str) -> None:
    assert [key for key, _ in found(judge, projection(indexes=(f'create index "{name}" on x(b)',)))] == ["indexes[1]"]


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ("create index i on other(c)", "index on other"),
        ("create index other on x(b)", "other"),
        ("create index i on x(random())", "random"),
        ("create index i on x(b) where random() > 0", "random"),
        ("create index i on x(b); drop table x", "sqlite_master|drop"),
        ("create index i on x(b); attach 'f' as y", "attach"),
        ("create table y(a)", "table y"),
    ],
)
def test_an_index_that_is_more_than_an_index_of_its_own_table_is_refused(
    judge: ProjectionJudge, index: str, named: str
) -> None:
    key, why = found(judge, projection(indexes=(index,)))[0]
    assert key == "indexes[1]"
    assert re.search(named, why), why


def test_a_table_of_another_projection_is_refused(judge: ProjectionJudge) -> None:
    for name in ("other", "OTHER", '"other"'):
        for statement in ("create table {}(c)", "create table if not exists {}(c)"):
            assert judge.table(name.strip('"'), statement.format(name)), (name, statement)


def test_tables_of_one_projection_differ_in_more_than_case(judge: ProjectionJudge) -> None:
    assert found(judge, projection(tables={"x": "create table x(a)", "X": "create table X(a)"})) != []


@pytest.mark.parametrize("name", ['a"b', "a.b", "a b", "📈", "select", "main", "temp", "x" * 500, "it's", "[b]", "{c}"])
def test_a_table_may_have_any_other_name(judge: ProjectionJudge, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    odd = Projection(
        name,
        {name: f"create table {quoted}(a, {quoted})"},
        (f'create index {quoted[:-1]}_i" on {quoted}(a)',),
        False,
        {},
        {"T": f"insert into {quoted} values (new.position, 1)"},
    )
    assert found(judge, odd) == []
    made = compiled(odd, {})
    assert list(made.tables) == [name]
    assert all("{name}" in statement for statement in made.indexes.values())


@pytest.mark.parametrize(
    "index", ["i", '"i j"', "[i j]", "`i j`", "'i j'", '"a""b"', '"{i}"', "é", "📈", "i$", "main.i", '"on"']
)
def test_an_index_gives_its_name_up_to_be_another_versions(index: str) -> None:
    made = compiled(projection(indexes=(f"create index if not exists {index} on x(b) where b <> '{{}}'",)), {})
    ((name, statement),) = made.indexes.items()
    assert statement.format(name='"other"') == 'CREATE INDEX "other" on "x"(b) where b <> \'{}\''
    assert name.strip("\"[]`'").startswith(tuple(index.strip("\"[]`'").removeprefix("main.")[:1]))


# What judging costs, and what it leaves behind

_JUDGE = """
import sys
from esctl.model.projections import ProjectionJudge, compiled
from esctl.model.declared import Projection
table, handler = (eval(text) for text in sys.argv[1:])
projection = Projection("x", {"x": table}, (), False, {}, {"T": handler})
judge = ProjectionJudge()
problems = list(judge.problems(projection))
judge.close()
if not problems:
    compiled(projection, {})
print("refused" if problems else "taken", problems)
"""
ROWS = ",".join(["(1)"] * 300)


def judged(table: str, handler: str, *, seconds: float = 4) -> str:
    """What a judge in a process of its own says; both are Python expressions, since they may be long."""
    done = subprocess.run(
        [sys.executable, "-c", _JUDGE, table, handler], capture_output=True, text=True, timeout=seconds, check=True
    )
    return done.stdout.partition(" ")[0]


@pytest.mark.parametrize(
    "table",
    [
        "create table x(a); select count(*) from {}",
        "create table x as select count(*) as a from {}",
    ],
    ids=["second statement", "as select"],
)
def test_a_table_that_would_take_for_ever_to_make_is_refused_at_once(table: str) -> None:
    joined = ",".join(f"(values {ROWS}) t{n}" for n in range(8))
    assert judged(repr(table.format(joined)), "'select 1'") == "refused"


@pytest.mark.parametrize(
    "handler",
    [
        "\"insert into x values ('new\" + '/**/' * 60 + \"', 1)\"",
        "\"insert into x values ('date\" + '/**/' * 60 + \"', 1)\"",
        "'select 1 -- new' + '/**/' * 60",
        "'select 1 ' + '/*x ' * 30_000",
        "'select 1 ' + '[' * 30_000",
        "'select 1 ' + '(' * 30_000",
    ],
    ids=["new", "date", "comment", "comments", "brackets", "parentheses"],
)
def test_no_text_takes_long_to_judge(handler: str) -> None:
    assert judged(f"{TABLE!r}", handler) in ("refused", "taken")


def test_no_handler_crashes_the_judge() -> None:
    """In one process of its own: a crash of SQLite's would end it."""
    odd = (
        "'insert into x select 1, 1 from ' + '(select 1 from ' * 20_000 + 'x' + ')' * 20_000",
        "'insert into x select 1,' + '(select ' * 20_000 + '1' + ')' * 20_000",
        "'insert into x select 1,' + '(' * 100_000 + '1' + ')' * 100_000",
        "'insert into x select 1,' + 'not ' * 50_000 + '1'",
        "'insert into x values (1,' + 'case when 1 then ' * 20_000 + '1' + ' end' * 20_000 + ')'",
        "'insert into x select 1, 1' + ' union all select 1, 1' * 5_000",
        "'insert into x select 1, 1 where ' + 'exists(select 1 where ' * 20_000 + '1' + ')' * 20_000",
        "'insert into x values (1, 1);' * 2_000",
        "'insert into x select ' + ','.join(['1'] * 5_000)",
        "'insert into x select * from ' + ','.join(f'x x{n}' for n in range(100))",
        "'insert into x with a as (select 1)' + ''.join(f', c{n} as (select * from x, x y)' for n in range(9))",
        "'insert into x select sum(1) over w, 1 from x window w as (partition by (select 1 from x y where y.a = x.a))'",
        "'insert into x select 1, json_group_array(a order by b) filter (where a) over () from x'",
        "'update x set (a, b) = (select 1, 2 from x right join x y using (a))'",
        "'insert into x values ((1,2),(3,4))'",
        "'insert into x select new.*, 1'",
    )
    script = _JUDGE.replace("in sys.argv[1:])", "in (sys.argv[1], handler))").replace("\n", "\n    ")
    _, _, rest = script.partition("table, handler")
    loop = "import sys\nfrom esctl.model.declared import Projection\n"
    loop += "from esctl.model.projections import ProjectionJudge, compiled\n"
    loop += f"for handler in {odd!r}:\n    table, handler{rest}"
    done = subprocess.run(
        [sys.executable, "-c", loop, repr(TABLE)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert len(done.stdout.splitlines()) == len(odd)


# What is compiled


def test_a_handler_is_the_body_of_a_trigger() -> None:
    assert body("select 1;  \n") == "select 1\n;"


def test_columns_are_those_that_handlers_name() -> None:
    made = compiled(projection({"A": 'insert into x values (new.time, NEW."stream")', "*": "select new . meta"}), {})
    assert set(made.columns) == {"time", "stream", "meta"}


@pytest.mark.parametrize("operand", ["new.data ->> 'b'", "(NEW . data->>'b')", "1 = new.data ->> '$.b.c'"])
def test_a_field_that_a_handler_wants_is_given_as_a_column(operand: str) -> None:
    made = compiled(projection({"A": f"insert into x values (1, {operand})"}), {})
    assert "new.esctl_field_1" in made.on["A"]
    assert list(made.columns) == ["esctl_field_1"]


@pytest.mark.parametrize(
    "operand",
    [
        "'[' || new.data ->> 'b'",  # takes the text apart that begins with a bracket
        "- new.data ->> 'b'",
        "~new.data ->> 'b'",
        "new.meta -> new.data ->> 'b'",
        "new.data ->> 'b' collate nocase",
        "new.data ->> '$[0]'",
        "(select new.data ->> 'b' from (select '{}' as data) as new)",
    ],
)
def test_a_field_is_left_where_something_else_may_be_meant(operand: str) -> None:
    sql = f"insert into x select 1, {operand}"
    assert compiled(projection({"A": sql}), {}).on["A"] == body(sql)


def test_a_fingerprint_is_that_of_the_rows_and_not_of_how_they_are_shown() -> None:
    plain = projection({"A": "select 1"})
    shown = projection({"A": "select 1"}, inline=True, columns={"a": {"label": "A"}})
    assert mark(plain, {}) == mark(shown, {})
    others = (
        projection({"A": "select 2"}),
        projection({"B": "select 1"}),
        projection({"A": "select 1"}, tables={"x": "create table x(a, b)"}),
        projection({"A": "select 1"}, indexes=("create index i on x(b)",)),
    )
    assert len({mark(one, {}) for one in (plain, *others)}) == 5


def test_only_upcasts_that_a_handler_sees_change_its_fingerprint() -> None:
    upcasting = {
        "A": {1: (Shape("A", 2, "new.data", 0, None),)},
        "B": {1: (Shape("C", 1, "new.data", 0, None),)},
        "D": {1: (Shape("D", 2, "new.data", 0, None),)},
    }
    sees_some, sees_all = projection({"A": "select 1", "C": "select 1"}), projection({"*": "select 1"})
    assert set(seen(sees_some, upcasting)) == {"A", "B"}
    assert seen(sees_all, upcasting) == upcasting
    less = {type_: schemas for type_, schemas in upcasting.items() if type_ != "D"}
    assert mark(sees_some, less) == mark(sees_some, upcasting)
    assert mark(sees_all, less) != mark(sees_all, upcasting)
