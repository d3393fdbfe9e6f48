"""Projections that a Python function keeps: rows as a mapping, versions by the function's module."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl import Event, open_log
from esctl.errors import HandlerError, UsageError
from esctl.log import EventLog
from esctl.projections import admin, reducers, runs, versions
from esctl.projections.reducers import Rows
from tests.conftest import ESCTL

MODEL = """
[projection.tally]
table = "create table tally(name text primary key, n integer not null default 0, note text default 'new')"
[projection.pairs]
table = "create table pairs(a text, b integer, n integer default 7, primary key(a, b))"
[projection.keyless]
table = "create table keyless(a text)"
[[event.Old.upcast]]
from = 1
type = "New"
schema = 1
rename = { a = "b" }
[[event.Secret.upcast]]
from = 1
drop = true
"""


@pytest.fixture
def log_path(tmp_path: Path, log_path: Path) -> Path:
    """A log whose model has projections without handlers, and no events but the model's."""
    (tmp_path / "model.toml").write_text(MODEL)
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "model.toml")
    return log_path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module with a function `f(rows, event)` of this body; the name by which it is asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(body: str) -> str:
        sys.modules.pop("kept_by_hand", None)
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (tmp_path / "kept_by_hand.py").write_text(f"def f(rows, event):\n{lines}")
        return "kept_by_hand:f"

    yield write
    sys.modules.pop("kept_by_hand", None)


def kept(path: Path, name: str, reducer: str) -> list[tuple[Any, ...]]:
    """Bring a projection to the head by a function; its rows by their keys."""
    with EventLog(path, write=True) as log:
        for _ in reducers.run(log, name, reducer, runs.Run()):
            pass
        return list(log.store.projections().select(f"select * from {name} order by 1, 2"))


def append(path: Path, *types: str) -> None:
    with open_log(path, write=True) as log:
        for number, type_ in enumerate(types, 1):
            log.append(f"s-{number}", type_, {"a": number}, schema=1)


COUNT = 'rows[event.type] = {"n": rows.get(event.type, {"n": 0})["n"] + 1}'


# What a function gets


def test_a_function_gets_every_event_once_in_order(log_path: Path, module: Callable[[str], str]) -> None:
    append(log_path, "A", "B", "A")
    reducer = module('rows[f"{event.position}"] = {"n": event.data["a"], "note": event.stream}')
    first = [("2", 1, "s-1"), ("3", 2, "s-2"), ("4", 3, "s-3")]
    assert kept(log_path, "tally", reducer) == first
    assert kept(log_path, "tally", reducer) == first
    append(log_path, "C")
    assert kept(log_path, "tally", reducer) == [*first, ("5", 1, "s-1")]


def test_a_function_gets_events_as_they_are_read_by_now_and_none_that_are_hidden(
    log_path: Path, module: Callable[[str], str]
) -> None:
    append(log_path, "Old", "Secret", "Other")
    reducer = module('rows[event.type] = {"note": ",".join(event.data)}')
    assert kept(log_path, "tally", reducer) == [("New", 0, "b"), ("Other", 0, "a")]


def test_a_function_gets_what_was_archived_and_nothing_that_was_erased(
    log_path: Path, module: Callable[[str], str]
) -> None:
    append(log_path, "A", "B", "C")
    for words in (["erase", "3", "--reason", "x", "--force"], ["archive", "create", "--keep-last", "1"]):
        subprocess.run([ESCTL, *words, "--yes", "-q", "-l", log_path], check=True, capture_output=True)
    assert [row[0] for row in kept(log_path, "tally", module(COUNT))] == ["A", "C"]


def test_events_are_what_esctl_calls_events(log_path: Path, module: Callable[[str], str]) -> None:
    append(log_path, "A")
    (row,) = kept(log_path, "tally", module('rows["x"] = {"note": f"{type(event).__module__}.{type(event).__name__}"}'))
    assert row[2].endswith(Event.__name__)


