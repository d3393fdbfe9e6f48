"""`esctl upcast`: stored events against the model, chains shown, a log written anew."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import ESCTL, Esctl, records

MODEL = """
[[event.Paid.upcast]]
from = 1
rename = { amount = "sum" }
[[event.Heartbeat.upcast]]
from = 1
drop = true
[[event.Cart.upcast]]
from = 1
split = [ { type = "A" }, { type = "B", remove = ["x"] } ]
"""
MISFIT = '[[event.Paid.upcast]]\nfrom = 1\nconvert = { amount = "number" }\n'
COUNTS = ("type", "schema", "events", "read_as", "failed")
STEPS = ("step", "from", "to", "operations", "position", "before", "after")
REPORT = ("log", "log_id", "events", "rewritten", "split", "hidden", "moved", "head")


@pytest.fixture
def run(run: Esctl, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on a log with a payment, a heartbeat, a cart, and a payment over no number."""
    with open_log(log_path, write=True) as log:
        log.append("p", "Paid", {"amount": 5}, id="a", schema=1)
        log.append("p", "Heartbeat", id="b", schema=1)
        log.append("p", "Cart", {"x": 1}, id="c", schema=1)
        log.append("p", "Paid", {"amount": "much"}, id="d", schema=1)
        (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
        log.apply_model(tmp_path / "model.toml")
        (tmp_path / "misfit.toml").write_text(MISFIT, encoding="utf-8")
    return run


def misfitting(log_path: Path, tmp_path: Path) -> None:
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "misfit.toml")


# check


