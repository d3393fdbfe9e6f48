"""`esctl fork`: what a fork holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Esctl


@pytest.mark.parametrize(("point", "events"), [("#120", 120), ("here", 200), ("2000-01-01", 0), ("now", 200)])
def test_a_fork_ends_at_a_point(on_200: Esctl, point: str, events: int) -> None:
    on_200("mark", "here")
    if point == "now":
        events += 1  # the mark is an event too
    done = on_200("fork", "fork.db", "--until", point)
    assert json.loads(done.stdout)["until"] == events
    assert on_200("verify", "--log", "fork.db").returncode == 0
    assert len(on_200("replay", "--log", "fork.db").stdout.splitlines()) == min(events, 200)


def test_a_point_that_is_not_there_makes_no_fork(on_200: Esctl, tmp_path: Path) -> None:
    done = on_200("fork", "fork.db", "--until", "#999")
    assert (done.returncode, done.stdout) == (3, "")
    assert not (tmp_path / "fork.db").exists()


def test_a_fork_of_an_imported_past_ends_by_time(esctl: Esctl) -> None:
    esctl("init")
    lines = [f'{{"stream":"s","type":"T","time":"2026-0{month}-15T12:00:00Z"}}' for month in (1, 2, 3, 4)]
    assert esctl("append", input="\n".join(lines)).returncode == 0
    done = esctl("fork", "none.db", "--until", "2026-02")
    assert json.loads(done.stdout)["until"] == 0
    assert done.stderr == "note: nothing was recorded by 2026-02; 2 events happened by then; --by time counts these\n"
    done = esctl("fork", "two.db", "--until", "2026-02", "--by", "time")
    assert (json.loads(done.stdout)["until"], done.stderr) == (2, "")
    assert len(esctl("replay", "--log", "two.db").stdout.splitlines()) == 2
