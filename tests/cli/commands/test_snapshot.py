"""`esctl snapshot`: states taken, listed, verified, pruned."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import Esctl, records, succeeded
from tests.logs import alter

COLUMNS = ("stream", "aggregate", "version", "position", "time", "bytes", "taken", "problem")
VERIFIED = ("stream", "aggregate", "version", "path", "before", "after")
MODEL = """
[aggregate.order]
streams = "order-*"
snapshot = { every = 3, on = ["Closed"] }
on."*".add = { n = 1 }
[aggregate.pay]
streams = "pay-*"
on."*".add = { n = 2 }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with three orders (one closed, one long), a payment and a cart; it is copied, never used."""
    folder = tmp_path_factory.mktemp("snapshot")
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(folder / "log.db", write=True, create=True) as log:
        for stream, type_ in (
            ("order-1", "Placed"), ("order-1", "Closed"), ("order-2", "Placed"), ("order-3", "Placed"),
            ("order-3", "Paid"), ("order-3", "Sent"), ("pay-1", "Paid"), ("cart-1", "Filled"),
        ):  # fmt: skip
            log.append(stream, type_, {"a": 1})
        log.apply_model(folder / "model.toml")
    return folder / "log.db"


@pytest.fixture
def run(run: Esctl, made: Path, log_path: Path) -> Esctl:
    """Run esctl on such a log of this test's own."""
    shutil.copy(made, log_path)
    return run


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The records of a command that went well."""
    succeeded(done)
    return records(done)


def streams(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [row["stream"] for row in rows(done)]


# take


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


# list


@pytest.mark.parametrize(
    ("format_", "empty"), [("ndjson", ""), ("json", "[]\n"), ("csv", ",".join(COLUMNS) + "\n"), ("table", "")]
)
def test_a_log_without_snapshots_has_an_empty_list(run: Esctl, format_: str, empty: str) -> None:
    done = run("snapshot", "list", "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


def test_a_list_is_newest_first_in_each_stream(run: Esctl) -> None:
    for _ in range(3):
        assert run("append", "cart-1", "Filled").returncode == 0
        assert run("snapshot", "take", "cart-1").returncode == 0
    assert run("snapshot", "take", "pay-1").returncode == 0
    assert [(row["stream"], row["version"]) for row in rows(run("snapshot", "list"))] == [
        ("cart-1", 4), ("cart-1", 3), ("cart-1", 2), ("pay-1", 1),
    ]  # fmt: skip
    assert streams(run("snapshot", "list", "pay-1")) == ["pay-1"]


def test_a_list_says_why_a_snapshot_is_not_used(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    assert run("snapshot", "take", "order-1", "pay-1", "cart-1").returncode == 0
    (tmp_path / "model.toml").write_text(MODEL.replace("n = 1 }", "m = 1 }").partition("[aggregate.pay]")[0])
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "model.toml")
    assert {row["stream"]: row["problem"] for row in rows(run("snapshot", "list"))} == {
        "cart-1": None,
        "order-1": "the aggregate folds in another way now",
        "pay-1": "the model has no aggregate pay",
    }


# verify


def test_sound_snapshots_verify(run: Esctl) -> None:
    assert run("snapshot", "take", "--all").returncode == 0
    done = run("snapshot", "verify")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "4 snapshots verified, 0 stale ones left out\n"
    assert run("snapshot", "verify", "-q").stderr == ""
    assert run("snapshot", "verify", "order-1").stderr.startswith("1 snapshot verified")


def test_a_snapshot_that_was_altered_is_found_and_never_used(run: Esctl, log_path: Path) -> None:
    assert run("snapshot", "take", "order-3", "pay-1").returncode == 0
    alter(log_path, """update snapshots set state = '{"n":99}' where position = 6""")
    assert rows(run("state", "order-3"))[0]["state"] == {"n": 3}
    assert {row["stream"]: row["problem"] for row in rows(run("snapshot", "list"))} == {
        "order-3": "it is damaged",
        "pay-1": None,
    }
    done = run("snapshot", "verify", "--error-format", "json")
    assert done.returncode == 6
    (difference,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert difference == {
        "stream": "order-3", "aggregate": "order", "version": 3, "path": "n", "before": 99, "after": 3,
    }  # fmt: skip
    assert json.loads(done.stderr.splitlines()[-1])["error"] == "verification"


@pytest.mark.parametrize("text", ["{", "", "null", "[1]", '{"n":', "x" * 100])
def test_a_snapshot_of_garbage_is_found_and_never_used(run: Esctl, log_path: Path, text: str) -> None:
    assert run("snapshot", "take", "order-3").returncode == 0
    alter(log_path, f"update snapshots set state = '{text}'")
    assert rows(run("state", "order-3"))[0]["state"] == {"n": 3}
    assert run("snapshot", "verify").returncode == 6
    assert json.loads(run("snapshot", "prune").stdout) == {"pruned": 1}


def test_no_difference_is_empty_in_every_format(run: Esctl) -> None:
    for format_, empty in (("json", "[]\n"), ("csv", ",".join(VERIFIED) + "\n"), ("table", "")):
        done = run("snapshot", "verify", "-o", format_, "-q")
        assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


# prune


def test_all_but_the_newest_are_pruned_and_those_of_no_use(run: Esctl, log_path: Path) -> None:
    for _ in range(3):
        assert run("append", "cart-1", "Filled").returncode == 0
        assert run("snapshot", "take", "cart-1", "pay-1").returncode == 0
    alter(
        log_path,
        "update snapshots set state = '{}' where stream_id = (select stream_id from streams where name = 'pay-1')",
    )
    assert rows(run("snapshot", "prune", "cart-1", "--keep", "2")) == [{"pruned": 1}]
    assert rows(run("snapshot", "prune")) == [{"pruned": 2}]
    assert [(row["stream"], row["version"]) for row in rows(run("snapshot", "list"))] == [("cart-1", 4)]
    assert rows(run("snapshot", "prune", "--keep", "0")) == [{"pruned": 1}]
    assert rows(run("snapshot", "prune")) == [{"pruned": 0}]


def test_snapshots_change_no_state_and_are_no_part_of_the_log(run: Esctl) -> None:
    before = run("state", "order-3").stdout, run("head").stdout, run("replay", "--system").stdout
    assert run("snapshot", "take", "--all").returncode == 0
    assert (run("state", "order-3").stdout, run("head").stdout, run("replay", "--system").stdout) == before
    assert run("verify", "--full").returncode == 0
