"""`esctl state`: what a stream's events add up to, in every form and at every point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import ESCTL, Esctl

FIELDS = ("stream", "aggregate", "version", "position", "time", "state")
MODEL = """
[aggregate.order]
streams = "order-*"
initial = { status = "New", paid = 0 }
[aggregate.order.on.Placed]
set = { status = "Placed", total = "$.total" }
[aggregate.order.on.Paid]
set = { status = "Paid" }
add = { paid = "$.amount" }
[aggregate.other]
streams = "other-*"
on."*".add = { n = 1 }
"""
REDUCER = """
def count(state, event):
    return {"n": state.get("n", 0) + 1, "last": event.type, "sum": state.get("sum", 0) + event.data.get("amount", 0)}

def broken(state, event):
    return state["missing"]

def odd(state, event):
    return object()

no_function = 1
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with two orders and something that no aggregate covers; it is copied, never used."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(folder / "log.db", write=True, create=True) as log:
        log.append("order-1", "Placed", {"total": 5}, time="2026-01-01T00:00:00Z")
        log.append("order-2", "Placed", {"total": 7}, time="2026-01-03T00:00:00Z")
        log.append("order-1", "Paid", {"amount": 5}, time="2026-01-02T00:00:00Z")
        log.append("cart-1", "Filled", {"a": 1, "b": {"c": 2}})
        log.append("cart-1", "Emptied", {"a": None, "b": {"d": 3}})
        log.apply_model(folder / "model.toml")
    return folder / "log.db"


@pytest.fixture
def run(run: Esctl, made: Path, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on such a log of this test's own."""
    shutil.copy(made, log_path)
    (tmp_path / "shop.py").write_text(REDUCER, encoding="utf-8")
    return run


def told(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def state(done: subprocess.CompletedProcess[str]) -> Any:
    (only,) = told(done)
    return only["state"]


NEW = {"status": "New", "paid": 0}
PLACED = {"status": "Placed", "paid": 0, "total": 5}
PAID = {"status": "Paid", "paid": 5, "total": 5}


def test_a_state_is_one_object_with_these_fields_in_this_order(run: Esctl) -> None:
    (only,) = told(run("state", "order-1"))
    assert tuple(only) == FIELDS
    assert only == {
        "stream": "order-1",
        "aggregate": "order",
        "version": 2,
        "position": 3,
        "time": "2026-01-02T00:00:00.000000Z",
        "state": PAID,
    }


def test_without_an_aggregate_payloads_are_merged(run: Esctl) -> None:
    (only,) = told(run("state", "cart-1"))
    assert (only["aggregate"], only["state"]) == (None, {"b": {"c": 2, "d": 3}})


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (["--until", "v0"], NEW),
        (["--until", "#0"], NEW),
        (["--until", "v1"], PLACED),
        (["--until", "#2"], PLACED),
        (["--until", "v2"], PAID),
        (["--until", "2026-01-01T12:00:00Z"], PLACED),
        (["--until", "2026-01-02T00:00:00Z"], PAID),
        (["--until", "2025-12-31"], NEW),
        (["--as-of", "#1"], PLACED),
        (["--as-of", "#3"], PAID),
        (["--as-of", "1970-01-01"], NEW),
        (["--as-of", "now"], PAID),
        (["--until", "v2", "--as-of", "#2"], PLACED),
    ],
)
def test_a_state_can_be_had_at_every_kind_of_point(run: Esctl, point: list[str], expected: dict[str, Any]) -> None:
    assert state(run("state", "order-1", *point)) == expected


def test_before_the_first_event_there_is_the_initial_state_and_no_time(run: Esctl) -> None:
    (only,) = told(run("state", "order-1", "--until", "v0"))
    assert (only["version"], only["position"], only["time"]) == (0, 0, None)


def test_each_gives_the_state_after_every_event(run: Esctl) -> None:
    rows = told(run("state", "order-1", "--each"))
    assert [(row["version"], row["position"], row["state"]) for row in rows] == [(1, 1, PLACED), (2, 3, PAID)]
    assert [row["version"] for row in told(run("state", "order-1", "--each", "--until", "v1"))] == [1]


def test_a_stream_can_be_folded_as_another_aggregate(run: Esctl) -> None:
    assert state(run("state", "order-1", "--aggregate", "other")) == {"n": 2}


def test_all_streams_of_an_aggregate_are_folded_in_the_order_of_their_names(run: Esctl) -> None:
    rows = told(run("state", "--all", "--aggregate", "order"))
    assert [(row["stream"], row["state"]["status"]) for row in rows] == [("order-1", "Paid"), ("order-2", "Placed")]


def test_a_condition_chooses_among_all_streams(run: Esctl) -> None:
    rows = told(run("state", "--all", "--aggregate", "order", "--where", "state ->> 'status' = 'Paid'"))
    assert [row["stream"] for row in rows] == ["order-1"]
    rows = told(run("state", "--all", "--aggregate", "order", "--until", "#2", "--where", "version = 1"))
    assert [row["stream"] for row in rows] == ["order-1", "order-2"]


