"""A Python function folds a stream as an aggregate does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from esctl.errors import EsctlError, HandlerError, NotFoundError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import reducing
from tests.conftest import ESCTL, environment, write_empty_log
from tests.logs import event, hold, put
from tests.states.conftest import value

REDUCERS = """
def count(state, event):
    return {"n": state.get("n", 0) + 1, "last": event.data, "type": event.type, "seen": event.version}

def fails(state, event):
    return state["missing"]

def odd(state, event):
    return object()

nothing = 7
"""


@pytest.fixture
def reducers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in this folder with functions that reduce."""
    name = f"reducers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(REDUCERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    return name


def test_a_python_function_folds_a_stream(log: EventLog, reducers: str) -> None:
    put(log, event("s-1", "A", {"big": 10**30}), event("s-1", "B", [1.5]))
    found = list(reducing.reduced(log, Query(stream="s-1"), f"{reducers}:count"))
    assert [(s.version, s.folded) for s in found] == [(0, 0), (1, 1), (2, 2)]
    assert [value(s) for s in found[1:]] == [
        {"n": 1, "last": {"big": 10**30}, "type": "A", "seen": 1},
        {"n": 2, "last": [1.5], "type": "B", "seen": 2},
    ]


def test_a_python_function_gets_events_as_they_are_read(log: EventLog, reducers: str) -> None:
    hold(log, "[[event.A.upcast]]\nfrom = 1\nset = { n = 2 }\n")
    put(log, event("s-1", "A", schema=1))
    *_, last = reducing.reduced(log, Query(stream="s-1"), f"{reducers}:count")
    assert value(last)["last"] == {"n": 2}


@pytest.mark.parametrize("name", ["x", ":f", "m:", ""])
def test_what_names_no_reducer_is_a_wrong_command_line(name: str) -> None:
    with pytest.raises(UsageError):
        reducing.reducer(name)


def test_a_reducer_that_is_no_function_is_refused(reducers: str) -> None:
    with pytest.raises(UsageError):
        reducing.reducer(f"{reducers}:nothing")


@pytest.mark.parametrize("name", ["no_such_module:f", "json:no_such_function"])
def test_a_reducer_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(NotFoundError):
        reducing.reducer(name)


@pytest.mark.parametrize("function", ["fails", "odd"])
def test_a_reducer_that_fails_is_told_as_a_handlers_failure(log: EventLog, reducers: str, function: str) -> None:
    put(log, event("s-1"))
    with pytest.raises(EsctlError) as caught:
        list(reducing.reduced(log, Query(stream="s-1"), f"{reducers}:{function}"))
    assert caught.value.exit_code == 9


TRUSTED = """
import colorsys, beside

def count(state, event):
    import wave
    return {"n": state.get("n", 0) + 1}
"""


def test_a_file_beside_a_reducer_does_not_replace_an_installed_package(tmp_path: Path) -> None:
    write_empty_log(tmp_path / "esctl.db")
    (tmp_path / "trusted.py").write_text(TRUSTED)
    (tmp_path / "beside.py").write_text("")
    for name in ("rich", "wcwidth", "msgspec", "colorsys", "wave", "csv"):
        (tmp_path / f"{name}.py").write_text(f"open('{name}-was-run', 'w').close()\nraise SystemExit\n")
    for command in ("append s T", "state s --reducer trusted:count -o table", "state s --reducer trusted:count -o csv"):
        done = subprocess.run(
            [ESCTL, *command.split()], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*-was-run"))


def test_a_reducer_in_a_package_of_the_folder_is_found(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "shop_reducers").mkdir()
    (tmp_path / "shop_reducers" / "__init__.py").touch()
    (tmp_path / "shop_reducers" / "sub.py").write_text("from . import rules\nf = rules.f\n")
    (tmp_path / "shop_reducers" / "rules.py").write_text("def f(state, event):\n    return [1]\n")
    put(log, event("s-1", "A"))
    *_, last = reducing.reduced(log, Query(stream="s-1"), "shop_reducers.sub:f")
    assert value(last) == [1]


def test_a_module_that_needs_one_that_is_missing_failed_and_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_another.py").write_text("import no_such_module_at_all\n")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    with pytest.raises(HandlerError, match="the module needs_another failed"):
        reducing.reducer("needs_another:f")
