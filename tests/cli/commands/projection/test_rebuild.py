"""`esctl projection rebuild`: a projection, from the first event on."""

from __future__ import annotations

from tests.cli.commands.projection.conftest import HEAD, Run


def test_a_rebuild_makes_the_next_version_and_tells_that_it_is_live(run: Run) -> None:
    assert run("projection", "run").code == 0
    rows = run("projection", "show", "daily_revenue").out
    (record,) = run("projection", "rebuild", "daily_revenue").records
    assert record == {"projection": "daily_revenue", "version": 4, "position": HEAD, "read": HEAD, "switched": True}
    states = [
        (r["version"], r["state"]) for r in run("projection", "list").records if r["projection"] == "daily_revenue"
    ]
    assert states == [(4, "live"), (2, "previous")]
    assert run("projection", "show", "daily_revenue").out == rows
    (record,) = run("projection", "rebuild", "daily_revenue", "--from-scratch").records
    assert (record["version"], record["switched"]) == (5, True)
