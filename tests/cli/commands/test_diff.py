"""`esctl diff`: what changed in a stream's state, path by path, and which event did it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import Esctl

COLUMNS = ("path", "change", "before", "after", "position", "type")
MODEL = """
[aggregate.order]
streams = "order-*"
initial = { status = "New" }
on.Placed.set = { status = "Placed", total = "$.total" }
on.Paid.set = { status = "Paid" }
on.Paid.append = { payments = "$.id" }
on.Closed.set = { status = "Closed" }
on.Closed.remove = ["total"]
"""


@pytest.fixture
def run(run: Esctl, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on a log with an order: placed (1), paid (3), noted (4), closed (5)."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.append("order-1", "Placed", {"total": 5}, time="2026-01-01T00:00:00Z")
        log.append("cart-1", "Filled", {"a": {"b": [1, 2]}})
        log.append("order-1", "Paid", {"id": "p1"}, time="2026-01-02T00:00:00Z")
        log.append("order-1", "Noted", time="2026-01-03T00:00:00Z")
        log.append("order-1", "Closed", time="2026-01-04T00:00:00Z")
        log.append("cart-1", "Filled", {"a": {"b": [1, 3]}, "odd.name": 1})
        log.apply_model(tmp_path / "model.toml")
    return run


def without_change(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(value for name, value in row.items() if name != "change") for row in rows]


def changes(done: subprocess.CompletedProcess[str]) -> list[tuple[Any, ...]]:
    assert (done.returncode, done.stderr) == (10, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(tuple(row) == COLUMNS for row in rows)
    return without_change(rows)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("--from v1 --to v2", [("payments[0]", None, "p1", 3, "Paid"), ("status", "Placed", "Paid", 3, "Paid")]),
        (
            "--from v1",
            [("payments[0]", None, "p1", 3, "Paid"), ("status", "Placed", "Closed", 5, "Closed"),
             ("total", 5, None, 5, "Closed")],
        ),
        ("--from v0 --to v1", [("status", "New", "Placed", 1, "Placed"), ("total", None, 5, 1, "Placed")]),
        ("--from #1 --to #3", [("payments[0]", None, "p1", 3, "Paid"), ("status", "Placed", "Paid", 3, "Paid")]),
        ("--from 2026-01-03 --to now", [("status", "Paid", "Closed", 5, "Closed"), ("total", 5, None, 5, "Closed")]),
    ],
)  # fmt: skip
def test_a_changed_path_is_told_with_both_values_and_the_event_that_did_it(
    run: Esctl, points: str, expected: list[tuple[Any, ...]]
) -> None:
    assert sorted(changes(run("diff", "order-1", *points.split()))) == expected


def test_a_snapshot_changes_no_answer(run: Esctl) -> None:
    before = changes(run("diff", "order-1", "--from", "v1"))
    assert run("snapshot", "take", "order-1").returncode == 0
    assert changes(run("diff", "order-1", "--from", "v1")) == before
    assert run("append", "order-1", "Placed", "total:=9").returncode == 0
    assert sorted(changes(run("diff", "order-1", "--from", "v4"))) == [
        ("status", "Closed", "Placed", 7 + 1, "Placed"), ("total", None, 9, 7 + 1, "Placed"),
    ]  # fmt: skip


def test_merged_payloads_are_compared_deeply(run: Esctl) -> None:
    found = changes(run("diff", "cart-1", "--from", "v1"))
    assert ("a.b[1]", 2, 3, 6, "Filled") in found
    assert len(found) == 2


def test_what_was_nothing_before_is_told_field_by_field(run: Esctl) -> None:
    assert [change[0] for change in changes(run("diff", "cart-1", "--from", "v0", "--to", "v1"))] == [
        "a.b[0]",
        "a.b[1]",
    ]


def test_paths_are_as_users_write_them(run: Esctl) -> None:
    for n in (1, 2):
        data = {"concept_instance": n, "http.method": n, "lines": [{"item-no": n}], "Größe": n, "two words": n}
        assert run("append", "event-1", "T", json.dumps(data)).returncode == 0
    assert {change[0] for change in changes(run("diff", "event-1", "--from", "v1"))} == {
        "concept_instance", '"http.method"', "lines[0].item-no", "Größe", '"two words"'
    }  # fmt: skip


def test_what_is_missing_is_told_apart_from_null(run: Esctl) -> None:
    # Merged payloads: null removes a key; so whole values are set.
    for data in ({"a": [None, 1], "b": [1]}, {"a": [1], "b": [1, None], "c": [None]}, {"a": [None], "b": [None]}):
        assert run("append", "x-1", "T", json.dumps(data)).returncode == 0
    rows = [json.loads(line) for line in run("diff", "x-1", "--from", "v1", "--to", "v2").stdout.splitlines()]
    assert {row["path"]: (row["change"], row["before"], row["after"]) for row in rows} == {
        "a[0]": ("changed", None, 1), "a[1]": ("gone", 1, None), "b[1]": ("added", None, None),
        "c[0]": ("added", None, None),
    }  # fmt: skip
    rows = [json.loads(line) for line in run("diff", "x-1", "--from", "v2").stdout.splitlines()]
    assert {row["path"]: (row["change"], row["before"], row["after"]) for row in rows} == {
        "a[0]": ("changed", 1, None), "b[0]": ("changed", 1, None), "b[1]": ("gone", None, None),
    }  # fmt: skip


def test_names_that_would_be_misread_in_a_path_can_be_told_apart(run: Esctl) -> None:
    data = json.dumps({"a.b": 1, "a": {"b": 2}, 'q"t': 3, "k[0]": 4})
    assert run("append", "odd-1", "T", "x=0").returncode == 0
    assert run("append", "odd-1", "T", data).returncode == 0
    found = changes(run("diff", "odd-1", "--from", "v1"))
    assert sorted(change[2] for change in found) == [1, 2, 3, 4]
    assert len({change[0] for change in found}) == 4
    assert {change[3] for change in found} == {9}  # the model stands at position 7


@pytest.mark.parametrize(
    ("format_", "empty"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", ",".join(COLUMNS) + "\n"), ("tsv", "\t".join(COLUMNS) + "\n"),
     ("table", "")],
)  # fmt: skip
def test_no_difference_is_exit_0_and_empty_in_every_format(run: Esctl, format_: str, empty: str) -> None:
    done = run("diff", "order-1", "--from", "v2", "--to", "v3", "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


@pytest.mark.parametrize("format_", ["json", "csv", "tsv", "table", "raw"])
def test_a_difference_is_exit_10_in_every_format_and_nothing_is_told_beside(run: Esctl, format_: str) -> None:
    done = run("diff", "order-1", "--from", "v1", "-o", format_)
    assert (done.returncode, done.stderr) == (10, "")
    assert "payments[0]" in done.stdout


def test_json_is_an_array_of_what_ndjson_prints(run: Esctl) -> None:
    rows = json.loads(run("diff", "order-1", "--from", "v1", "-o", "json").stdout)
    assert [tuple(value for name, value in row.items() if name != "change") for row in rows] == changes(
        run("diff", "order-1", "--from", "v1")
    )


def test_points_in_reverse_tell_the_way_back(run: Esctl) -> None:
    done = run("diff", "order-1", "--from", "v2", "--to", "v1")
    assert done.returncode == 10
    rows = {row["path"]: (row["before"], row["after"]) for row in map(json.loads, done.stdout.splitlines())}
    assert rows == {"payments[0]": ("p1", None), "status": ("Paid", "Placed")}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("order-1", 2),
        ("order-1 --from garbage", 2),
        ("order-1 --from v1 --to garbage", 2),
        ("--from v1", 2),
        ("order-9 --from v1", 3),
        ("order-1 --from v1 --aggregate nope", 3),
    ],
)
def test_a_wrong_question_is_told_and_prints_no_data(run: Esctl, words: str, code: int) -> None:
    done = run("diff", *words.split(), "--error-format", "json")
    assert (done.returncode, done.stdout) == (code, "")
    assert json.loads(done.stderr.splitlines()[-1])["exit"] == code