def test_a_check_counts_by_stored_type_and_schema(run: Esctl) -> None:
    done = run("upcast", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert [tuple(row[name] for name in COUNTS) for row in records(done)] == [
        ("Cart", 1, 1, "A 1 + B 1", 0),
        ("Heartbeat", 1, 1, "nothing", 0),
        ("Paid", 1, 2, "Paid 2", 0),
    ]


def test_a_failure_is_named_with_position_and_reason_and_is_exit_6(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    misfitting(log_path, tmp_path)
    done = run("upcast", "check", "--error-format", "json")
    assert done.returncode == 6
    assert [failure for row in records(done) for failure in row["failures"]] == [
        {"position": 4, "type": "Paid", "schema": 1, "reason": "amount cannot be converted to number"}
    ]
    error = json.loads(done.stderr.splitlines()[-1])
    assert (error["error"], error["what"]) == ("verification", "1 stored events do not fit the model")


@pytest.mark.parametrize("format_", ["csv", "tsv", "table"])
def test_failures_are_told_on_stderr_where_stdout_has_no_place_for_them(
    run: Esctl, log_path: Path, tmp_path: Path, format_: str
) -> None:
    misfitting(log_path, tmp_path)
    done = run("upcast", "check", "-o", format_)
    assert done.returncode == 6
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr.startswith("#4 Paid 1: amount cannot be converted to number\nerror: ")


def test_the_command_that_is_told_shows_the_event_as_it_is_stored(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    misfitting(log_path, tmp_path)
    fix = run("upcast", "check").stderr.splitlines()[-1]
    assert fix.startswith("fix: esctl replay --since '#4' --limit 1 --raw-schema")
    (event,) = records(run("replay", "--since", "#4", "--limit", "1", "--raw-schema"))
    assert event["data"] == {"amount": "much"}


def test_a_sample_reads_about_as_many_as_asked_for(run: Esctl) -> None:
    assert sum(row["events"] for row in records(run("upcast", "check", "--sample", "2"))) in (2, 3)
    assert run("upcast", "check", "--sample", "0").returncode == 2


@pytest.mark.parametrize(
    ("format_", "empty"), [("ndjson", ""), ("json", "[]\n"), ("csv", ",".join(COUNTS) + "\n"), ("table", "")]
)
def test_a_check_of_an_empty_log_is_empty_in_every_format(esctl: Esctl, format_: str, empty: str) -> None:
    esctl("init", "-l", "empty.db")
    done = esctl("upcast", "check", "-l", "empty.db", "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


# show


def test_a_chain_is_shown_with_what_it_makes_of_a_stored_event(run: Esctl) -> None:
    done = run("upcast", "show", "Paid")
    assert (done.returncode, done.stderr) == (0, "")
    (step,) = records(done)
    assert tuple(step) == STEPS
    assert step == {
        "step": 1, "from": "Paid 1", "to": "Paid 2", "operations": "rename amount to sum", "position": 1,
        "before": {"amount": 5}, "after": {"sum": 5},
    }  # fmt: skip


@pytest.mark.parametrize(("format_", "first"), [("csv", ",".join(STEPS)), ("tsv", "\t".join(STEPS)), ("json", "[")])
def test_a_chain_is_shown_in_every_format(run: Esctl, format_: str, first: str) -> None:
    assert run("upcast", "show", "Cart", "-o", format_).stdout.splitlines()[0] == first


def test_a_table_shows_the_fields_that_a_step_changes(run: Esctl, log_path: Path) -> None:
    with open_log(log_path, write=True) as log:
        log.append("p", "Cart", {f"field{n}": n for n in range(9)}, schema=1)
    lines = run("upcast", "show", "Paid", "-o", "table", env={"COLUMNS": "80"}).stdout.splitlines()
    assert "changes     amount 5 -> -, sum - -> 5" in lines


@pytest.mark.parametrize("type_", ["Nothing", "A"])
def test_a_type_without_upcasts_is_not_there(run: Esctl, type_: str) -> None:
    done = run("upcast", "show", type_)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the model has upcasts of Paid, Heartbeat, Cart" in done.stderr


# rewrite


def test_a_rewriting_reports_what_it_did_and_the_new_log_is_sound(run: Esctl, tmp_path: Path) -> None:
    done = run("upcast", "rewrite", "--to", "new.db", "--yes")
    assert done.returncode == 0
    (report,) = records(done)
    assert tuple(report) == REPORT
    assert (report["events"], report["rewritten"], report["split"], report["hidden"]) == (4, 2, 1, 1)
    assert run("verify", "--full", "-l", str(tmp_path / "new.db")).returncode == 0
    assert run("head", "-l", str(tmp_path / "new.db")).stdout == f"{report['head']}\n"
    raw = records(run("replay", "--raw-schema", "-l", str(tmp_path / "new.db")))
    assert [(event["id"], event["type"], event["schema"]) for event in raw] == [
        ("a", "Paid", 2), ("b", "Heartbeat", 1), ("c/1", "A", 1), ("c/2", "B", 1), ("d", "Paid", 2),
    ]  # fmt: skip


def test_a_rewriting_needs_a_yes_where_nobody_can_be_asked(run: Esctl, tmp_path: Path) -> None:
    done = run("upcast", "rewrite", "--to", "new.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"\nfix: esctl .* --yes\n\Z", done.stderr)
    assert not (tmp_path / "new.db").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(run: Esctl, tmp_path: Path) -> None:
    done = run("upcast", "rewrite", "--to", "new.db", "--dry-run")
    assert done.returncode == 0
    assert records(done) == [{"to": "new.db", "events": 4, "rewritten": 2, "split": 1, "hidden": 1}]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".db") == ["log.db"]


@pytest.mark.parametrize(("target", "code"), [("there.db", 2), ("log.db", 2), ("none/new.db", 8)])
def test_a_target_that_cannot_be_made_is_told_and_nothing_is_changed(
    run: Esctl, tmp_path: Path, target: str, code: int
) -> None:
    (tmp_path / "there.db").write_text("mine", encoding="utf-8")
    head = run("head").stdout
    done = run("upcast", "rewrite", "--to", target, "--yes")
    assert (done.returncode, done.stdout) == (code, "")
    assert (tmp_path / "there.db").read_text(encoding="utf-8") == "mine"
    assert run("head").stdout == head
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]


def test_a_target_that_is_there_is_told_before_anything_is_asked(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("mine", encoding="utf-8")
    assert "there.db is there already" in run("upcast", "rewrite", "--to", "there.db", "--dry-run").stderr


def test_an_event_that_does_not_fit_stops_it_and_leaves_nothing(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    misfitting(log_path, tmp_path)
    done = run("upcast", "rewrite", "--to", "new.db", "--yes", "--error-format", "json")
    assert (done.returncode, done.stdout) == (6, "")
    assert json.loads(done.stderr.splitlines()[-1])["position"] == 4
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_a_signal_ends_dies_of_it_and_leaves_nothing(
    run: Esctl, log_path: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    assert run("types").returncode == 0
    with open_log(log_path, write=True) as log:
        for _ in range(3):
            log.append_all({"stream": "p", "type": "Paid", "schema": 1, "data": {"amount": n}} for n in range(10_000))
    command = [ESCTL, "upcast", "rewrite", "--to", "new.db", "--yes", "-q"]
    environment = {**os.environ, "ESCTL_LOG": str(log_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not [path for path in tmp_path.iterdir() if path.name.startswith(".new.db")]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signum)
        process.communicate(timeout=20)
    assert process.returncode == -signum
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


@pytest.mark.parametrize("words", ["upcast rewrite", "upcast show", "upcast check x", "upcast show Paid Cart"])
def test_a_wrong_command_line_is_exit_2(run: Esctl, words: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