# The rows


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ('rows["x"] = {}', [("x", 0, "new")]),
        ('rows["x"] = {"n": 1}; rows["x"] = {"note": "y"}', [("x", 0, "y")]),
        ('rows["x"] = {"n": 1}; del rows["x"]', []),
        ('rows["x"] = {"name": "other", "n": 1}', [("x", 1, "new")]),
        ('rows["x"] = {"n": 1}; row = rows["x"]; row["n"] = 9', [("x", 1, "new")]),
        ('rows["x"] = {"n": 1}; row = rows["x"]; row["n"] = 9; rows["x"] = row', [("x", 9, "new")]),
        ('rows.setdefault("x", {"n": 4}); rows.setdefault("x", {"n": 5})', [("x", 4, "new")]),
        ('rows["x"] = {"n": 1}; rows.pop("x"); rows["y"] = {}', [("y", 0, "new")]),
        ('rows["b"] = {}; rows["a"] = {}; rows["c"] = {"n": [*rows].index("b")}',
         [("a", 0, "new"), ("b", 0, "new"), ("c", 1, "new")]),
        ('rows["x"] = {"n": len(rows), "note": str("x" in rows)}', [("x", 0, "False")]),
        ('rows.update({"x": {"n": 1}, "y": {"n": 2}}); rows.clear(); rows["z"] = {}', [("z", 0, "new")]),
        ('rows["é\'\\";--"] = {"note": None}', [("é'\";--", 0, None)]),
        ('rows["x"] = {"n": 2**62, "note": "1.10"}', [("x", 2**62, "1.10")]),
        ('assert rows.get("no") is None and rows.pop("no", 5) == 5', []),
        ('rows[""] = {}', [("", 0, "new")]),
    ],
)  # fmt: skip
def test_rows_are_a_mapping_by_their_keys(
    log_path: Path, module: Callable[[str], str], body: str, rows: list[tuple[Any, ...]]
) -> None:
    append(log_path, "A")
    assert kept(log_path, "tally", module(body)) == rows


def test_a_key_of_several_columns_is_a_tuple(log_path: Path, module: Callable[[str], str]) -> None:
    append(log_path, "A")
    body = 'rows["x", 1] = {"n": 5}; rows["x", 2] = {}; assert [*rows] == [("x", 1), ("x", 2)]; del rows["x", 2]'
    assert kept(log_path, "pairs", module(body)) == [("x", 1, 5)]


def test_a_key_that_is_none_is_one_row_or_none(log_path: Path, module: Callable[[str], str]) -> None:
    append(log_path, "A", "B", "C")
    with contextlib.suppress(HandlerError):  # it may be refused; there are never several rows of one key
        assert len(kept(log_path, "tally", module("rows[None] = {}; rows[None] = {}"))) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "del", "pop", "get"]), st.sampled_from(["a", "b", "ä"]), st.integers(0, 99)),
        max_size=20,
    )
)
def test_whatever_is_done_to_the_rows_a_dictionary_would_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "model.toml").write_text('[projection.t]\ntable = "create table t(k text primary key, n integer)"')
    with open_log(folder / "log.db", write=True, create=True) as made:
        made.apply_model(folder / "model.toml")
    like: dict[str, dict[str, Any]] = {}
    with EventLog(folder / "log.db", write=True) as log, log.transaction():
        versions.sync(log)
        store = log.store.projections()
        (version,) = store.versions()
        with store.placed(version):
            rows = Rows(store, version)
            for verb, key, number in steps:
                if verb == "set":
                    rows[key], like[key] = {"n": number}, {"k": key, "n": number}
                elif verb == "del" and key in like:
                    del rows[key], like[key]
                elif verb == "pop":
                    assert rows.pop(key, None) == like.pop(key, None)
                assert rows.get(key) == like.get(key)
                assert (len(rows), sorted(rows)) == (len(like), sorted(like))
            assert dict(rows) == like


def test_a_table_without_a_key_is_refused(log_path: Path, module: Callable[[str], str]) -> None:
    append(log_path, "A")
    with pytest.raises(UsageError, match="no primary key"):
        kept(log_path, "keyless", module(COUNT))


