"""`esctl upcast rewrite`: a new log in the newest schemas."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from esctl import open_log
from tests.cli.commands.upcast.conftest import misfitting
from tests.conftest import ESCTL, Esctl, records

REPORT = ("log", "log_id", "events", "rewritten", "split", "hidden", "moved", "head")


def test_a_rewriting_reports_what_it_did_and_the_new_log_is_sound(run: Esctl, tmp_path: Path) -> None:
    done = run("upcast", "rewrite", "--to", "new.db", "--yes")
    assert done.returncode == 0
    (report,) = records(done)
    assert tuple(report) == REPORT
    assert (report["events"], report["rewritten"], report["split"], report["hidden"]) == (4, 2, 1, 1)
    assert run("verify", "--full", "-l", str(tmp_path / "new.db")).returncode == 0
    assert run("head", "-l", str(tmp_path / "new.db")).stdout == f"{report['head']}\n"
    raw = records(run("replay", "--raw-schema", "-l", str(tmp_path / "new.db")))
    assert [(event["id"], event["type"], event["schema"]) for event in raw] == [
        ("a", "Paid", 2), ("b", "Heartbeat", 1), ("c/1", "A", 1), ("c/2", "B", 1), ("d", "Paid", 2),
    ]  # fmt: skip


def test_a_rewriting_needs_a_yes_where_nobody_can_be_asked(run: Esctl, tmp_path: Path) -> None:
    done = run("upcast", "rewrite", "--to", "new.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"\nfix: esctl .* --yes\n\Z", done.stderr)
    assert not (tmp_path / "new.db").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(run: Esctl, tmp_path: Path) -> None:
    done = run("upcast", "rewrite", "--to", "new.db", "--dry-run")
    assert done.returncode == 0
    assert records(done) == [{"to": "new.db", "events": 4, "rewritten": 2, "split": 1, "hidden": 1}]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".db") == ["log.db"]


@pytest.mark.parametrize(("target", "code"), [("there.db", 2), ("log.db", 2), ("none/new.db", 8)])
def test_a_target_that_cannot_be_made_is_told_and_nothing_is_changed(
    run: Esctl, tmp_path: Path, target: str, code: int
) -> None:
    (tmp_path / "there.db").write_text("mine", encoding="utf-8")
    head = run("head").stdout
    done = run("upcast", "rewrite", "--to", target, "--yes")
    assert (done.returncode, done.stdout) == (code, "")
    assert (tmp_path / "there.db").read_text(encoding="utf-8") == "mine"
    assert run("head").stdout == head
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]


def test_a_target_that_is_there_is_told_before_anything_is_asked(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("mine", encoding="utf-8")
    assert "there.db exists already" in run("upcast", "rewrite", "--to", "there.db", "--dry-run").stderr


def test_an_event_that_does_not_fit_stops_it_and_leaves_nothing(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    misfitting(log_path, tmp_path)
    done = run("upcast", "rewrite", "--to", "new.db", "--yes", "--error-format", "json")
    assert (done.returncode, done.stdout) == (6, "")
    assert json.loads(done.stderr.splitlines()[-1])["position"] == 4
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_a_signal_ends_dies_of_it_and_leaves_nothing(
    run: Esctl, log_path: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    assert run("types").returncode == 0
    with open_log(log_path, write=True) as log:
        for _ in range(3):
            log.append_all({"stream": "p", "type": "Paid", "schema": 1, "data": {"amount": n}} for n in range(10_000))
    command = [ESCTL, "upcast", "rewrite", "--to", "new.db", "--yes", "-q"]
    environment = {**os.environ, "ESCTL_LOG": str(log_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not [path for path in tmp_path.iterdir() if path.name.startswith(".new.db")]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signum)
        process.communicate(timeout=20)
    assert process.returncode == -signum
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]
