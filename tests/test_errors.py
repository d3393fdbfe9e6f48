"""Exit codes, which scripts rely on, and the commands that errors name: each can be pasted as it stands."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import esctl
from esctl import api, errors
from esctl.errors import EsctlError, word
from tests import fixes

EXIT_CODES = {
    "EsctlError": (1, "failure"),
    "UsageError": (2, "usage"),
    "ArgumentError": (2, "argument"),
    "NotFoundError": (3, "not-found"),
    "ConflictError": (4, "conflict"),
    "RefusedError": (5, "refused"),
    "VerificationError": (6, "verification"),
    "MisfitError": (6, "misfit"),
    "StorageVersionError": (7, "storage-version"),
    "UnavailableError": (8, "unavailable"),
    "SegmentError": (8, "segment"),
    "HandlerError": (9, "handler"),
    "DifferenceError": (10, "difference"),
}
CLASSES: dict[str, type[EsctlError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, EsctlError)
}


def test_the_table_names_every_error() -> None:
    assert set(CLASSES) == set(EXIT_CODES)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_an_error_has_the_exit_code_and_kind_of_the_contract(name: str) -> None:
    assert (CLASSES[name].exit_code, CLASSES[name].kind) == EXIT_CODES[name]


def test_no_two_errors_share_a_kind() -> None:
    assert len({kind.kind for kind in CLASSES.values()}) == len(CLASSES)


def test_only_an_error_that_is_a_kind_of_another_shares_its_exit_code() -> None:
    own = [kind for kind in CLASSES.values() if kind.__base__ in (Exception, EsctlError)]
    assert len({kind.exit_code for kind in own}) == len(own)
    assert all(kind.exit_code == getattr(kind.__base__, "exit_code", None) for kind in set(CLASSES.values()) - set(own))


def test_every_exception_of_the_module_is_caught_as_esctls() -> None:
    exceptions = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert exceptions - {"Stopped"} == set(CLASSES)


def test_an_error_keeps_what_it_tells() -> None:
    error = EsctlError("what", why="why", fix="fix", line=3, stream="s")
    assert (str(error), error.what, error.why, error.fix, error.again) == ("what", "what", "why", "fix", None)
    assert error.details == {"line": 3, "stream": "s"}
    again = EsctlError("what", again="--yes")
    assert (again.fix, again.again, again.details) == ("", "--yes", {})


@pytest.mark.parametrize("words", ["", "--yes"])
def test_an_error_names_one_command_to_run_next(words: str) -> None:
    with pytest.raises(AssertionError):
        EsctlError("what", fix="esctl head", again=words)


def test_the_help_page_explains_every_exit_code_once() -> None:
    page = (Path(esctl.__file__).parent / "help" / "exit-codes.md").read_text(encoding="utf-8")
    codes = [int(code) for code in re.findall(r"^ {4,7}(\d+)   \S", page, re.MULTILINE)]
    assert codes == [0, *sorted({code for code, _ in EXIT_CODES.values()}), 130, 141, 143]


# What an error says to run next, read off the source: every way to say it has to be one that this can read

PACKAGE = Path(esctl.__file__).parent
STARTS = ("esctl", "pip", "unset", "gzip", "zstd")
PLACEHOLDER = re.compile(r"\b(?!ESCTL_)[A-Z][A-Z_]*\b|…|\.\.\.")


MODULES = {
    place: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if (place := path.relative_to(PACKAGE).as_posix())
    not in ("errors.py", "cli/main.py", "cli/typer_app.py", "cli/wrong.py")  # their verbs are of the table
}


def given(name: str) -> Iterator[tuple[str, ast.expr]]:
    """What the package gives as `fix` or `again` to errors that it makes or has caught, each with its place."""
    for place, module in MODULES.items():
        for node in ast.walk(module):
            if isinstance(node, ast.keyword) and node.arg == name:
                yield f"{place}:{node.value.lineno}", node.value
            targets = node.targets if isinstance(node, ast.Assign) else ()
            if any(isinstance(target, ast.Attribute) and target.attr == name for target in targets):
                yield f"{place}:{node.lineno}", node.value  # type: ignore[attr-defined]  # an Assign


def texts(value: ast.expr) -> list[str]:
    """The texts that an expression may give; what it fills in is the word x. Of one that cannot be read, none that may
    be given.
    """
    match value:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Constant(value=None):
            return []
        case ast.JoinedStr(values=parts):
            return ["".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*texts(body), *texts(orelse)]
    return [f"(unreadable: {ast.unparse(value)})"]


def all_texts(name: str) -> list[Any]:
    return [pytest.param(text, id=f"{place} {text}") for place, value in given(name) for text in texts(value)]


@pytest.mark.parametrize("fix", all_texts("fix"))
def test_a_fix_is_a_command_line_that_can_be_pasted(fix: str) -> None:
    if not fix:
        return
    words = shlex.split(fix)
    assert words == shlex.split(fix, comments=True)
    assert words[0] in STARTS
    assert not PLACEHOLDER.search(fix)
    assert fixes.problem(fix.replace("#x", "#1")) is None


def test_a_shell_reads_all_that_is_to_be_pasted() -> None:
    lines = "\n".join(param.values[0] for param in all_texts("fix"))
    assert "esctl" in lines
    assert subprocess.run(["sh", "-n"], input=lines.encode(), capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize("again", all_texts("again"))
def test_what_is_added_to_a_command_line_are_options(again: str) -> None:
    words = shlex.split(again)
    assert all(one.startswith("--") for one in words[:1])
    assert not PLACEHOLDER.search(again)


@pytest.mark.parametrize("value", [pytest.param(value, id=place) for place, value in (*given("fix"), *given("again"))])
def test_what_is_filled_in_is_one_word_to_a_shell(value: ast.expr) -> None:
    """It goes through `word`, or is a number."""
    for part in ast.walk(value):
        if isinstance(part, ast.FormattedValue):
            called = part.value.func if isinstance(part.value, ast.Call) else None
            number = part.format_spec is not None and ast.unparse(part.format_spec) == "f'd'"
            assert number or (isinstance(called, ast.Name) and called.id == "word"), ast.unparse(part)


@pytest.mark.parametrize(
    ("fix", "works"),
    [
        ("esctl head", True), ("esctl projection run x", True), ("esctl replay --since now --raw-schema", True),
        ("esctl help time", True), ("esctl projection --help", True), ("esctl --help", True), ("esctl hed", False),
        ("esctl projection", False), ("esctl projection walk", False), ("esctl head --since x", False), ("head", False),
        ("esctl head   (shows it)", False), ("esctl replay STREAM", False), ("esctl append < FILE", False),
        ("esctl replay | esctl project --count", True), ("esctl model show > model.toml", True),
    ],
)  # fmt: skip
def test_a_fix_that_does_not_work_is_noticed(fix: str, works: bool) -> None:
    assert (fixes.problem(fix) is None) == works


@pytest.mark.parametrize("value", ["a", "a b", "it's", "$HOME", "`x`", "#1", "", "é", 7, Path("a b/c")])
def test_a_value_is_one_word_to_a_shell(value: object) -> None:
    assert shlex.split(word(value), comments=True) == [str(value)]


# Errors as they come, and their commands run

ODD = "it's 1 $HOME; #2 (é)"
MODEL = """
[aggregate.order]
streams = "order-*"
accept.Paid = { rule = "state ->> 'total' > 0", message = "nothing to pay" }
[event.Seen]
schema = 2
[projection.seen]
table = "create table seen(position)"
on.Seen = "insert into seen values (new.position)"
"""


FAILING: dict[str, Callable[[api.Log], object]] = {
    "a stream that is not there": lambda log: log.replay(ODD[:-1]),
    "a stream that nothing comes near": lambda log: log.replay("entirely-other"),
    "an event that is not there": lambda log: log.show("no-such-id"),
    "an expectation that has passed": lambda log: log.append(ODD, "T", expect="none"),
    "an expectation of a stream that is not there": lambda log: log.append("other", "T", expect=7),
    "an id that is taken": lambda log: log.append(ODD, "T", {"other": 1}, id="known"),
    "an append condition": lambda log: log.append("other", "T", if_none_match="type = 'T' and (data ->> 'n') = 1"),
    "no condition": lambda log: log.replay(where="n > 1"),
    "a condition on the clock": lambda log: log.replay(where="time > datetime('now')"),
    "no point": lambda log: log.replay(until="tomorrow-ish"),
    "a version of no stream": lambda log: log.replay(until="v7"),
    "a mark of a version": lambda log: log.mark("before", "v7"),
    "a rule": lambda log: log.append("order-1", "Paid"),
    "a rule of a stream that is not there": lambda log: log.append("order-2", "Paid"),
    "a schema that is too new": lambda log: log.append("other", "Seen", schema=3),
    "no projection": lambda log: log.rows("none"),
    "no aggregate": lambda log: log.state(ODD, aggregate="none"),
}


@pytest.mark.parametrize("fail", FAILING.values(), ids=FAILING)
def test_the_command_that_an_error_names_works(
    fail: Callable[[api.Log], object], log_path: Path, tmp_path: Path, esctl: Callable[..., Any]
) -> None:
    (tmp_path / "model.toml").write_text(MODEL)
    with api.open_log(log_path, write=True) as log:
        log.append(ODD, "T", {"n": 1}, id="known")
        log.append("order-1", "Placed", {"total": 0})
        log.apply_model(tmp_path / "model.toml")
        with pytest.raises(EsctlError) as raised:
            fail(log)
    done = esctl(*shlex.split(raised.value.fix)[1:], env={"ESCTL_LOG": str(log_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_log_that_is_not_there_is_made_by_the_command_named(tmp_path: Path, esctl: Callable[..., Any]) -> None:
    path = tmp_path / ODD
    with pytest.raises(EsctlError) as raised:
        api.open_log(path)
    assert esctl(*shlex.split(raised.value.fix)[1:]).returncode == 0
    api.open_log(path).close()
