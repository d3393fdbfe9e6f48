"""`esctl snapshot take`: states, saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from esctl import open_log
from esctl.log import EventLog
from esctl.states import snapshot_care
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


# What reads the log, on an account that is overdrawn for a while, and has an event that happened late

ACCOUNT = """
[aggregate.account]
streams = "account-*"
initial = { balance = 0 }
on.Moved.add = { balance = "$.amount" }
[projection.moves]
table = "create table moves(position integer primary key, amount integer)"
on.Moved = "insert into moves values (new.position, new.data ->> 'amount')"
"""
OVERDRAWN = "state ->> 'balance' < 0"
READING = [
    ["state", "account-1"],
    *(["state", "account-1", *point.split()] for point in ("--until v4", "--as-of #6", "--until 2026-01-07")),
    ["state", "account-1", "--each"],
    ["state", "--all", "--aggregate", "account"],
    ["state", "--all", "--aggregate", "account", "--where", OVERDRAWN, "--until", "v2"],
    ["state", "account-1", "--aggregate", "account", "-o", "csv"],
    ["diff", "account-1", "--from", "v1"],
    ["diff", "account-1", "--from", "2026-01-03", "--to", "v9"],
    ["bisect", "account-1", "--when", OVERDRAWN],
    ["bisect", "account-1", "--when", "state ->> 'balance' = 20", "--until", "v9"],
    ["bisect", "account-1", "--when", "version >= 7", "-o", "csv"],
    ["query", "select * from states"],
    ["query", "select count(*), sum(version) from log"],
    ["replay"],
    ["replay", "account-1", "--since", "v5", "--where", "data ->> 'amount' < 0", "-o", "raw"],
    ["projection", "show", "moves"],
    ["projection", "show", "moves", "--until", "#5"],
    ["project", "account-1", "--sum", "data.amount"],
    ["show", "4"],
    ["streams"],
    ["types"],
    ["head"],
    ["verify"],
    ["upcast", "check"],
    ["model", "plan", "model.toml"],
    ["decide", "account-1", "--shell", "--exec", "cat >&2; exit 1"],
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A log with snapshots of several versions of two accounts, and the same log without any."""
    folder = tmp_path_factory.mktemp("both")
    with_, without = folder / "with.db", folder / "without.db"
    (folder / "model.toml").write_text(ACCOUNT, encoding="utf-8")
    with open_log(with_, write=True, create=True) as log:
        log.apply_model(folder / "model.toml")
        for n, amount in enumerate((10, -20, 30, 1, 1, 1, 1, 1, -100, 1, 1), 1):
            for stream, sign in (("account-1", 1), ("account-2", -1)):
                time = f"2026-01-{9 if n == 4 else n:02}T00:00:00Z"
                log.append(stream, "Moved", {"amount": sign * amount}, time=time)
            if n in (3, 5, 8, 11):
                with EventLog(with_, write=True) as other:
                    assert len(list(snapshot_care.take_many(other, None, due=False))) == 2
        log.project()
    shutil.copyfile(with_, without)
    with EventLog(without, write=True) as log:
        snapshot_care.prune(log, None, 0)
    return with_, without


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_that_reads_answers_the_same_with_snapshots_and_without(
    both: tuple[Path, Path], esctl: Esctl, words: list[str]
) -> None:
    asked = [str(both[0].with_name(word)) if word == "model.toml" else word for word in words]
    having, lacking = (esctl(*asked, "--log", str(path)) for path in both)
    assert (having.returncode, having.stdout, having.stderr) == (lacking.returncode, lacking.stdout, lacking.stderr)
    assert having.stdout or having.stderr
