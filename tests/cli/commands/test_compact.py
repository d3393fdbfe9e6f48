"""`esctl compact`: free space goes back, and nothing else."""

from __future__ import annotations

import json
import sqlite3
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


def with_free_pages(run: Esctl) -> None:
    for _ in range(3):
        run("snapshot", "take", "s")
        run("append", "s", "T", json.dumps({"y": "y" * 30_000}))
    run("snapshot", "prune", "--keep", "0")


def test_compacting_gives_back_what_is_free_and_loses_nothing(run: Esctl, tmp_path: Path) -> None:
    before = run("replay").stdout
    with_free_pages(run)
    done = json.loads(run("compact").stdout)
    assert done["freed"] == done["before"] - done["after"] > 0
    assert (tmp_path / "esctl.db").stat().st_size == done["after"]
    assert run("replay", "--until", "#200").stdout == before
    assert run("verify").returncode == 0
    assert json.loads(run("compact").stdout)["freed"] == 0


def test_a_reader_in_the_middle_of_something_is_waited_for_by_nobody(run: Esctl, tmp_path: Path) -> None:
    with_free_pages(run)
    reader = sqlite3.connect(tmp_path / "esctl.db", isolation_level=None)
    reader.execute("begin")
    reader.execute("select count(*) from events").fetchone()
    done = run("compact", "--timeout", "0.2")
    reader.close()
    assert done.returncode == 8
    assert "the file shrinks later" in done.stderr
    assert run("compact").returncode == 0
