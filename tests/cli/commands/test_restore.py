"""`esctl restore`: a log from a backup, or none."""

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


def test_a_backup_is_restored_under_a_new_name(run: Esctl) -> None:
    run("backup", "backup.db")
    head = run("head", "--log", "backup.db").stdout.strip()
    done = run("restore", "backup.db", "--log", "new.db", "--expect-head", head)
    assert (done.returncode, json.loads(done.stdout)["log"]) == (0, "new.db")
    assert run("replay", "--log", "new.db").stdout == run("replay").stdout
    assert run("restore", "backup.db", "--log", "new.db").returncode == 2


def test_a_head_that_a_restored_log_lacks_is_reported(run: Esctl) -> None:
    run("backup", "backup.db")
    run("append", "s", "Later")
    done = run("restore", "backup.db", "--log", "new.db", "--expect-head", run("head").stdout.strip())
    assert done.returncode == 6
    assert "the log ends at position 200" in done.stderr
    assert run("verify", "--log", "new.db").returncode == 0


def test_a_damaged_backup_is_not_restored(run: Esctl, tmp_path: Path) -> None:
    run("backup", "backup.db")
    with sqlite3.connect(tmp_path / "backup.db") as connection:
        connection.execute("update events set data = '{}' where position = 7")
    connection.close()
    done = run("restore", "backup.db", "--log", "new.db")
    assert (done.returncode, done.stdout) == (6, "")
    assert not (tmp_path / "new.db").exists()
