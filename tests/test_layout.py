"""How the modules stand to each other: imports, what is heavy, who alone prints; and where the tests of each are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import esctl

ROOT = Path(esctl.__file__).parent

# The rooms, from the lowest floor to the highest. Imports point downwards only: a room knows those on lower floors, and
# none on its own. Why each stands where it does:
FLOORS: list[tuple[set[str], str]] = [
    ({"esctl", "esctl.help"}, "the version and the pages of help are text"),
    ({"esctl.errors"}, "whatever fails, fails with one of these"),
    ({"esctl.events"}, "what an event is needs no SQL"),
    ({"esctl.sql"}, "what SQL may do, and what a time means in it, needs no model and no file"),
    ({"esctl.model", "esctl.output"}, "a model is judged before there is a log; what is printed does not ask for more"),
    ({"esctl.store"}, "the file runs what a model compiled, and knows of no rule and no command"),
    ({"esctl.log"}, "joins store, archive and upcasts; everything above asks it"),
    ({"esctl.states", "esctl.archive", "esctl.points"}, "each reads a log in its own way, and none needs the others"),
    ({"esctl.projections"}, "read models are declared, fed and compared with a log and its folds"),
    ({"esctl.append", "esctl.upkeep"}, "what changes a log keeps states, archive and projections right"),
    (
        {"esctl.evolution", "esctl.reactions"},
        "a new model is tried on all that the log holds; what handlers answer is appended like all else",
    ),
    ({"esctl.api"}, "the log from Python: thin, above all that does the work"),
    ({"esctl.cli"}, "the log from the shell: thin as well; nothing knows of it"),
    ({"esctl.__main__"}, "starts the command line"),
]
# What only the modules named may import at all.
HOMES = {
    "typer": {"esctl.cli.signatures", "esctl.cli.options", "esctl.cli.typer_app", "esctl.cli.declare"},
    "click": set[str](),
    "rich": {"esctl.output.tables", "esctl.output.progress"},
    "sqlite_utils": {"esctl.store.migrations"},
    "sqlite3": {"esctl.store.migrations"},
    "apsw": {"esctl.store.*", "esctl.model.projections", "esctl.sql.*"},
    "tomllib": {"esctl.model.toml"},
    "zstandard": {"esctl.store.segments", "esctl.append.unpacking"},
    "jsonschema_rs": {"esctl.model.json_schemas"},
}
# The tests of esctl/<room>/<module>.py are tests/<room>/test_<module>.py. Modules that have none, and why; a package's
# `__init__` has none either, since it names things and does nothing.
UNTESTED = {
    "esctl.__main__": "two lines, tried as a process in tests/cli/test_main.py",
    "esctl.cli.table": "generated from what tests/cli/test_generate.py compares it with",
    "esctl.model.program": "a tuple and nothing else; tests/model/test_operations.py makes and runs it",
}


def name_of(path: Path) -> str:
    return ".".join(("esctl", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


FILES = [path for path in sorted(ROOT.rglob("*.py")) if "sample_data" not in path.parts]  # of a wheel: data
MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def is_one_of(module: str, patterns: set[str]) -> bool:
    return any(module == p or (p.endswith(".*") and f"{module}.".startswith(p[:-1])) for p in patterns)


def room(module: str) -> str:
    """The room of a module: its package below esctl, or the module itself where it lies in none."""
    return ".".join(module.split(".")[:2])


def floor(module: str) -> int | None:
    return next((number for number, (rooms, _) in enumerate(FLOORS) if room(module) in rooms), None)


def imported(statement: ast.AST) -> Iterator[str]:
    """The full names of the modules that a statement imports; of esctl's packages the module within."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        assert statement.level == 0, "imports are absolute"
        assert statement.module is not None
        for alias in statement.names:
            within = f"{statement.module}.{alias.name}"
            yield within if within in MODULES else statement.module


def imports(module: str) -> list[str]:
    """Everything that a module imports, wherever the statement stands."""
    return [name for node in ast.walk(MODULES[module]) for name in imported(node)]


