"""A new log whose last bytes did not reach its file gets no name."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from esctl.errors import UnavailableError
from esctl.events.event import Head
from esctl.log import EventLog
from esctl.store.drafts import complete
from esctl.store.store import Store
from esctl.upkeep import copies, verify
from tests.conftest import ESCTL, LIMITED, environment, succeeded, write_empty_log
from tests.runner import ROOT
from tests.store.paths import names
from tests.stores import appended, events

DATA = ROOT / "tests" / "data"
COMPLETE = """
import resource, sys
from pathlib import Path
from typing import Any
from esctl.errors import UnavailableError
from esctl.events.event import Head
from esctl.log import EventLog
from esctl.store.drafts import complete

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    complete(Path("draft"), Path("target"), bytes.fromhex(sys.argv[2]))
except UnavailableError as error:
    sys.exit(f"{error.what}: {error.why}")
"""


@pytest.fixture
def head(tmp_path: Path) -> bytes:
    """A draft all of whose events are in its WAL still, as after a close that failed; the hash of its head."""
    write_empty_log(tmp_path / "log.db")
    with closing(Store(tmp_path / "log.db", write=True)) as store:
        appended(store, events(200))
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"log.db{end}", tmp_path / f"draft{end}")
        return store.head().hash


def test_what_a_failed_close_left_in_the_wal_gets_into_the_file(tmp_path: Path, head: bytes) -> None:
    complete(tmp_path / "draft", tmp_path / "target", head)
    assert names(tmp_path) == ["draft", "log.db"]
    shutil.copy(tmp_path / "draft", tmp_path / "alone.db")
    with closing(Store(tmp_path / "alone.db")) as store:
        assert store.head().hash == head


def test_a_file_that_cannot_take_the_rest_of_its_wal_is_refused(tmp_path: Path, head: bytes) -> None:
    room = (tmp_path / "draft").stat().st_size + 8192
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE, str(room), head.hex()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "target" in done.stderr
    assert "draft" not in done.stderr


def test_a_file_without_the_head_that_was_promised_is_refused(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "draft-wal").unlink()
    with pytest.raises(UnavailableError, match="cannot write") as caught:
        complete(tmp_path / "draft", tmp_path / "target", head)
    assert "not all that was written" in caught.value.why


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"text" * 4096):
        (tmp_path / "draft").write_bytes(content)
        with pytest.raises(UnavailableError, match="cannot write"):
            complete(tmp_path / "draft", tmp_path / "target", b"")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with segments in a folder, which its copies take into their file."""
    folder = tmp_path_factory.mktemp("drafts")
    write_empty_log(folder / "log.db")
    text = random.Random(1).randbytes(150_000).hex()
    lines = [
        json.dumps({"stream": f"s-{n % 5}", "type": "T", "data": {"x": text[n * 1000 : n * 1000 + 1000]}})
        for n in range(300)
    ]
    call = [ESCTL, "--log", "log.db"]
    succeeded(esctl(folder, *call, "append", stdin="\n".join(lines)))
    succeeded(
        esctl(
            folder,
            *call,
            "archive",
            "create",
            "--yes",
            "-q",
            "--to",
            "seg",
            "--keep-last",
            "150",
            "--segment-events",
            "50",
        )
    )
    return folder / "log.db"


def esctl(folder: Path, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, check=False, env=environment()
    )


COPIES = {
    "init": ["init", "--log", "{new}"],
    "backup": ["backup", "{new}", "--log", "{log}"],
    "fork": ["fork", "{new}", "--until", "#250", "--log", "{log}"],
    "restore": ["restore", "{log}", "--log", "{new}"],
    "rewrite": ["upcast", "rewrite", "--yes", "-q", "--to", "{new}", "--log", "{log}"],
}


def command(name: str, source: Path, new: Path) -> list[str]:
    return [ESCTL, *(word.format(new=new, log=source) for word in COPIES[name])]


def whole_or_nothing(done: subprocess.CompletedProcess[str], new: Path, elsewhere: Path) -> None:
    """A run that ended well made a whole log; one that failed says so and left nothing."""
    if done.returncode:
        assert done.returncode == 8, done.stderr
        assert names(new.parent) == []
        return
    assert names(new.parent) == [new.name]
    shutil.copy(new, elsewhere)
    succeeded(esctl(elsewhere.parent, ESCTL, "verify", "--log", str(elsewhere)))