# Failures


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('raise ValueError("no")', "ValueError: no"), ("raise SystemExit(3)", "SystemExit: 3"),
        ('rows["x"] = {"nope": 1}', "no column named nope"), ('rows["x"] = {"n": [1]}', "list"),
        ('rows["x"] = {"n": 2**63}', "too big"), ('rows["x"] = {"n": None}', "NOT NULL"),
        ("rows[1, 2] = {}", "a key of tally is name"), ('rows["no"]', "KeyError"), ('del rows["no"]', "KeyError"),
        ('rows["x"] = 5', "TypeError"), ("return nothing", "NameError"),
    ],
)  # fmt: skip
def test_a_function_that_fails_stops_at_its_event_and_keeps_what_came_before(
    log_path: Path, module: Callable[[str], str], body: str, why: str
) -> None:
    append(log_path, "A", "B", "C")
    reducer = module(f'if event.type == "B":\n    {body}\n{COUNT}')
    with pytest.raises(HandlerError) as stopped:
        kept(log_path, "tally", reducer)
    assert stopped.value.details["position"] == 3
    assert why in str(stopped.value.details["reason"])
    with EventLog(log_path) as log:
        assert list(log.store.projections().select("select name from tally")) == [("A",)]


def test_what_a_failing_event_had_changed_is_taken_back(log_path: Path, module: Callable[[str], str]) -> None:
    append(log_path, "A")
    with pytest.raises(HandlerError):
        kept(log_path, "tally", module(f'{COUNT}\nraise ValueError("no")'))
    with EventLog(log_path) as log:
        assert list(log.store.projections().select("select * from tally")) == []


# Versions


def test_a_module_that_did_not_change_goes_on_and_one_that_did_begins_anew(
    log_path: Path, module: Callable[[str], str]
) -> None:
    append(log_path, "A", "A")
    assert kept(log_path, "tally", module(COUNT)) == [("A", 2, "new")]
    append(log_path, "A")
    assert kept(log_path, "tally", module(COUNT)) == [("A", 3, "new")]
    assert kept(log_path, "tally", module(f"{COUNT}  # of another mind")) == [("A", 3, "new")]
    with EventLog(log_path) as log:
        states = [(v.version, v.state) for v in log.store.projections().versions() if v.name == "tally"]
    assert [state for _, state in sorted(states)] == ["previous", "live"]


def test_readers_keep_the_old_rows_until_the_new_function_has_caught_up(
    log_path: Path, module: Callable[[str], str]
) -> None:
    append(log_path, "A", "B")
    kept(log_path, "tally", module(COUNT))
    with pytest.raises(HandlerError):
        kept(log_path, "tally", module(f'{COUNT}\nif event.type == "B": raise ValueError("no")'))
    with EventLog(log_path) as log:
        assert list(log.store.projections().select("select name, n from tally order by 1")) == [("A", 1), ("B", 1)]


def test_any_batches_make_the_same_rows(
    log_path: Path, module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reducer = module(f'{COUNT}\nrows["last"] = {{"n": event.position, "note": event.stream}}')
    append(log_path, *"ABCABCA")
    whole = kept(log_path, "tally", reducer)
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    with EventLog(log_path, write=True) as log:
        admin.drop(log, "tally")
    assert kept(log_path, "tally", reducer) == whole


def test_who_leaves_the_function_out_is_told_the_one_that_has_kept_the_projection(
    log_path: Path, module: Callable[[str], str]
) -> None:
    reducer = module(COUNT)
    with open_log(log_path, write=True) as log:
        log.append("s", "A")
        with pytest.raises(HandlerError) as first:
            log.project("tally")
    kept(log_path, "tally", reducer)
    with open_log(log_path, write=True) as log, pytest.raises(HandlerError) as second:
        log.project("tally")
    assert first.value.fix == "esctl projection run --help"
    assert second.value.fix == f"esctl projection run --reducer {reducer} tally"
