"""`esctl upcast check`: every stored event, read as the model has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esctl import open_log
from tests.cli.commands.upcast.conftest import misfitting
from tests.conftest import Esctl, records

ROTTEN = """
[[event.Paid.upcast]]
from = 1
rename = { amount = "sum" }
[event.Cart]
schema = 2
[aggregate.p]
streams = "p"
on.Paid.add = { total = "$.sum" }
"""
COUNTS = ("type", "schema", "events", "read_as", "failed")


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
        {"position": 4, "type": "Paid", "schema": 1, "kind": "upcast", "reason": "amount cannot be converted to number"}
    ]
    error = json.loads(done.stderr.splitlines()[-1])
    assert (error["error"], error["what"]) == ("verification", "1 stored event does not fit the model")


@pytest.mark.parametrize("format_", ["csv", "tsv", "table"])
def test_failures_are_told_on_stderr_where_stdout_has_no_place_for_them(
    run: Esctl, log_path: Path, tmp_path: Path, format_: str
) -> None:
    misfitting(log_path, tmp_path)
    done = run("upcast", "check", "-o", format_)
    assert done.returncode == 6
    assert len(done.stdout.splitlines()) == 4
    told = "#4 Paid 1: amount cannot be converted to number\nPaid 1: 1 of 2 events fail: upcast\nerror: "
    assert done.stderr.startswith(told)


@pytest.mark.parametrize("archived", [False, True])
def test_events_of_an_old_shape_without_a_chain_or_without_a_fold_are_listed(
    run: Esctl, log_path: Path, tmp_path: Path, *, archived: bool
) -> None:
    (tmp_path / "model.toml").write_text(ROTTEN, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "model.toml")
        log.append("p", "Paid", {"amount": 9})
    if archived:
        assert run("archive", "create", "--keep-last", "0", "--yes").returncode == 0
    done = run("upcast", "check")
    assert done.returncode == 6
    found = {(failure["position"], failure["kind"]) for row in records(done) for failure in row["failures"]}
    assert found == {(3, "no chain"), (4, "fold"), (7, "old shape")}
    assert [row["kinds"] for row in records(done) if row["failed"]] == [{"no chain": 1}, {"fold": 1}, {"old shape": 1}]


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


@pytest.mark.parametrize("words", ["upcast rewrite", "upcast show", "upcast check x", "upcast show Paid Cart"])
def test_a_wrong_command_line_is_exit_2(run: Esctl, words: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
