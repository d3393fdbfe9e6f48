"""`esctl snapshot take`: states, saved."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands.snapshot.conftest import COLUMNS, rows, streams
from tests.conftest import Esctl


def test_quiet_takes_and_prunes_without_a_receipt(run: Esctl) -> None:
    assert run("snapshot", "take", "order-3", "pay-1", "-q").stdout == ""
    assert streams(run("snapshot", "list")) == ["order-3", "pay-1"]
    assert run("snapshot", "prune", "--keep", "0", "-q").stdout == ""
    assert streams(run("snapshot", "list")) == []


def test_a_snapshot_that_is_taken_is_told_and_listed(run: Esctl) -> None:
    (taken,) = rows(run("snapshot", "take", "order-3"))
    assert tuple(taken) == COLUMNS
    said = {name: taken[name] for name in COLUMNS if name not in ("time", "taken")}
    assert said == {
        "stream": "order-3", "aggregate": "order", "version": 3, "position": 6, "bytes": len('{"n":3}'),
        "problem": None,
    }  # fmt: skip
    assert rows(run("snapshot", "list")) == [taken]


def test_snapshots_of_several_streams_are_taken_at_once(run: Esctl) -> None:
    assert streams(run("snapshot", "take", "order-3", "cart-1", "order-1")) == ["order-3", "cart-1", "order-1"]
    assert streams(run("snapshot", "list")) == ["cart-1", "order-1", "order-3"]


def test_a_stream_can_be_taken_twice(run: Esctl) -> None:
    assert streams(run("snapshot", "take", "order-1")) == ["order-1"]
    assert streams(run("snapshot", "take", "order-1")) == ["order-1"]
    assert streams(run("snapshot", "take", "order-1", "order-1")) == ["order-1", "order-1"]
    assert streams(run("snapshot", "list")) == ["order-1"]


def test_all_streams_of_all_aggregates_are_taken_or_those_of_one(run: Esctl) -> None:
    assert streams(run("snapshot", "take", "--all", "--aggregate", "pay")) == ["pay-1"]
    assert streams(run("snapshot", "take", "--all")) == ["order-1", "order-2", "order-3", "pay-1"]


def test_due_is_what_the_policies_ask_for_and_nothing_is_due_twice(run: Esctl) -> None:
    assert streams(run("snapshot", "take", "--due")) == ["order-1", "order-3"]
    assert streams(run("snapshot", "take", "--due")) == []
    assert run("append", "order-2", "Closed").returncode == 0  # whose policy takes it inside the append or later
    assert set(streams(run("snapshot", "list"))) | set(streams(run("snapshot", "take", "--due"))) >= {"order-2"}


def test_nothing_due_is_empty_in_every_format(run: Esctl) -> None:
    for format_, empty in (("json", "[]\n"), ("csv", ",".join(COLUMNS) + "\n"), ("table", "")):
        done = run("snapshot", "take", "--due", "--aggregate", "pay", "-o", format_)
        assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


def test_a_stream_that_is_not_there_among_several_leaves_what_was_taken_and_says_so(run: Esctl) -> None:
    done = run("snapshot", "take", "order-1", "order-9")
    assert done.returncode == 3
    assert [json.loads(line)["stream"] for line in done.stdout.splitlines()] == streams(run("snapshot", "list"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("take", 2), ("take order-1 --all", 2), ("take --all --due", 2), ("take order-9", 3),
        ("take order-1 --aggregate nope", 3), ("take --all --aggregate nope", 3), ("list order-9", 3),
        ("verify order-9", 3), ("verify --sample 0", 2), ("prune order-9", 3), ("prune --keep -1", 2),
    ],
)  # fmt: skip
def test_a_wrong_question_is_told_and_prints_no_data(run: Esctl, words: str, code: int) -> None:
    done = run("snapshot", *words.split(), "--error-format", "json")
    assert (done.returncode, done.stdout) == (code, "")
    assert json.loads(done.stderr.splitlines()[-1])["exit"] == code


def test_snapshots_change_no_state_and_are_no_part_of_the_log(run: Esctl) -> None:
    before = run("state", "order-3").stdout, run("head").stdout, run("replay", "--system").stdout
    assert run("snapshot", "take", "--all").returncode == 0
    assert (run("state", "order-3").stdout, run("head").stdout, run("replay", "--system").stdout) == before
    assert run("verify", "--full").returncode == 0