def test_explain_tells_the_snapshot_that_served_and_how_many_events_were_folded(run: Esctl) -> None:
    (only,) = told(run("state", "order-1", "--explain"))
    assert (only["snapshot"], only["folded"]) == (None, 2)
    assert run("snapshot", "take", "order-1").returncode == 0
    assert run("append", "order-1", "Paid", "amount:=1").returncode == 0
    (only,) = told(run("state", "order-1", "--explain"))
    assert (only["snapshot"], only["folded"], only["state"]["paid"]) == (2, 1, 6)
    (only,) = told(run("state", "order-1", "--explain", "--no-snapshot"))
    assert (only["snapshot"], only["folded"], only["state"]["paid"]) == (None, 3, 6)


# Formats


def test_raw_is_the_state_alone(run: Esctl) -> None:
    assert run("state", "order-1", "-o", "raw").stdout == '{"status":"Paid","paid":5,"total":5}\n'
    assert len(run("state", "order-1", "--each", "-o", "raw").stdout.splitlines()) == 2


@pytest.mark.parametrize("options", [[], ["--explain"], ["--fields", "stream,state.status"]])
def test_a_single_state_is_one_object_in_json(run: Esctl, options: list[str]) -> None:
    single = run("state", "order-1", *options, "-o", "json")
    assert [json.loads(single.stdout)] == told(run("state", "order-1", *options))


def test_states_are_an_array_in_json_of_what_ndjson_prints(run: Esctl) -> None:
    every = ("state", "--all", "--aggregate", "order")
    assert json.loads(run(*every, "-o", "json").stdout) == told(run(*every))
    assert json.loads(run("state", "order-1", "--each", "-o", "json").stdout) == told(run("state", "order-1", "--each"))


@pytest.mark.parametrize(("format_", "separator"), [("csv", ","), ("tsv", "\t")])
def test_csv_has_a_header_and_the_state_in_a_cell(run: Esctl, format_: str, separator: str) -> None:
    lines = run("state", "cart-1", "-o", format_).stdout.splitlines()
    assert lines[0] == separator.join(FIELDS)
    assert lines[1].startswith(separator.join(("cart-1", "", "2", "5")))


def test_a_single_state_on_a_terminal_is_a_line_a_field(run: Esctl) -> None:
    lines = run("state", "order-1", "-o", "table").stdout.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == [
        "stream", "aggregate", "version", "position", "time", "state.status", "state.paid", "state.total",
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["1.10", "1e400", "12345678901234567890.123", "0.10000000000000000001", "9" * 5000])
def test_a_table_shows_numbers_as_they_were_written(run: Esctl, number: str) -> None:
    assert run("append", "cart-9", "T", f"n:={number}").returncode == 0
    done = run("state", "cart-9", "-o", "table", "--wide")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split() == ["state.n", number]


def test_what_a_state_holds_does_not_act_on_a_terminal(run: Esctl) -> None:
    data = json.dumps({"a\u001b[2J": "\u001b[31mred\u0007 [bold]x[/bold] \u202e"})
    assert run("append", "cart-8", "T", data).returncode == 0
    for form in ([], ["--each"]):
        shown = run("state", "cart-8", "-o", "table", "--wide", *form).stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
        assert "[bold]x[/bold]" in shown