@pytest.mark.parametrize(
    "kib", [250, 350, 2000, *[pytest.param(kib, marks=pytest.mark.slow) for kib in (150, 300, 400, 450)]]
)
@pytest.mark.parametrize("name", ["backup", "fork"])
def test_a_copy_whose_file_may_not_grow_is_whole_or_not_there(
    source: Path, tmp_path: Path, name: str, kib: int
) -> None:
    (tmp_path / "m").mkdir()
    new = tmp_path / "m" / "new.db"
    done = esctl(tmp_path, sys.executable, "-c", LIMITED, str(kib * 1024), *command(name, source, new))
    whole_or_nothing(done, new, tmp_path / "elsewhere.db")


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """A file system of so many KiB at a folder; skips the test where nobody may make one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kib", [128, 260, 320, 360, 440, 520, 700, 860, 1100, 3000])
@pytest.mark.parametrize("name", COPIES)
@pytest.mark.slow
def test_a_log_made_on_a_full_disk_is_whole_or_not_there(source: Path, tmp_path: Path, name: str, kib: int) -> None:
    new = tmp_path / "m" / "new.db"
    with small_disk(tmp_path / "m", kib):
        done = esctl(tmp_path, *command(name, source, new))
        whole_or_nothing(done, new, tmp_path / "elsewhere.db")


@pytest.mark.parametrize("kib", [16, 32, 48, 80, 100, 120, 160, 200, 260, 400])
@pytest.mark.slow
def test_a_migration_on_a_full_disk_leaves_the_old_log_or_the_new_one(tmp_path: Path, kib: int) -> None:
    old = DATA / "storage-3.db"
    folder, size = tmp_path / "m", old.stat().st_size
    with small_disk(folder, size // 1024 + kib):
        log = Path(shutil.copy(old, folder / "log.db"))
        done = esctl(folder, ESCTL, "migrate", "--yes", "--log", str(log))
        if done.returncode:
            assert done.returncode == 8, done.stderr
            assert names(folder)[:1] == ["log.db"]
            assert not (folder / "log.db.v3.bak").exists()
            assert log.read_bytes() == old.read_bytes()
        else:
            # Without room for a checkpoint, what is committed stays in the WAL.
            assert set(names(folder)) - {"log.db-wal", "log.db-shm"} == {"log.db", "log.db.v3.bak"}
            assert (folder / "log.db.v3.bak").stat().st_size == size
            for path in folder.glob("log.db*"):
                shutil.copy(path, tmp_path / path.name.replace("log.db", "elsewhere.db"))
            succeeded(esctl(tmp_path, ESCTL, "verify", "--log", "elsewhere.db"))


# A file operation that fails


SYSTEM_CALLS: dict[str, tuple[type, ...]] = {
    "write": (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t),
    "pwrite": (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64),
    "pwrite64": (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64),
    "ftruncate": (ctypes.c_int, ctypes.c_int64),
}


class Failing:
    """SQLite's system calls; one of the changes to the files of a folder fails, or all from there on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.changes, self.fails = str(folder), 0, range(0)
        self.vfs = apsw.VFS("failing", "unix")
        self.calls = []
        for name, types in SYSTEM_CALLS.items():
            if pointer := self.vfs.xGetSystemCall(name):
                kind = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *types, use_errno=True)
                self.calls.append(replacement := kind(self.replacement(kind(pointer))))
                self.vfs.xSetSystemCall(name, ctypes.cast(replacement, ctypes.c_void_p).value or 0)

    def replacement(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(descriptor: int, *arguments: Any) -> int:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(self.folder):
                self.changes += 1
                if self.changes in self.fails:
                    ctypes.set_errno(errno.ENOSPC)
                    return -1
            return real(descriptor, *arguments)

        return call

    def end(self) -> None:
        self.vfs.xSetSystemCall(None, 0)
        self.vfs.unregister()


def the_backup(log: EventLog, new: Path) -> Head:
    return copies.backup(log, new)


def the_fork(log: EventLog, new: Path) -> Head:
    return copies.fork(log, new, 250)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Failing]:
    (tmp_path / "m").mkdir()
    vfs = Failing(tmp_path / "m")
    try:
        yield vfs
    finally:
        vfs.end()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="a descriptor's file is not known here")
@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("make", [the_backup, the_fork])
def test_a_copy_one_of_whose_changes_fails_is_whole_or_not_there(
    source: Path, tmp_path: Path, failing: Failing, make: Callable[[EventLog, Path], Head], stays: bool, step: int
) -> None:
    new = tmp_path / "m" / "new.db"
    with EventLog(source) as log:
        make(log, new)
        changes = failing.changes
        new.unlink()
        for n in range(changes, 0, -step):
            failing.changes, failing.fails = 0, range(n, 1_000_000 if stays else n + 1)
            try:
                head = make(log, new)
            except UnavailableError:
                assert names(new.parent) == []
                continue
            failing.fails = range(0)
            shutil.copy(new, tmp_path / "alone.db")
            assert names(new.parent) == [new.name]
            with EventLog(tmp_path / "alone.db") as copy:
                assert verify.verify(copy, full=True, expect_head=str(head), watch=lambda each, _: each).ok
            new.unlink()
