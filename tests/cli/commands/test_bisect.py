"""`esctl bisect`: the first event after which a condition on the state holds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.log import EventLog
from esctl.states import snapshot_care
from tests.conftest import Esctl

MODEL = """
[aggregate.account]
streams = "account-*"
initial = { balance = 0 }
on.Paid.add = { balance = "$.amount" }
on.Drawn.subtract = { balance = "$.amount" }
"""
AMOUNTS = [("Paid", 5), ("Drawn", 3), ("Drawn", 4), ("Paid", 9), ("Drawn", 1), ("Drawn", 9)]
FIELDS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta", "state")
OVERDRAWN = "state ->> 'balance' < 0"


@pytest.fixture
def run(run: Esctl, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on a log with an account: overdrawn by its third event, not after its fourth, and by its last."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "model.toml")
        for type_, amount in AMOUNTS:
            log.append("account-1", type_, {"amount": amount}, meta={"by": "zoe"})
    return run


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    return dict(json.loads(line))


def test_the_first_event_after_which_it_holds_is_printed_with_the_state_after_it(run: Esctl) -> None:
    event = found(run("bisect", "account-1", "--when", OVERDRAWN))
    assert tuple(event) == FIELDS
    assert (event["version"], event["type"], event["data"], event["meta"]) == (3, "Drawn", {"amount": 4}, {"by": "zoe"})
    assert event["state"] == {"balance": -2}


@pytest.mark.parametrize(
    ("when", "version"),
    [("1", 1), ("state ->> 'balance' >= 5", 1), ("state ->> 'balance' = 7", 4), ("version = 2", 2)],
)
def test_a_condition_is_asked_after_every_event(run: Esctl, when: str, version: int) -> None:
    assert found(run("bisect", "account-1", "--when", when))["version"] == version


def test_it_says_on_stderr_how_it_looked_unless_it_is_to_be_quiet(run: Esctl) -> None:
    assert run("bisect", "account-1", "--when", OVERDRAWN).stderr == "bisect: one pass, events folded: 3\n"
    assert run("bisect", "account-1", "--when", OVERDRAWN, "-q").stderr == ""


@pytest.mark.parametrize("condition", ["0", "null", "state ->> 'balance' > 100", "state ->> 'nothing' = 1"])
def test_what_holds_nowhere_is_exit_10(run: Esctl, condition: str) -> None:
    done = run("bisect", "account-1", "--when", condition, "--error-format", "json")
    assert (done.returncode, done.stdout) == (10, "")
    assert json.loads(done.stderr)["error"] == "difference"


@pytest.mark.parametrize("point", [["--until", "v2"], ["--until", "#3"], ["--as-of", "#3"]])
def test_it_looks_up_to_a_point(run: Esctl, point: list[str]) -> None:
    assert run("bisect", "account-1", "--when", OVERDRAWN, *point).returncode == 10


def test_a_condition_that_stays_true_is_found_between_two_snapshots_if_wanted(run: Esctl, log_path: Path) -> None:
    assert run("append", "account-1", "Drawn", "amount:=90").returncode == 0
    with EventLog(log_path, write=True) as log:
        assert snapshot_care.take(log, "account-1") is not None
    done = run("bisect", "account-1", "--when", "state ->> 'balance' < -50", "--monotonic")
    assert (found(done)["version"], done.stderr) == (
        7,
        "bisect: snapshots checked: 1, events folded: 7; takes for granted that the condition, once true, stays true\n",
    )


@pytest.mark.parametrize("when", [OVERDRAWN, "state ->> 'balance' = 7"])
def test_snapshots_change_no_answer(run: Esctl, log_path: Path, when: str) -> None:
    without = found(run("bisect", "account-1", "--when", when))
    for amount in ("3", "50"):  # after the second snapshot the condition is false again
        assert run("append", "account-1", "Paid", f"amount:={amount}").returncode == 0
        with EventLog(log_path, write=True) as log:
            assert snapshot_care.take(log, "account-1") is not None
        assert found(run("bisect", "account-1", "--when", when)) == without
        assert found(run("bisect", "account-1", "--when", when, "--no-snapshot")) == without


def test_halving_and_no_snapshot_exclude_each_other(run: Esctl) -> None:
    done = run("bisect", "account-1", "--when", OVERDRAWN, "--monotonic", "--no-snapshot")
    assert (done.returncode, done.stdout) == (2, "")


def test_an_event_that_cannot_be_folded_is_named_if_nothing_holds_before_it(run: Esctl) -> None:
    # A stream that no aggregate covers takes any amount; with --aggregate it is folded like an account.
    assert run("append", "purse-1", "Paid", "amount:=5").returncode == 0
    assert run("append", "purse-1", "Paid", "amount=much").returncode == 0
    assert run("append", "purse-1", "Paid", "amount:=5").returncode == 0
    asked = ("bisect", "purse-1", "--aggregate", "account", "--when")
    assert found(run(*asked, "state ->> 'balance' >= 5"))["version"] == 1
    done = run(*asked, "state ->> 'balance' >= 9", "--error-format", "json")
    assert (done.returncode, done.stdout) == (6, "")
    told = json.loads(done.stderr)
    assert (told["error"], told["position"]) == ("misfit", 9)
    assert "amount" in told["what"]


def test_json_is_an_array_with_what_ndjson_prints(run: Esctl) -> None:
    (event,) = json.loads(run("bisect", "account-1", "--when", OVERDRAWN, "-o", "json").stdout)
    assert event == found(run("bisect", "account-1", "--when", OVERDRAWN, "-o", "ndjson"))


@pytest.mark.parametrize(("format_", "separator"), [("csv", ","), ("tsv", "\t")])
def test_csv_has_a_header_and_a_row(run: Esctl, format_: str, separator: str) -> None:
    lines = run("bisect", "account-1", "--when", OVERDRAWN, "-o", format_).stdout.splitlines()
    assert lines[0] == separator.join(FIELDS)
    assert lines[1].startswith(f"4{separator}account-1{separator}3{separator}")


def test_raw_is_a_payload_or_a_state_alone_and_no_envelope(run: Esctl) -> None:
    done = run("bisect", "account-1", "--when", OVERDRAWN, "-o", "raw")
    assert done.stdout in ('{"amount":4}\n', '{"balance":-2}\n')


def test_on_a_terminal_it_is_a_line_a_field(run: Esctl) -> None:
    lines = run("bisect", "account-1", "--when", OVERDRAWN, "-o", "table").stdout.splitlines()
    assert ["state.balance", "-2"] in [line.split() for line in lines]
    assert ["type", "Drawn"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["account-1"], 2),
        (["account-1", "--when", "nope"], 2),
        (["account-1", "--when", ""], 2),
        (["account-1", "--when", "random() > 0"], 2),
        (["account-1", "--when", "(select 1 from events)"], 2),
        (["account-1", "--when", "1; drop table events"], 2),
        (["account-1", "--when", "1", "--until", "garbage"], 2),
        (["account-9", "--when", "1"], 3),
        (["account-1", "--when", "1", "--aggregate", "nope"], 3),
    ],
)
def test_a_wrong_question_is_told_and_prints_no_data(run: Esctl, words: list[str], code: int) -> None:
    done = run("bisect", *words, "--error-format", "json")
    assert (done.returncode, done.stdout) == (code, "")
    assert json.loads(done.stderr.splitlines()[-1])["exit"] == code


def test_a_condition_that_fails_in_sqlite_is_told_as_the_condition_s_failure(run: Esctl) -> None:
    done = run("bisect", "account-1", "--when", "json_extract('{', '$.a') = 1")
    assert done.returncode == 2
    assert "damaged" not in done.stderr
