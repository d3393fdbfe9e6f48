"""`esctl backup`: a consistent copy while the log is in use, or none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import ESCTL, LIMITED, Esctl, succeeded, write_empty_log

COUNT = 10_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of many events, which tests copy."""
    path = write_empty_log(tmp_path_factory.mktemp("large") / "log.db")
    with open_log(path, write=True) as log:
        log.append_all({"stream": f"s-{i % 10}", "type": "T", "data": {"i": i, "x": "x" * 50}} for i in range(COUNT))
    return path


@pytest.fixture
def filled(large: Path, log_path: Path) -> Path:
    """A log of many events."""
    shutil.copy(large, log_path)
    return log_path


@pytest.fixture
def writer(filled: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that appends all the time."""
    code = (
        "import subprocess,sys\n"
        "p=subprocess.Popen([sys.argv[1],'append','--batch','20','--log',sys.argv[2]],stdin=subprocess.PIPE)\n"
        "print('go',flush=True)\n"
        "try:\n"
        '  for i in range(10**9): p.stdin.write(b\'{"stream":"w-%d","type":"T","data":%d}\\n\'%(i%7,i))\n'
        "except BrokenPipeError: pass\n"
    )
    command = [sys.executable, "-c", code, ESCTL, str(filled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_backup_is_the_whole_log(run: Esctl, esctl: Esctl, filled: Path, tmp_path: Path) -> None:
    made = json.loads(succeeded(run("backup", "copy.db")))
    size = (tmp_path / "copy.db").stat().st_size
    assert made == {"file": "copy.db", "head": run("head").stdout.strip(), "bytes": size}
    assert succeeded(esctl("replay", "--hash", "--log", "copy.db")) == succeeded(run("replay", "--hash"))
    assert json.loads(succeeded(esctl("verify", "--log", "copy.db")))["ok"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", filled.name]


def test_a_backup_can_be_used_by_its_owner_alone_whatever_the_umask(run: Esctl, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        succeeded(run("backup", "copy.db"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


def test_a_backup_is_a_log_that_can_be_appended_to(run: Esctl, esctl: Esctl) -> None:
    succeeded(run("append", "s", "T"))
    succeeded(run("backup", "copy.db"))
    assert json.loads(succeeded(esctl("append", "s", "T", "--log", "copy.db")))["version"] == 2
    assert succeeded(run("head")).startswith("1:")


def test_a_backup_while_another_process_appends_is_a_prefix_and_whole(
    run: Esctl, esctl: Esctl, writer: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    heads = [succeeded(run("head")).strip()]
    for n in range(3):
        while succeeded(run("head")).strip() == heads[-1]:
            assert writer.poll() is None  # it is in the middle of it
        heads.append(json.loads(succeeded(run("backup", f"copy-{n}.db")))["head"])
    assert writer.poll() is None
    writer.kill()
    events = succeeded(run("replay", "--hash")).splitlines()
    for n, head in enumerate(heads[1:]):
        position = int(head.partition(":")[0])
        assert (position - COUNT) % 20 == 0
        assert json.loads(succeeded(esctl("verify", "--log", f"copy-{n}.db")))["head"] == head
        assert succeeded(esctl("replay", "--hash", "--log", f"copy-{n}.db")).splitlines() == events[:position]
    assert json.loads(succeeded(run("verify", "--expect-head", heads[-1])))["events"] >= position
    assert position > COUNT
    assert {path.name for path in tmp_path.iterdir()} >= {"copy-0.db", "copy-1.db", "copy-2.db"}


@pytest.mark.parametrize("kind", ["file", "log", "link", "dangling link", "folder", "the log itself"])
def test_a_backup_overwrites_nothing(run: Esctl, esctl: Esctl, log_path: Path, tmp_path: Path, kind: str) -> None:
    succeeded(run("append", "s", "T"))
    target = log_path if kind == "the log itself" else tmp_path / "target"
    if kind == "file":
        target.write_bytes(b"precious")
    elif kind == "log":
        succeeded(esctl("init", "--log", str(target)))
    elif kind == "folder":
        target.mkdir()
    elif "link" in kind:
        target.symlink_to(log_path if kind == "link" else tmp_path / "nowhere")
    before = target.read_bytes() if target.is_file() else None
    done = run("backup", str(target))
    assert (done.returncode, done.stdout) == (2, "")
    assert "exists already" in done.stderr
    assert "name a file that does not exist" in done.stderr
    assert before == (target.read_bytes() if target.is_file() else None)
    assert {path.name for path in tmp_path.iterdir()} == {log_path.name, target.name}
    assert succeeded(run("head")).startswith("1:")


def test_a_folder_that_is_not_there_is_not_made(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    done = run("backup", "nowhere/copy.db")
    assert (done.returncode, done.stdout) == (8, "")
    assert "nowhere/copy.db" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [log_path.name]


def test_without_a_log_nothing_is_made(esctl: Esctl, tmp_path: Path) -> None:
    assert esctl("backup", "copy.db", "--log", "missing.db").returncode == 3
    (tmp_path / "text.db").write_text("no database\n" * 100, encoding="utf-8")
    assert esctl("backup", "copy.db", "--log", "text.db").returncode == 7
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_a_target_has_to_be_named(run: Esctl) -> None:
    assert run("backup").returncode == 2


def test_a_full_disk_leaves_no_copy_and_says_so(run: Esctl, filled: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(500_000), ESCTL, "backup", "copy.db", "--log", str(filled)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (8, "")
    assert "copy.db" in done.stderr
    assert "not an error" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [filled.name]
    assert json.loads(succeeded(run("verify")))["events"] == COUNT


def written(folder: Path) -> int:
    """How many bytes of copies there are, whatever they are called as yet."""
    size = 0
    for file in folder.glob("*copy-*"):
        with suppress(FileNotFoundError):  # it just got its name
            size += file.stat().st_size
    return size


def test_a_backup_that_is_killed_leaves_a_whole_copy_or_none(
    run: Esctl, esctl: Esctl, filled: Path, tmp_path: Path
) -> None:
    for n, part in enumerate((0, 0.01, 0.5, 1)):
        before = written(tmp_path)
        copy = tmp_path / f"copy-{n}.db"
        with subprocess.Popen(
            [ESCTL, "backup", copy.name, "--log", str(filled)], cwd=tmp_path, stdout=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and written(tmp_path) - before < part * filled.stat().st_size:
                pass  # it is killed in the middle of its work, not after a time
            process.send_signal(signal.SIGKILL)
        if copy.exists():
            assert json.loads(succeeded(esctl("verify", "--log", copy.name)))["events"] == COUNT
        else:
            assert esctl("head", "--log", copy.name).returncode == 3
    succeeded(run("backup", "last.db"))
    assert json.loads(succeeded(run("verify")))["ok"] is True
