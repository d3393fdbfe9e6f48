"""`esctl restore`: a log from a backup, or none."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.conftest import Esctl
from tests.logs import alter


def test_a_backup_is_restored_under_a_new_name(on_200: Esctl) -> None:
    on_200("backup", "backup.db")
    head = on_200("head", "--log", "backup.db").stdout.strip()
    done = on_200("restore", "backup.db", "--log", "new.db", "--expect-head", head)
    assert (done.returncode, json.loads(done.stdout)["log"]) == (0, "new.db")
    assert on_200("replay", "--log", "new.db").stdout == on_200("replay").stdout
    assert on_200("restore", "backup.db", "--log", "new.db").returncode == 2


def test_a_head_that_a_restored_log_lacks_is_reported(on_200: Esctl) -> None:
    on_200("backup", "backup.db")
    on_200("append", "s", "Later")
    done = on_200("restore", "backup.db", "--log", "new.db", "--expect-head", on_200("head").stdout.strip())
    assert done.returncode == 6
    assert "the log ends at position 200" in done.stderr
    assert on_200("verify", "--log", "new.db").returncode == 0


def test_a_damaged_backup_is_not_restored(on_200: Esctl, tmp_path: Path) -> None:
    on_200("backup", "backup.db")
    with sqlite3.connect(tmp_path / "backup.db") as connection:
        connection.execute("update events set data = '{}' where position = 7")
    connection.close()
    done = on_200("restore", "backup.db", "--log", "new.db")
    assert (done.returncode, done.stdout) == (6, "")
    assert not (tmp_path / "new.db").exists()


def test_a_missing_backup_is_named_and_no_empty_log_is_offered_for_it(on_200: Esctl, tmp_path: Path) -> None:
    done = on_200("restore", "missing.db", "--log", "new.db", "--error-format", "json")
    error = json.loads(done.stderr)
    assert (done.returncode, error["what"], error["fix"]) == (3, "there is no backup missing.db", "")
    assert not (tmp_path / "new.db").exists()


def test_a_log_of_what_is_whole_of_a_damaged_one_passes_every_check(on_200: Esctl, tmp_path: Path) -> None:
    alter(tmp_path / "esctl.db", "update events set data = '{}', salt = null where position = 7")
    done = on_200("restore", "--salvage", "esctl.db", "--log", "new.db")
    record = json.loads(done.stdout)
    assert (done.returncode, record["events"], record["lost"]) == (0, 199, 1)
    assert "position 7 is missing" in done.stderr
    assert on_200("verify", "--full", "--log", "new.db").returncode == 0
    lines = on_200("replay", "--log", "new.db").stdout.splitlines()
    assert lines[:6] + lines[7:] == on_200("replay", "--skip-damaged").stdout.splitlines()
    assert json.loads(lines[6])["data"] is None


def test_no_head_of_a_damaged_log_is_expected_in_what_is_whole_of_it(on_200: Esctl, tmp_path: Path) -> None:
    head = on_200("head").stdout.strip()
    done = on_200("restore", "--salvage", "esctl.db", "--log", "new.db", "--expect-head", head)
    assert done.returncode == 2
    assert not (tmp_path / "new.db").exists()
