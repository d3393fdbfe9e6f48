"""What is printed of a projection that is brought to the head."""

from __future__ import annotations

from tests.cli.commands.projection.conftest import HEAD, RUN, Run


def test_a_quiet_run_is_done_and_prints_nothing(run: Run) -> None:
    assert run("projection", "run", "-q") == (0, "", "")
    assert {record["position"] for record in run("projection", "list").records} == {HEAD}


def test_a_run_is_a_table_on_a_terminal(run: Run) -> None:
    header, *rows = run("projection", "run", "-o", "table").out.splitlines()
    assert header.split() == RUN
    assert len(rows) == 3