@pytest.mark.parametrize(
    ("format_", "empty"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", ",".join(FIELDS) + "\n"), ("table", ""), ("raw", "")],
)
def test_no_states_are_empty_in_every_format(run: Esctl, format_: str, empty: str) -> None:
    done = run("state", "--all", "--aggregate", "other", "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


# Python reducers


def test_a_python_function_folds_what_sql_cannot(run: Esctl) -> None:
    (only,) = told(run("state", "order-1", "--reducer", "shop:count"))
    assert (only["version"], only["state"]) == (2, {"n": 2, "last": "Paid", "sum": 5})
    rows = told(run("state", "order-1", "--reducer", "shop:count", "--each"))
    assert [row["state"]["n"] for row in rows] == [1, 2]
    assert state(run("state", "order-1", "--reducer", "shop:count", "--until", "v1"))["n"] == 1


@pytest.mark.parametrize(
    ("name", "code"), [("nope", 2), (":", 2), ("shop:", 2), ("shop:no_function", 2), ("shop:none", 3), ("none:f", 3)]
)
def test_a_reducer_that_is_not_there_is_told(run: Esctl, name: str, code: int) -> None:
    done = run("state", "order-1", "--reducer", name)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(("error: --reducer", "error: there is no reducer"))


@pytest.mark.parametrize("name", ["shop:broken", "shop:odd", "json:loads"])
def test_a_reducer_that_fails_is_a_handler_that_failed_and_no_bug_of_esctl(run: Esctl, name: str) -> None:
    done = run("state", "order-1", "--reducer", name)
    assert (done.returncode, done.stdout) == (9, "")
    assert "bug" not in done.stderr


# Wrong command lines, nothing there


@pytest.mark.parametrize(
    "words",
    [
        "",
        "order-1 --all --aggregate order",
        "--all",
        "--all --aggregate order --each",
        "--all --aggregate order --explain",
        "order-1 --where 1",
        "order-1 --aggregate order --reducer shop:count",
        "order-1 --until garbage",
        "order-1 order-2",
        "--all --aggregate order --where nope",
        "order-1 --until",
    ],
)
def test_a_wrong_command_line_is_exit_2_and_prints_no_data(run: Esctl, words: str) -> None:
    done = run("state", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("words", ["order-9", "order-1 --aggregate nope", "--all --aggregate nope"])
def test_what_is_not_there_is_exit_3(run: Esctl, words: str) -> None:
    done = run("state", *words.split(), "--error-format", "json")
    assert (done.returncode, done.stdout) == (3, "")
    assert json.loads(done.stderr)["exit"] == 3


def test_a_stream_that_was_meant_is_suggested(run: Esctl) -> None:
    assert "did you mean order-1" in run("state", "order-11").stderr


def test_an_event_that_cannot_be_folded_is_named(run: Esctl) -> None:
    assert run("append", "order-2", "Paid", "amount=much").returncode == 0
    done = run("state", "order-2", "--error-format", "json")
    assert (done.returncode, done.stdout) == (6, "")
    assert json.loads(done.stderr)["position"] == 7
    assert state(run("state", "order-2", "--until", "v1"))["status"] == "Placed"


def test_verbose_tells_the_log_and_what_is_ignored_on_stderr_only(run: Esctl, tmp_path: Path, log_path: Path) -> None:
    assert run("snapshot", "take", "order-1").returncode == 0
    (tmp_path / "model.toml").write_text(MODEL.replace('"Paid" }', '"Payed" }'), encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "model.toml")
    done = run("state", "order-1", "-v")
    assert json.loads(done.stdout)["state"]["status"] == "Payed"
    assert done.stderr == (
        f"log: {log_path}\nthe snapshot of order-1 at version 2 is ignored:"
        " the aggregate has changed, or how esctl folds it\n"
    )


def test_a_pipe_that_closes_ends_it_in_silence(run: Esctl, log_path: Path) -> None:
    assert run("types").returncode == 0
    with open_log(log_path, write=True) as log:
        log.append_all({"stream": "cart-2", "type": "T", "data": {f"k{n}": "x" * 50}} for n in range(300))
    environment = {**os.environ, "ESCTL_LOG": str(log_path)}
    command = [ESCTL, "state", "cart-2", "--each", "-o", "raw"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (-13, b"")


def test_a_second_process_s_append_is_seen_by_the_next_state(run: Esctl, log_path: Path) -> None:
    with open_log(log_path, write=True) as other:
        other.append("order-2", "Paid", {"amount": 7})
        assert state(run("state", "order-2")) == {"status": "Paid", "paid": 7, "total": 7}


# Fields


def test_fields_of_a_state_can_be_picked(run: Esctl) -> None:
    run("append", "picked-1", "T", '{"a":{"b":1.50},"s":"text","n":null}')
    done = run("state", "picked-1", "--fields", "stream,version,state.a.b,state.s,state.n,state.no.such")
    assert done.stdout == (
        '{"stream":"picked-1","version":1,"state.a.b":1.50,"state.s":"text","state.n":null,"state.no.such":null}\n'
    )
    csv = run("state", "picked-1", "--fields", "state.s, state.a", "-o", "csv").stdout.splitlines()
    assert csv == ["state.s,state.a", 'text,"{""b"":1.50}"']


@pytest.mark.parametrize("name", ["nope", "stream.x", "state.", "", "time.a"])
def test_a_field_that_no_state_has_is_refused(run: Esctl, name: str) -> None:
    run("append", "picked-1", "T")
    done = run("state", "picked-1", "--fields", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no field" in done.stderr


def test_what_could_be_folded_is_printed_before_an_event_that_does_not_fit(run: Esctl) -> None:
    run("append", "order-1", "Paid", "amount=ten")
    done = run("state", "order-1", "--each", "-o", "raw", "--error-format", "json")
    assert done.returncode == 6
    assert [json.loads(line) for line in done.stdout.splitlines()] == [PLACED, PAID]
    error = json.loads(done.stderr)
    assert (error["position"], error["field"]) == (7, "aggregate.order.on.Paid.add.paid")


@pytest.mark.parametrize("format_", ["ndjson", "json", "table", "csv"])
def test_all_others_are_printed_and_those_that_do_not_fit_are_named(run: Esctl, format_: str) -> None:
    run("append", "order-1", "Paid", "amount=ten")
    done = run("state", "--all", "--aggregate", "order", "-o", format_)
    assert done.returncode == 6
    assert "order-2" in done.stdout
    assert "order-1" not in done.stdout
    assert "the event at position 7 in order-1 does not fit" in done.stderr
    if format_ == "json":
        assert [one["stream"] for one in json.loads(done.stdout)] == ["order-2"]
