"""`esctl snapshot list`: the snapshots of a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl import open_log
from tests.cli.commands.snapshot.conftest import COLUMNS, MODEL, rows, streams
from tests.conftest import Esctl


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
        "order-1": "the aggregate has changed, or how esctl folds it",
        "pay-1": "the model has no aggregate pay",
    }
