"""`esctl projection run`: projections, brought to the head of the log."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from esctl import open_log
from tests.cli.commands.projection.conftest import COLUMNS, FRAGILE, HEAD, RUN, Done, Run, append, runs_in, told
from tests.conftest import ESCTL, environment

# Runs


def test_a_run_brings_all_to_the_head_and_tells_how_far_it_went(run: Run) -> None:
    records = run("projection", "run").records
    assert [list(record) for record in records] == [RUN] * 3
    assert [(r["projection"], r["position"], r["read"], r["switched"]) for r in records] == [
        (name, HEAD, HEAD, False) for name in COLUMNS
    ]
    assert [record["read"] for record in run("projection", "run").records] == [0, 0, 0]


def test_a_run_of_some_leaves_the_others(run: Run) -> None:
    records = run("projection", "run", "daily_revenue", "daily_revenue", "customer_orders").records
    assert [record["projection"] for record in records] == ["daily_revenue", "customer_orders"]
    assert [record["position"] for record in run("projection", "list").records] == [HEAD, HEAD, 0]


def test_a_log_without_projections_has_nothing_to_run(tmp_path: Path) -> None:
    path = tmp_path / "bare.db"
    with open_log(path, write=True, create=True):
        pass
    assert runs_in(tmp_path, path)("projection", "run") == (0, "", "")


# Handlers that fail


def test_a_handler_that_fails_stops_its_projection_and_no_other(fragile: Run) -> None:
    done = fragile("projection", "run", "--error-format", "json")
    assert done.code == 9
    records = {r["projection"]: r["position"] for r in map(json.loads, done.out.splitlines())}
    assert records == {"strict": 3, "lenient": 5}
    said = json.loads(done.err.splitlines()[-1])
    assert (said["exit"], said["projection"], said["position"], said["type"]) == (9, "strict", 4, "T")
    assert (said["error"], said["field"]) == ("handler", "projection.strict.on.T")
    assert "UNIQUE" in said["reason"]


def test_after_a_mend_the_run_goes_on(fragile: Run, tmp_path: Path) -> None:
    assert fragile("projection", "run").code == 9
    assert fragile("projection", "run").code == 9
    (tmp_path / "model.toml").write_text(FRAGILE.replace("insert into strict", "insert or ignore into strict"))
    assert fragile("model", "apply", "model.toml").code == 0
    assert fragile("projection", "run").code == 0
    assert [row["n"] for row in fragile("projection", "show", "strict").records] == [1, 2, 3]
    assert fragile("projection", "status").code == 0


# Python reducers

REDUCED = """
[projection.tally]
table = "create table tally(type text primary key, n integer not null default 0, last text)"
[projection.other]
table = "create table other(n integer primary key)"
on.T1 = "insert into other values (new.position)"
"""
REDUCER = """
def count(rows, event):
    row = rows.get(event.type, {"n": 0})
    rows[event.type] = {"n": row["n"] + 1, "last": event.stream}

def broken(rows, event):
    if event.type == "T3":
        raise ValueError("no third")
    count(rows, event)

def leaves(rows, event):
    raise SystemExit(0)