def imports_at_once(module: str) -> list[str]:
    """What a module imports when it is imported itself: not within functions, nor for the type checker."""
    found: list[str] = []
    waiting: list[ast.AST] = [MODULES[module]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        found += imported(node)
        waiting += ast.iter_child_nodes(node)
    return found


@cache
def imports_at_run_time(module: str) -> list[str]:
    """What a module ever imports, but for what is for the type checker only."""
    checked = {
        id(inner)
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.body
        for inner in ast.walk(child)
    }
    return [name for node in ast.walk(MODULES[module]) if id(node) not in checked for name in imported(node)]


def test_the_modules_are_found() -> None:
    assert {"esctl", "esctl.events.event", "esctl.cli.main", "esctl.store.store"} <= set(MODULES)
    assert "esctl.errors" in imports_at_once("esctl.events.event")
    assert "esctl.cli.wrong" in imports("esctl.cli.main")
    assert "esctl.cli.wrong" not in imports_at_once("esctl.cli.main")
    assert "typing" in imports("esctl.log")
    assert "typing" not in imports_at_once("esctl.log")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_floor(module: str) -> None:
    assert floor(module) is not None, f"give {module} a place in FLOORS"


def test_the_package_itself_loads_nothing_but_its_api_and_that_when_asked() -> None:
    assert imports_at_once("esctl") == []
    assert set(imports("esctl")) <= {"esctl.api"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"esctl"}))
def test_imports_point_downwards(module: str) -> None:
    own = floor(module)
    assert own is not None
    for other in imports(module):
        if other.partition(".")[0] == "esctl" and room(other) != room(module):
            below = floor(other)
            assert below is not None
            assert below < own, f"{module} imports {other}: {FLOORS[own][1]}"


def test_no_imports_go_in_a_circle() -> None:
    graph = {module: {name for name in imports_at_run_time(module) if name in MODULES} for module in MODULES}
    del graph["esctl"]  # its api, when that is asked for
    assert list(TopologicalSorter(graph).static_order())


def test_there_are_no_more_rooms_than_a_stranger_keeps_in_mind() -> None:
    rooms = {room(module) for module in MODULES}
    assert rooms == set.union(*(names for names, _ in FLOORS))
    assert len(rooms) <= 22


@pytest.mark.parametrize("heavy", HOMES)
def test_what_is_heavy_has_one_home(heavy: str) -> None:
    users = {module for module in MODULES if heavy in {name.partition(".")[0] for name in imports_at_run_time(module)}}
    assert {module for module in users if not is_one_of(module, HOMES[heavy])} == set()


@pytest.mark.parametrize(
    "module", sorted(name for name in MODULES if room(name) == "esctl.store" and name != "esctl.store.segments")
)
def test_the_store_does_without_msgspec(module: str) -> None:
    assert "msgspec" not in {name.partition(".")[0] for name in imports(module)}


def prints(node: ast.AST) -> bool:
    """Whether a node is one by which something could be printed."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "print"
    if not isinstance(node, ast.Attribute):
        return False
    inner = node.value
    if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "sys":
        stream = inner.attr.strip("_")
        return stream in ("stdout", "stderr") and node.attr not in ("isatty", "flush")
    return isinstance(inner, ast.Name) and (inner.id, node.attr) in {
        ("typer", "echo"),
        ("typer", "secho"),
        ("os", "write"),
    }


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"esctl.output.console"}))
def test_nobody_but_the_console_prints(module: str) -> None:
    assert [node.lineno for node in ast.walk(MODULES[module]) if prints(node)] == []  # type: ignore[attr-defined]


def test_the_console_is_seen_to_print() -> None:
    assert any(map(prints, ast.walk(MODULES["esctl.output.console"])))
    assert any(map(prints, ast.walk(ast.parse("print(1)"))))
    assert any(map(prints, ast.walk(ast.parse("sys.stderr.write('')"))))
    assert not any(map(prints, ast.walk(ast.parse("sys.stdout.isatty(); sys.stderr.flush(); sys.stdin.buffer.read()"))))


# Only the store knows its tables. Whoever stands above it asks its classes; what a user writes comes to it as it is.
STATEMENT = re.compile(
    r"\bselect\s.*\bfrom\b|\binsert\s+(or\s+\w+\s+)?into\b|\bdelete\s+from\b|\bupdate\s+\S+\s+set\b"
    r"|\b(create|drop|alter)\s+(temp\s+|unique\s+|virtual\s+)*(table|index|view|trigger)\b|\bpragma\s|(?-i:\besctl_[a-z])",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
WRITTEN_BY_USERS = {"esctl.cli.commands.query": "examples of questions"}
ABOVE_THE_STORE = sorted(name for name in MODULES if (floor(name) or 0) > (floor("esctl.store") or 0))


def strings(module: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and text of every string but docstrings; what an f-string is filled with is `…`."""
    skipped: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(value) for value in node.values}
            yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


