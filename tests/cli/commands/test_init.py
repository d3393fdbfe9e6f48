"""`esctl init`: a log appears whole, private and once."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands.model.conftest import MODEL
from tests.conftest import ESCTL, Esctl


def record(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert isinstance(made, dict)
    return made


def test_init_makes_esctl_db_in_this_folder_and_nothing_else(esctl: Esctl, tmp_path: Path) -> None:
    made = record(esctl("init"))
    assert (made["log"], made["created"]) == ("esctl.db", True)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(made["log_id"]))
    assert [path.name for path in tmp_path.iterdir()] == ["esctl.db"]


@pytest.mark.parametrize("how", ["option", "environment"])
def test_init_makes_the_log_that_is_named(esctl: Esctl, tmp_path: Path, how: str) -> None:
    path = tmp_path / "a b é.db"
    done = esctl("init", "--log", str(path)) if how == "option" else esctl("init", env={"ESCTL_LOG": str(path)})
    assert record(done)["log"] == str(path)
    assert esctl("head", "--log", str(path)).returncode == 0


def test_a_log_is_made_here_though_a_folder_above_has_one(esctl: Esctl, tmp_path: Path) -> None:
    record(esctl("init"))
    (tmp_path / "below").mkdir()
    record(esctl("init", cwd=tmp_path / "below"))
    assert (tmp_path / "below" / "esctl.db").exists()


def test_the_file_can_be_used_by_its_owner_alone_whatever_the_umask(esctl: Esctl, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        record(esctl("init"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "esctl.db").stat().st_mode) == 0o600


def test_the_file_says_what_it_is(esctl: Esctl, tmp_path: Path) -> None:
    log_id = record(esctl("init"))["log_id"]
    connection = sqlite3.connect(tmp_path / "esctl.db")
    pragmas = {
        name: connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("application_id", "user_version", "journal_mode", "auto_vacuum")
    }
    head = connection.execute("select log_id, position from head").fetchone()
    connection.close()
    assert pragmas == {"application_id": 0x65736374, "user_version": 6, "journal_mode": "wal", "auto_vacuum": 2}
    assert head == (log_id, 0)


@pytest.mark.parametrize("kind", ["log", "file", "folder", "dangling link"])
def test_init_overwrites_nothing(esctl: Esctl, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "esctl.db"
    if kind == "log":
        record(esctl("init"))
    elif kind == "file":
        path.write_bytes(b"precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    before = path.read_bytes() if path.is_file() else None
    done = esctl("init")
    assert (done.returncode, done.stdout) == (2, "")
    assert "esctl.db exists already" in done.stderr
    assert before == (path.read_bytes() if path.is_file() else None)
    assert [path.name for path in tmp_path.iterdir()] == ["esctl.db"]


def test_if_missing_keeps_a_log_that_is_there(esctl: Esctl) -> None:
    first = record(esctl("init", "--if-missing"))
    assert first["created"] is True
    assert esctl("append", "s", "T").returncode == 0
    assert record(esctl("init", "--if-missing")) == {**first, "created": False}
    assert esctl("head").stdout.startswith("1:")


def test_if_missing_does_not_take_another_file_for_a_log(esctl: Esctl, tmp_path: Path) -> None:
    (tmp_path / "esctl.db").write_bytes(b"precious")
    done = esctl("init", "--if-missing")
    assert (done.returncode, done.stdout) == (7, "")
    assert (tmp_path / "esctl.db").read_bytes() == b"precious"


def test_a_folder_that_is_not_there_is_not_made(esctl: Esctl, tmp_path: Path) -> None:
    done = esctl("init", "--log", "nowhere/esctl.db")
    assert (done.returncode, done.stdout) == (8, "")
    assert "nowhere/esctl.db" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_of_many_inits_at_once_one_makes_the_log(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [ESCTL, "init", "--log", "shared.db"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2, 2, 2]
    (made,) = [json.loads(output) for output in outputs if output]
    connection = sqlite3.connect(tmp_path / "shared.db")
    assert connection.execute("select log_id from head").fetchone() == (made["log_id"],)
    connection.close()
    assert [path.name for path in tmp_path.iterdir()] == ["shared.db"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are bytes on Linux alone")
def test_a_file_name_that_is_not_unicode_is_fine(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.db")
    for command in (["init"], ["append", "s", "T"], ["head"], ["verify"]):
        done = subprocess.run([ESCTL, *command, "--log", name], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), command
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_log_can_be_made_with_its_model(esctl: Esctl, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    assert esctl("init", "--log", "new.db", "--model", "model.toml").returncode == 0
    assert esctl("model", "show", "--log", "new.db").stdout == MODEL


def test_the_model_of_a_log_that_is_there_already_is_not_changed_and_the_note_says_how(
    esctl: Esctl, tmp_path: Path
) -> None:
    (tmp_path / "model.toml").write_text(MODEL)
    record(esctl("init"))
    done = esctl("init", "--if-missing", "--model", "model.toml")
    assert (done.returncode, json.loads(done.stdout)["created"]) == (0, False)
    assert "its model was not changed: esctl model apply model.toml" in done.stderr
    assert esctl("model", "show").returncode == 3
