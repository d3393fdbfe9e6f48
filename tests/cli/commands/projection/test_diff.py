"""`esctl projection diff`: what differs between two points or two definitions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands.projection.conftest import CELLS, Run, told
from tests.conftest import SAMPLE


def test_differences_between_two_points_are_told_cell_by_cell_with_exit_10(run: Run) -> None:
    done = run("projection", "diff", "customer_orders", "--from", "#100", "--to", "#110")
    assert (done.code, done.err) == (10, "")
    cells = [json.loads(line) for line in done.out.splitlines()]
    assert all(list(cell) == CELLS for cell in cells)
    assert {"table": "customer_orders", "change": "changed", "key": {"customer_id": "203"}, "column": "orders",
            "before": 2, "after": 3} in cells  # fmt: skip
    assert {"added", "changed"} == {cell["change"] for cell in cells}
    assert {cell["table"] for cell in cells} == {"customer_orders", "order_history"}
    back = run("projection", "diff", "customer_orders", "--from", "#110", "--to", "#100")
    assert {"gone", "changed"} == {json.loads(line)["change"] for line in back.out.splitlines()}


def test_a_difference_reaches_to_the_head_unless_it_is_said(run: Run) -> None:
    one = run("projection", "diff", "daily_revenue", "--from", "2026-03-15")
    assert (one.code, one.out) == (
        10,
        run("projection", "diff", "daily_revenue", "--from", "2026-03-15", "--to", "now").out,
    )


def test_another_definition_is_compared_without_being_applied(run: Run, log: Path, tmp_path: Path) -> None:
    assert run("projection", "run").code == 0
    before = log.read_bytes()
    text = (SAMPLE / "shop.toml").read_text(encoding="utf-8")
    (tmp_path / "same.toml").write_text(text, encoding="utf-8")
    assert run("projection", "diff", "daily_revenue", "--model", "same.toml") == (0, "", "")
    (tmp_path / "new.toml").write_text(text.replace("payments = payments + 1,", "payments = payments + 2,"))
    done = run("projection", "diff", "daily_revenue", "--model", "new.toml")
    assert done.code == 10
    assert {json.loads(line)["column"] for line in done.out.splitlines()} == {"payments"}
    assert log.read_bytes() == before


@pytest.mark.parametrize(("name", "code"), [("none.toml", 3), ("bad.toml", 5)])
def test_a_model_that_cannot_be_read_is_told(run: Run, tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "bad.toml").write_text("[projection.x]\nnope = 1\n")
    told(run("projection", "diff", "daily_revenue", "--model", name, "--error-format", "json"), code)