@pytest.mark.parametrize("module", sorted(set(ABOVE_THE_STORE) - set(WRITTEN_BY_USERS)))
def test_no_statement_stands_above_the_store(module: str) -> None:
    assert [found for found in strings(MODULES[module]) if STATEMENT.search(found[1])] == []


@pytest.mark.parametrize("module", WRITTEN_BY_USERS)
def test_what_users_write_is_excepted_only_where_there_is_some(module: str) -> None:
    assert any(STATEMENT.search(text) for _, text in strings(MODULES[module]))


@pytest.mark.parametrize(
    "code",
    [
        "run('select count(*) from events')",
        "run(f'select * from {table} where {where}')",
        "run(f'{numbered} union select a\\nfrom b')",
        "run(f'insert or replace into {table} values (1)')",
        "run('DELETE FROM t')",
        "run(f'update {table} set a = 1')",
        "run('create temp table t(a)')",
        "run('drop index x')",
        "run('pragma foreign_keys = on')",
        "BEFORE = 'esctl_before_'",
    ],
)
def test_a_statement_is_seen(code: str) -> None:
    assert [bool(STATEMENT.search(text)) for _, text in strings(ast.parse(code))] == [True]


@pytest.mark.parametrize(
    "code", ["'select 1 from t'", "def f():\n    'Drop tables.'", "say('selected from here', 'drop it')"]
)
def test_prose_is_no_statement(code: str) -> None:
    assert not any(STATEMENT.search(text) for _, text in strings(ast.parse(code)))


TESTS = Path(__file__).parent
PACKAGES = {name_of(path) for path in FILES if path.name == "__init__.py"}
IN_ROOMS = [path for path in sorted(TESTS.rglob("test_*.py")) if path.parent != TESTS]


def home(module: str) -> Path:
    """Where the tests of a module have to be."""
    _, *rooms, name = module.split(".")
    return TESTS.joinpath(*rooms, f"test_{name}.py")


@pytest.mark.parametrize("module", sorted(set(MODULES) - PACKAGES))
def test_a_module_has_its_tests_in_the_file_of_its_name(module: str) -> None:
    assert home(module).exists() != (module in UNTESTED), f"{module}: {home(module)}"


@pytest.mark.parametrize("package", sorted(PACKAGES - {"esctl"}))
def test_a_package_names_things_and_does_nothing(package: str) -> None:
    assert {type(node) for node in MODULES[package].body} <= {ast.Expr, ast.Assign}


@pytest.mark.parametrize("path", IN_ROOMS, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_file_of_tests_in_a_room_has_the_name_of_a_module(path: Path) -> None:
    assert path in {home(module) for module in set(MODULES) - PACKAGES}, (
        "what concerns several rooms stands at the top of tests/"
    )


def test_who_needs_no_tests_is_there() -> None:
    assert set(UNTESTED) <= set(MODULES)


def test_no_file_of_tests_is_without_a_word_on_what_it_holds() -> None:
    assert [path for path in TESTS.rglob("*.py") if ast.get_docstring(ast.parse(path.read_text("utf-8"))) is None] == []


# Values with named fields: a place in one of them says nothing to who reads it.
NAMED = {"event", "receipt", "head", "sealed", "original"}


def by_number(module: ast.Module) -> list[str]:
    """Where a named value is read by the number of a field."""
    return [
        ast.unparse(node)
        for node in ast.walk(module)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, int)
        and re.split(r"\W", ast.unparse(node.value).removesuffix("()"))[-1] in NAMED
    ]


@pytest.mark.parametrize("module", MODULES)
def test_events_receipts_and_heads_are_read_by_name(module: str) -> None:
    assert by_number(MODULES[module]) == []


def test_reading_by_number_is_seen() -> None:
    assert by_number(ast.parse("event[4]; log.head()[0]; receipts[0]; self.head[1]; event[:8]")) == [
        "event[4]", "log.head()[0]", "self.head[1]"
    ]  # fmt: skip


# Sizes: what is larger has more than one concern, or says one of them twice.
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 450, 60


def test_no_module_has_more_than_450_lines() -> None:
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("module", MODULES)
def test_no_function_has_more_than_60_lines(module: str) -> None:
    functions = [node for node in ast.walk(MODULES[module]) if isinstance(node, ast.FunctionDef)]
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}