no_function = 1
"""


@pytest.fixture
def reduced(tmp_path: Path) -> Run:
    """Runs on a log with a projection that a function keeps and one that SQL keeps; with a module of its own name."""
    path = tmp_path / "reduced.db"
    (tmp_path / "model.toml").write_text(REDUCED, encoding="utf-8")
    with open_log(path, write=True, create=True) as opened:
        for n in (1, 2, 3, 1):
            opened.append(f"s-{n}", f"T{n}", {})
        opened.apply_model(tmp_path / "model.toml")

    def run(*arguments: str) -> Done:
        sys.modules.pop("tally_by_hand", None)
        path_before = list(sys.path)
        sys.dont_write_bytecode = True
        try:
            return runs_in(tmp_path, path)(*arguments)
        finally:
            sys.path[:] = path_before

    (tmp_path / "tally_by_hand.py").write_text(REDUCER, encoding="utf-8")
    return run


def reduce(run: Run, function: str = "count", *more: str) -> Done:
    return run("projection", "run", "--reducer", f"tally_by_hand:{function}", "tally", *more)


def test_a_function_keeps_a_projection(reduced: Run) -> None:
    (record,) = reduce(reduced).records
    assert (record["projection"], record["position"], record["read"]) == ("tally", 5, 5)
    rows = [{"type": "T1", "n": 2, "last": "s-1"}, {"type": "T2", "n": 1, "last": "s-2"},
            {"type": "T3", "n": 1, "last": "s-3"}]  # fmt: skip
    assert reduced("projection", "show", "tally").records == rows
    assert reduce(reduced).records[0]["read"] == 0
    status = {record["projection"]: record for record in reduced("projection", "status").records}
    assert status["tally"]["reducer"].startswith("tally_by_hand:count")


def test_a_module_that_changed_makes_a_new_version(reduced: Run, tmp_path: Path) -> None:
    first = reduce(reduced).records[0]["version"]
    (tmp_path / "tally_by_hand.py").write_text(REDUCER.replace('row["n"] + 1', 'row["n"] + 10'), encoding="utf-8")
    (record,) = reduce(reduced).records
    assert (record["version"] > first, record["read"], record["switched"]) == (True, 5, True)
    assert [row["n"] for row in reduced("projection", "show", "tally").records] == [20, 10, 10]


@pytest.mark.parametrize(
    ("function", "position", "why"), [("broken", 3, "ValueError: no third"), ("leaves", 1, "SystemExit: 0")]
)
def test_a_function_that_fails_stops_at_the_event_which_is_named(
    reduced: Run, function: str, position: int, why: str
) -> None:
    done = reduce(reduced, function, "--error-format", "json")
    assert done.code == 9
    said = json.loads(done.err.splitlines()[-1])
    assert (said["projection"], said["position"], said["reason"]) == ("tally", position, why)
    assert reduced("projection", "status").code == 9
    assert reduce(reduced, "count").code == 0
    assert [row["n"] for row in reduced("projection", "show", "tally").records] == [2, 1, 1]
    assert reduced("projection", "status").code == 0


def test_a_function_that_failed_leaves_the_rows_of_the_one_before_and_nothing_behind(reduced: Run) -> None:
    rows = [reduce(reduced), reduced("projection", "show", "tally")][1].out
    assert reduce(reduced, "leaves").code == 9
    assert reduced("projection", "show", "tally").out == rows
    assert reduce(reduced).code == 0
    assert reduced("projection", "status").code == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [("nope", 2), (":", 2), ("tally_by_hand:", 2), ("tally_by_hand:no_function", 2), ("tally_by_hand:none", 3),
     ("no_such_module:f", 3)],
)  # fmt: skip
def test_a_function_that_is_not_there_is_told(reduced: Run, name: str, code: int) -> None:
    told(reduced("projection", "run", "--reducer", name, "tally", "--error-format", "json"), code)
    assert [r["state"] for r in reduced("projection", "list").records if r["projection"] == "tally"] == ["live"]


def test_only_a_projection_without_handlers_is_kept_by_a_function(reduced: Run) -> None:
    said = told(reduced("projection", "run", "--reducer", "tally_by_hand:count", "other", "--error-format", "json"), 2)
    assert re.fullmatch(r"esctl projection run --log \S+ other", said["fix"])
    told(reduced("projection", "run", "--reducer", "tally_by_hand:count", "nope", "--error-format", "json"), 3)


def test_what_only_a_function_keeps_is_told_apart_where_it_cannot_run(reduced: Run) -> None:
    done = reduced("projection", "run")
    assert (done.code, [json.loads(line)["projection"] for line in done.out.splitlines()]) == (0, ["other"])
    assert "--reducer MODULE:FUNCTION tally" in done.err
    assert reduce(reduced).code == 0
    assert reduced("projection", "run").code == 0
    for refused in (["show", "tally", "--until", "#2"], ["diff", "tally", "--from", "#2"]):
        said = told(reduced("projection", *refused, "--error-format", "json"), 9)
        assert "--reducer" in said["why"]


def test_what_only_a_function_keeps_is_not_rebuilt_without_it(reduced: Run) -> None:
    rows = [reduce(reduced), reduced("projection", "show", "tally")][1].out
    done = reduced("projection", "rebuild", "tally", "--error-format", "json")
    assert "--reducer" in json.loads(done.err.splitlines()[-1])["why"]
    assert [r["state"] for r in reduced("projection", "list").records if r["projection"] == "tally"] == ["live"]
    assert reduced("projection", "show", "tally").out == rows


def test_what_only_a_function_keeps_does_not_keep_others_from_being_verified(reduced: Run) -> None:
    assert reduce(reduced).code == 0
    assert reduced("projection", "run").code == 0
    done = reduced("projection", "verify")
    assert (done.code, done.out) == (0, "")
    assert "view" not in done.err


def test_a_note_about_what_a_function_keeps_names_what_helps(reduced: Run) -> None:
    done = reduced("projection", "show", "tally")
    assert done.code == 0
    assert "4 events behind" in done.err
    assert "--fresh" not in done.err
    assert "--reducer" in done.err


# Following


def test_following_takes_events_as_they_come_and_ends_by_the_signal(log: Path, tmp_path: Path) -> None:
    command = [ESCTL, "projection", "run", "--follow", "-l", str(log)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        first = [json.loads(following.stdout.readline()) for _ in COLUMNS]
        assert [record["position"] for record in first] == [HEAD] * 3
        append(log, "payment-9", "PaymentCreated", {"order_id": "1", "amount": 1.5})
        more = [json.loads(following.stdout.readline()) for _ in ("customer_orders", "daily_revenue")]
        assert {(record["projection"], record["position"], record["read"]) for record in more} == {
            ("customer_orders", HEAD + 1, 1), ("daily_revenue", HEAD + 1, 1),
        }  # fmt: skip
        following.send_signal(signal.SIGINT)
        said = following.stderr.read()
        assert following.wait(timeout=10) == -signal.SIGINT
    assert "Traceback" not in said
    connection = apsw.Connection(str(log), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.execute("select sum(payments) from payments_by_status where status = 'Created'").get == 2
    connection.close()


def test_following_stops_one_that_fails_and_goes_on_with_the_others(fragile: Run, tmp_path: Path) -> None:
    del fragile
    path = tmp_path / "fragile.db"
    command = [ESCTL, "projection", "run", "--follow", "-l", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert {json.loads(following.stdout.readline())["projection"] for _ in range(2)} == {"strict", "lenient"}
        assert "stopped at position 4" in following.stderr.readline()
        append(path, "s-2", "T", {"n": 7})
        record = json.loads(following.stdout.readline())
        assert (record["projection"], record["position"]) == ("lenient", 6)
        following.send_signal(signal.SIGTERM)
        assert following.wait(timeout=10) == -signal.SIGTERM
