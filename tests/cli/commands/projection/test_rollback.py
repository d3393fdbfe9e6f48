"""`esctl projection rollback`: the previous version of a projection."""

from __future__ import annotations

from tests.cli.commands.projection.conftest import Run, told


def test_a_rollback_brings_the_version_before_back(run: Run) -> None:
    assert run("projection", "run").code == 0
    told(run("projection", "rollback", "daily_revenue", "--error-format", "json"), 3)
    assert run("projection", "rebuild", "daily_revenue").code == 0
    (record,) = run("projection", "rollback", "daily_revenue").records
    assert (record["version"], record["switched"]) == (2, True)
    assert run("projection", "verify").code == 0
    again = run("projection", "rollback", "daily_revenue")
    assert again.code == 0
    assert '"version":2' in again.out
    assert '"switched":false' in again.out
    assert "daily_revenue is rolled back already" in again.err
