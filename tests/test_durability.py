"""What was acknowledged is there: after SIGKILL, on a full disk, and synced before it is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ESCTL, LIMITED, Esctl, succeeded


def lines(count: int) -> str:
    return "".join(
        f'{{"stream":"s-{i % 7}","type":"T","id":"e-{i}","data":{{"x":"{"x" * 200}"}}}}\n' for i in range(count)
    )


# SIGKILL


def test_an_atomic_append_that_is_killed_left_nothing(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text(lines(30_000), encoding="utf-8")
    for delay in (0.15, 0.3, 0.45):
        command = [ESCTL, "append", "in.ndjson", "--atomic", "--log", str(log_path)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            told, _ = process.communicate()
        events = json.loads(succeeded(run("verify")))["events"]
        assert events in (0, 30_000)
        assert events == 30_000 or told == b""


def test_a_receipt_that_was_read_is_true_at_that_moment(log_path: Path) -> None:
    command = [ESCTL, "append", "--receipts", "--log", str(log_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for n in range(1, 6):
            process.stdin.write(b'{"stream":"s","type":"T"}\n')
            receipt = json.loads(process.stdout.readline())
            count = [sys.executable, "-c", COUNT, str(log_path)]
            assert subprocess.run(count, check=True, capture_output=True, text=True).stdout == f"{n}\n"
            assert receipt["position"] == n
        process.stdin.close()


@pytest.mark.parametrize("batches", ["--each", "--receipts"])
def test_a_log_that_is_renamed_under_a_writer_keeps_what_was_acknowledged(log_path: Path, batches: str) -> None:
    moved, told = log_path.with_name("moved.db"), 0
    command = [ESCTL, "append", *{batches, "--receipts"}, "--log", str(log_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for n in range(1, 5):
            process.stdin.write(b'{"stream":"s","type":"T"}\n')
            told += bool(process.stdout.readline())
            if n == 3:
                log_path.rename(moved)
        process.stdin.close()
        error = process.stderr.read()
        assert (process.wait(), told) == (8, 3), error
    count = [sys.executable, "-c", COUNT, str(moved)]
    assert subprocess.run(count, check=True, capture_output=True, text=True).stdout == "3\n"


COUNT = (
    "import sqlite3,sys;c=sqlite3.connect(sys.argv[1]);"
    "print(c.execute('select count(*) from events').fetchone()[0]);c.close()"
)


@pytest.mark.parametrize(
    "arguments",
    [["s", "T"], ["s", "T", "a=1"], ["--receipts"], ["--each"], ["--atomic"]],
    ids=" ".join,
)
def test_the_wal_is_synced_before_an_event_is_acknowledged(
    log_path: Path, tmp_path: Path, arguments: list[str]
) -> None:
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace does not work here")
    trace = tmp_path / "trace"
    command = [
        strace,
        "-f",
        "-y",
        "-e",
        "trace=fsync,fdatasync,write,pwrite64,writev",
        "-o",
        str(trace),
        ESCTL,
        "append",
    ]
    text = '{"stream":"s","type":"T"}\n'
    done = subprocess.run(
        [*command, *arguments, "--log", str(log_path)], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout).get("position", 1)) == (0, 1)
    calls = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    written = [i for i, call in enumerate(calls) if re.search(r"pwrite64\(\d+<[^>]*-wal>", call)]
    synced = [i for i, call in enumerate(calls) if re.search(r"f(data)?sync\(\d+<[^>]*-wal>", call)]
    told = [i for i, call in enumerate(calls) if re.search(r'write\(1<[^>]*>, "[^"]', call)]
    assert written
    assert synced
    assert told
    before = [i for i in written if i < told[0]]
    assert any(before[-1] < i < told[0] for i in synced)


# Full disks


def acknowledged(out: str) -> list[str]:
    """The ids of the receipts that were printed whole."""
    return [json.loads(line)["id"] for line in out.splitlines(keepends=True) if line.endswith("\n")]


def is_intact(run: Esctl, out: str) -> None:
    """The log is whole, holds what was acknowledged and whole batches of twenty, and goes on."""
    report = json.loads(succeeded(run("verify")))
    ids = [json.loads(line)["id"] for line in succeeded(run("replay")).splitlines()]
    told = acknowledged(out)
    assert 0 < len(told) < 20_000
    assert ids[: len(told)] == told
    assert (len(ids) % 20, report["events"]) == (0, len(ids))


def test_a_full_disk_keeps_what_was_acknowledged(run: Esctl, log_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, "2000000", ESCTL, "append", "--receipts", "--batch", "20"]
    done = subprocess.run(
        [*command, "--log", str(log_path)], input=lines(20_000), capture_output=True, text=True, check=False
    )
    assert done.returncode == 8
    assert done.stderr.startswith("error: ")
    assert "free space" in done.stderr
    is_intact(run, done.stdout)
    assert json.loads(succeeded(run("append", input=lines(20_000))))["duplicates"] >= len(acknowledged(done.stdout))
    assert json.loads(succeeded(run("verify")))["events"] == 20_000


@pytest.mark.parametrize("arguments", [["s", "T"], ["s", "T", "a=1"], []], ids=" ".join)
def test_a_full_disk_refuses_a_single_event_whole(run: Esctl, log_path: Path, arguments: list[str]) -> None:
    succeeded(run("append", "s", "T"))
    command = [sys.executable, "-c", LIMITED, "4096", ESCTL, "append", *arguments, "--log", str(log_path)]
    done = subprocess.run(command, input='{"stream":"s","type":"T"}', capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "bug" not in done.stderr
    assert json.loads(succeeded(run("verify")))["events"] == 1
    assert json.loads(succeeded(run("append", "s", "T")))["position"] == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    command = [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_that_fills_keeps_what_was_acknowledged(esctl: Esctl, small_disk: Path) -> None:
    log = ("--log", str(small_disk / "log.db"))
    succeeded(esctl("init", *log))
    done = esctl("append", "--receipts", "--batch", "20", *log, input=lines(20_000))
    assert done.returncode == 8
    assert "no room left" in done.stderr
    assert "free some space" in done.stderr
    (small_disk / "filler").write_bytes(b"x" * (small_disk_room(small_disk)))
    is_intact(lambda *arguments: esctl(*arguments, *log), done.stdout)
    (small_disk / "filler").unlink()


def test_nothing_is_stored_whose_receipt_has_no_room(run: Esctl, log_path: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (small_disk_room(small_disk)))
    for arguments in (["s", "T"], ["--receipts"]):
        with (small_disk / "receipts").open("ab") as out:
            done = subprocess.run(
                [ESCTL, "append", *arguments, "--log", str(log_path)],
                input=lines(1).encode(), stdout=out, stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (8, b"error: cannot write to stdout\n  No space left on device\n")
    assert succeeded(run("head")).startswith("0:")


def small_disk_room(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
