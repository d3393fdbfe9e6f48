"""`esctl migrate`: an older log is brought up to date, after a copy and a yes."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esctl.store.format import STORAGE_VERSION
from tests.conftest import ESCTL, Esctl
from tests.logs import alter

OLD = f"pragma application_id = {0x65736374}; create table keepsake (x); pragma journal_mode = wal"


def version(file: Path) -> int:
    connection = sqlite3.connect(file)
    (number,) = connection.execute("pragma user_version").fetchone()
    connection.close()
    assert isinstance(number, int)
    return number


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A log from before the first migration."""
    path = tmp_path / "old.db"
    alter(path, OLD)
    return path


@pytest.mark.parametrize("options", [[], ["--check"], ["--dry-run"], ["--yes"]])
def test_a_log_that_is_up_to_date_needs_nothing(
    esctl: Esctl, log_path: Path, tmp_path: Path, options: list[str]
) -> None:
    before = log_path.read_bytes()
    done = esctl("migrate", *options, "--log", log_path.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"log": log_path.name, "pending": 0, "steps": "", "copy": None}
    assert [path.name for path in tmp_path.iterdir()] == [log_path.name]
    assert log_path.read_bytes() == before


def test_check_says_by_its_exit_code_that_a_migration_is_needed(esctl: Esctl, old: Path, tmp_path: Path) -> None:
    done = esctl("migrate", "--check", "--log", "old.db")
    assert done.returncode == 7
    assert json.loads(done.stdout)["pending"] == 6
    assert "fix: esctl migrate --yes --log old.db" in done.stderr
    assert version(old) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]


def test_a_dry_run_prints_the_plan_and_does_nothing(esctl: Esctl, old: Path, tmp_path: Path) -> None:
    done = esctl("migrate", "--dry-run", "--log", "old.db")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "log": "old.db",
        "pending": 6,
        "steps": "m001_events m002_model m003_archive m004_projections m005_summaries_and_reactions m006_links",
        "copy": None,
    }
    assert version(old) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]


def test_without_a_yes_nothing_is_done_where_nobody_can_be_asked(esctl: Esctl, old: Path, tmp_path: Path) -> None:
    done = esctl("migrate", "--log", "old.db", input="y\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"^fix: esctl .* --yes$", done.stderr, re.MULTILINE)
    assert version(old) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]


def test_a_closed_stdin_is_no_yes_and_no_bug(old: Path, tmp_path: Path) -> None:
    command = ["sh", "-c", '"$@" <&-', "sh", ESCTL, "migrate", "--log", "old.db"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "bug" not in done.stderr
    assert version(old) == 0


def test_with_a_yes_the_log_is_copied_and_then_migrated(esctl: Esctl, old: Path, tmp_path: Path) -> None:
    done = esctl("migrate", "--yes", "--log", "old.db")
    assert done.returncode == 0
    assert json.loads(done.stdout)["copy"] == "old.db.v0.bak"
    assert (version(old), version(tmp_path / "old.db.v0.bak")) == (STORAGE_VERSION, 0)
    connection = sqlite3.connect(tmp_path / "old.db.v0.bak")
    assert [name for (name,) in connection.execute("select name from sqlite_schema")] == ["keepsake"]
    connection.close()
    assert json.loads(esctl("migrate", "--check", "--log", "old.db").stdout)["pending"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.db", "old.db.v0.bak"]


def on_a_terminal(log: Path, answer: bytes) -> int:
    """The exit code of a migration that is asked about on a terminal."""
    terminal, side = pty.openpty()
    command = [ESCTL, "migrate", "--log", str(log)]
    with subprocess.Popen(command, stdin=side, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(side)
        os.write(terminal, answer)
        process.communicate()
    os.close(terminal)
    return process.returncode


def test_on_a_terminal_a_yes_is_asked_for(old: Path, tmp_path: Path) -> None:
    assert on_a_terminal(old, b"y\n") == 0
    assert version(old) == STORAGE_VERSION
    assert (tmp_path / "old.db.v0.bak").exists()


def test_a_no_leaves_everything_as_it_is_and_is_not_a_signal(old: Path, tmp_path: Path) -> None:
    assert on_a_terminal(old, b"n\n") >= 0
    assert version(old) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]


def test_another_file_with_the_name_of_the_copy_is_kept(esctl: Esctl, old: Path, tmp_path: Path) -> None:
    (tmp_path / "old.db.v0.bak").write_bytes(b"precious")
    done = esctl("migrate", "--yes", "--log", "old.db")
    assert json.loads(done.stdout)["copy"] == "old.db.v0.1.bak"
    assert (tmp_path / "old.db.v0.bak").read_bytes() == b"precious"
    assert version(old) == STORAGE_VERSION


def test_a_log_that_others_have_open_is_not_migrated(esctl: Esctl, old: Path) -> None:
    code = (
        "import sqlite3,sys;c=sqlite3.connect(sys.argv[1],isolation_level=None);c.execute('begin immediate');"
        "print('held',flush=True);sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(old)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        started = time.monotonic()
        done = esctl("migrate", "--yes", "--timeout", "0.2", "--log", "old.db")
        assert time.monotonic() - started < 4
        assert (done.returncode, done.stdout) == (8, "")
        assert "stop what uses the log" in done.stderr
        holder.communicate("")
    assert version(old) == 0


@pytest.mark.parametrize(
    ("kind", "code"), [("missing", 3), ("folder", 2), ("text", 7), ("empty", 7), ("database", 7), ("newer", 7)]
)
def test_what_is_not_an_older_log_is_refused_and_left_as_it_is(
    esctl: Esctl, tmp_path: Path, log_path: Path, kind: str, code: int
) -> None:
    file = tmp_path / "it"
    if kind == "folder":
        file.mkdir()
    elif kind == "newer":
        alter(log_path, "pragma user_version = 99")
        log_path.rename(file)
    elif kind != "missing":
        file.write_bytes(b"no database\n" * 100 if kind == "text" else b"")
    if kind == "database":
        alter(file, "create table t (x)")
    before = file.read_bytes() if file.is_file() else None
    done = esctl("migrate", "--yes", "--log", "it")
    assert (done.returncode, done.stdout) == (code, "")
    assert "bug" not in done.stderr
    assert before == (file.read_bytes() if file.is_file() else None)


def test_a_newer_log_is_told_from_what_is_not_a_log(esctl: Esctl, log_path: Path) -> None:
    alter(log_path, "pragma user_version = 99")
    assert "newer" in esctl("migrate", "--log", log_path.name).stderr
