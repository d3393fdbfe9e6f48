"""`esctl log`: the story of a stream, for people and for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import Esctl, records, start, succeeded

MODEL = """
[aggregate.order]
streams = "order-*"
on.Placed.set = { status = "Placed", total = "$.total" }
on.Paid.set = { status = "Paid" }
on.Noted.set = { note = "$.note" }

[aggregate.order.accept]
Paid = "state ->> 'status' = 'Placed'"
"""
NAMES = (
    "position", "stream", "version", "type", "time", "elapsed", "changes", "causation_id", "cause", "marks",
    "erased", "refused",
)  # fmt: skip


@pytest.fixture
def run(run: Esctl, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on a log with an order: placed (1), paid (3) because of it, paid again, which rules refuse, noted."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.append("order-1", "Placed", {"total": 5}, id="first", time="2026-01-01T00:00:00Z")
        log.append("cart-1", "Filled", {"a": 1})
        log.append("order-1", "Paid", id="second", time="2026-01-02T01:30:00Z", meta={"causation_id": "first"})
        log.append("order-1", "Paid", time="2026-01-02T01:30:10Z")
        log.append("order-1", "Noted", {"note": "secret"}, time="2026-01-02T01:30:10.5Z")
        log.apply_model(tmp_path / "model.toml")
    return run


def test_a_line_of_json_has_the_changes_and_the_seconds_since_the_event_before(run: Esctl) -> None:
    rows = [json.loads(line) for line in succeeded(run("log", "order-1")).splitlines()]
    assert all(tuple(row) == NAMES for row in rows)
    assert [(row["position"], row["elapsed"]) for row in rows] == [(1, None), (3, 91800), (4, 10), (5, 0.5)]
    assert rows[1]["changes"] == [{"path": "status", "change": "changed", "before": "Placed", "after": "Paid"}]
    assert [row["causation_id"] for row in rows] == [None, "first", None, None]
    assert [row["cause"] for row in rows] == [None, 1, None, None]
    assert [row["refused"] for row in rows] == [False, False, True, False]


def test_a_table_tells_each_event_on_a_line_with_what_is_special_first(run: Esctl) -> None:
    assert run("mark", "payday", "#3").returncode == 0
    lines = [line.rstrip() for line in succeeded(run("log", "order-1", "-o", "table", "--utc")).splitlines()]
    assert lines == [
        "position  time                  elapsed    type    changes",
        "#1        2026-01-01 00:00:00Z             Placed  status: Placed, total: 5",
        "#3        2026-01-02 01:30:00Z  +1d 01:30  Paid    [payday] (caused by #1) status: Placed → Paid",
        "#4        2026-01-02 01:30:10Z  +00:00:10  Paid    (refused)",
        "#5        2026-01-02 01:30:10Z  +0.5s      Noted   note: secret",
    ]


def test_a_type_that_all_events_share_is_said_once(run: Esctl) -> None:
    done = run("log", "order-1", "--since", "v2", "--until", "v3", "-o", "table")
    assert done.stderr == "note: the type of each event is Paid\n"
    assert done.stdout.splitlines()[0].split() == ["position", "time", "elapsed", "changes"]


def test_an_erased_event_is_told_as_erased(run: Esctl) -> None:
    assert run("erase", "5", "--reason", "asked for", "--yes", "--force").returncode == 0
    assert records(run("log", "order-1"))[-1]["erased"]
    assert succeeded(run("log", "order-1", "-o", "table")).splitlines()[-1].rstrip().endswith("(erased)")


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ("--last 2", [4, 5]), ("--limit 1", [1]), ("--since v3", [4, 5]), ("--until v2", [1, 3]),
        ("--since 2026-01-02 --until #4", [3, 4]), ("--since #3 --limit 2", [3, 4]), ("--since v9", []),
    ],
)  # fmt: skip
def test_the_filters_are_those_of_replay(run: Esctl, options: str, positions: list[int]) -> None:
    assert [row["position"] for row in records(run("log", "order-1", *options.split()))] == positions
    assert [row["position"] for row in records(run("replay", "order-1", *options.split()))] == positions


def test_an_event_that_cannot_be_folded_ends_the_story_after_those_before_it(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "adds.toml").write_text('[aggregate.cart]\nstreams = "cart-*"\non."*".add = { a = "$.a" }\n')
    assert run("append", "cart-1", "Filled", "a=much").returncode == 0
    assert run("model", "apply", str(tmp_path / "adds.toml"), "--yes").returncode == 0
    done = run("log", "cart-1")
    assert done.returncode == 6
    assert [row["position"] for row in records(done)] == [2]


def test_csv_has_the_changes_as_json(run: Esctl) -> None:
    header, first, *_ = succeeded(run("log", "order-1", "-o", "csv")).splitlines()
    assert header == ",".join(NAMES)
    assert '"[{""path"":""status""' in first


def test_a_stream_that_is_not_there_is_exit_3(run: Esctl) -> None:
    done = run("log", "order-2")
    assert (done.returncode, done.stdout) == (3, "")
    assert "did you mean order-1?" in done.stderr


# --stat, --register, --follow


def test_stat_counts_each_type_and_tells_how_long_it_takes(run: Esctl) -> None:
    assert records(run("log", "order-1", "--stat")) == [
        {"type": "Paid", "events": 2, "median": 10, "p90": 91800},
        {"type": "Noted", "events": 1, "median": 0.5, "p90": 0.5},
        {"type": "Placed", "events": 1, "median": None, "p90": None},
    ]
    shown = succeeded(run("log", "order-1", "--stat", "-o", "table")).splitlines()
    assert [line.split() for line in shown[:2]] == [
        ["type", "events", "median", "p90"], ["Paid", "2", "00:00:10", "1d", "01:30"]
    ]  # fmt: skip


def test_a_register_has_amounts_and_the_value_after_each(run: Esctl) -> None:
    (row,) = records(run("log", "order-1", "--register", "total"))
    assert (row["position"], row["type"], row["amount"], row["value"]) == (1, "Placed", 5, 5)
    heading, line = succeeded(run("log", "order-1", "--register", "total", "-o", "table")).splitlines()
    assert heading.split() == ["position", "time", "type", "amount", "total"]
    assert line.split()[-3:] == ["Placed", "5", "5"]


@pytest.mark.parametrize("format_", ["ndjson", "table"])
def test_followed_it_tells_new_events_as_they_arrive(run: Esctl, log_path: Path, format_: str) -> None:
    following = start(log_path, "log", "order-1", "--last", "1", "--limit", "2", "--follow", "-o", format_)
    assert following.stdout is not None
    lines = [following.stdout.readline()]
    time.sleep(0.1)
    assert following.poll() is None
    assert run("append", "order-1", "Noted", "note=new").returncode == 0
    lines += following.communicate(timeout=30)[0].splitlines()
    assert following.returncode == 0
    if format_ == "ndjson":
        assert [json.loads(line)["position"] for line in lines] == [5, 7]
    else:
        assert [line.split()[0] for line in lines] == ["#5", "#7"]
        assert lines[1].rstrip().endswith("note: secret → new")


@pytest.mark.parametrize(
    "options",
    ["--stat --follow", "--stat --register total", "--follow --until v2", "--follow --as-of now", "--follow -o csv"],
)
def test_options_that_exclude_each_other_are_refused(run: Esctl, options: str) -> None:
    done = run("log", "order-1", *options.split())
    assert (done.returncode, done.stdout) == (2, "")
