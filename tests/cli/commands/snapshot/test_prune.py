"""`esctl snapshot prune`: snapshots that nobody needs, removed."""

from __future__ import annotations

from pathlib import Path

from tests.cli.commands.snapshot.conftest import rows
from tests.conftest import Esctl
from tests.logs import alter


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
