"""`esctl fork`: what a fork holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Esctl


@pytest.fixture
def run(esctl: Esctl) -> Esctl:
    """Runs esctl where there is a log of 200 events."""
    esctl("init")
    lines = "".join(f'{{"stream":"s","type":"T","data":{{"n":{n},"x":"{"x" * 400}"}}}}\n' for n in range(200))
    assert esctl("append", input=lines).returncode == 0
    return esctl


@pytest.mark.parametrize(("point", "events"), [("#120", 120), ("here", 200), ("2000-01-01", 0), ("now", 200)])
def test_a_fork_ends_at_a_point(run: Esctl, point: str, events: int) -> None:
    run("mark", "here")
    if point == "now":
        events += 1  # the mark is an event too
    done = run("fork", "fork.db", "--until", point)
    assert json.loads(done.stdout)["until"] == events
    assert run("verify", "--log", "fork.db").returncode == 0
    assert len(run("replay", "--log", "fork.db").stdout.splitlines()) == min(events, 200)


def test_a_point_that_is_not_there_makes_no_fork(run: Esctl, tmp_path: Path) -> None:
    done = run("fork", "fork.db", "--until", "#999")
    assert (done.returncode, done.stdout) == (3, "")
    assert not (tmp_path / "fork.db").exists()
