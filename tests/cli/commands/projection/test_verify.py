"""`esctl projection verify`: projections, compared with what events make of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.commands.projection.conftest import Run
from tests.logs import alter


def test_sound_projections_verify(run: Run) -> None:
    assert run("projection", "run").code == 0
    assert run("projection", "verify") == (0, "", "3 projections verified\n")
    assert run("projection", "verify", "-q") == (0, "", "")
    assert run("projection", "verify", "daily_revenue").err.startswith("1 projection")


def test_a_cell_that_somebody_changed_is_found_with_exit_6(run: Run, log: Path) -> None:
    assert run("projection", "run").code == 0
    alter(log, "update daily_revenue set received = 1 where day = '2026-01-02'")
    done = run("projection", "verify", "--error-format", "json")
    assert done.code == 6
    cells = {cell["column"]: cell for cell in map(json.loads, done.out.splitlines())}
    assert (cells["received"]["before"], cells["received"]["after"]) == (1.0, 248.1)
    said = json.loads(done.err.splitlines()[-1])
    assert said["error"] == "verification"
    assert re.fullmatch(r"esctl projection rebuild --log \S+ daily_revenue", said["fix"])
    assert run("projection", "verify", "customer_orders").code == 0
    assert run("projection", "rebuild", "daily_revenue").code == 0
    assert run("projection", "verify").code == 0


def test_what_an_erasure_has_yet_to_rebuild_is_noted_and_named_it_is_refused(run: Run, log: Path) -> None:
    assert run("projection", "run").code == 0
    alter(log, "update projections set fingerprint = '' where name = 'daily_revenue'")
    done = run("projection", "verify")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("note: the rows of daily_revenue are from before an erasure;")
    assert done.err.endswith("\n2 projections verified\n")
    assert run("projection", "verify", "daily_revenue").code == 4


@pytest.mark.parametrize(
    ("sql", "change"),
    [
        ("delete from daily_revenue where day = '2026-01-02'", "added"),
        ("insert into daily_revenue(day) values ('2030-01-01')", "gone"),
    ],
)
def test_a_row_that_somebody_took_or_added_is_found(run: Run, log: Path, sql: str, change: str) -> None:
    assert run("projection", "run").code == 0
    alter(log, sql)
    done = run("projection", "verify")
    assert done.code == 6
    assert {json.loads(line)["change"] for line in done.out.splitlines()} == {change}
