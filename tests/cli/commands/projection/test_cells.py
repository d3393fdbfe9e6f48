"""Cells that differ between two builds of a projection, as they are printed."""

from __future__ import annotations

import pytest

from tests.cli.commands.projection.conftest import CELLS, Run


@pytest.mark.parametrize(
    ("format_", "empty"), [("ndjson", ""), ("json", "[]\n"), ("csv", ",".join(CELLS) + "\n"), ("table", "")]
)
def test_no_differences_are_empty_in_every_format(run: Run, format_: str, empty: str) -> None:
    done = run("projection", "diff", "daily_revenue", "--from", "#100", "--to", "#100", "-o", format_)
    assert done == (0, empty, "")


def test_the_key_of_a_difference_is_an_object_or_a_text(run: Run) -> None:
    csv = run("projection", "diff", "daily_revenue", "--from", "#1", "--to", "#20", "-o", "csv").out.splitlines()
    assert csv[1].split(",")[:4] == ["daily_revenue", "added", "2026-01-02", "payments"]
    table = run("projection", "diff", "daily_revenue", "--from", "#1", "--to", "#20", "-o", "table").out.splitlines()
    assert table[0].split() == CELLS
