"""What tests share: fresh logs, and esctl as its users run it."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from esctl import open_log
from esctl.append.writer import Writer
from esctl.log import EventLog
from esctl.store import migrations
from esctl.store.store import Store
from tests import fixes, runner

# A rule holds however slow the machine is; what fails is printed so that it can be run again.
settings.register_profile(
    "esctl", deadline=None, print_blob=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("esctl")

# Commands that the tests start have signals as at a terminal, whoever runs the tests: a shell's background job ignores
# SIGINT, and so would they.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_finish() -> None:
    """The collected tests live to the end: no garbage collection need look at them again."""
    gc.collect()
    gc.freeze()


ESCTL = str(Path(sys.executable).with_name("esctl"))
SHARED = Path(__file__).parents[2] / "shared" / "data"

SAMPLE = runner.ROOT / "sample_data"
RECEIPT = ("position", "stream", "version", "id", "duplicate")
# For a process that gets a signal at any time: coverage.py loses an interrupt that comes while Python loads it.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}
# Runs the rest of its arguments with files of at most so many bytes.
LIMITED = (
    "import os,resource,sys;n=int(sys.argv[1]);resource.setrlimit(resource.RLIMIT_FSIZE,(n,n));"
    "os.execv(sys.argv[2],sys.argv[2:])"
)
ORDERS: list[dict[str, Any]] = [
    {"stream": "order-1", "type": "Placed", "time": "2026-01-02T10:00:00Z", "data": {"amount": 99.5, "vip": True}},
    {"stream": "order-2", "type": "Placed", "time": "2026-02-02T10:00:00Z", "data": {"amount": 250, "note": "now"}},
    {"stream": "order-1", "type": "Paid", "time": "2026-02-03T10:00:00Z", "data": [1], "meta": {"actor": "web"}},
]

Esctl = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a child: nothing that would change what esctl does, but for what a test wants."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ESCTL_") and k not in ("NO_COLOR", "FORCE_COLOR")}
    return {**kept, "TZ": "UTC", "COLUMNS": "120", "XDG_CACHE_HOME": runner.cache_home(), **changes}


def start(log: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start esctl on a log, beside others."""
    return subprocess.Popen(
        [ESCTL, *arguments],
        env=environment(ESCTL_LOG=str(log)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that went well and had nothing to say on stderr."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The records that a command printed, one a line."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_empty_log(path: Path) -> Path:
    """Write a copy of one empty log: making one takes 30 times as long. All copies have the same `log_id`."""
    path.write_bytes(_empty_log())
    return path


@cache
def _empty_log() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        migrations.create(path)
        return path.read_bytes()


def writer_of(log: EventLog) -> Writer:
    """What appends to a log: one writer a log, as long as it is open."""
    writer: Writer = vars(log).setdefault("writer", Writer(log))
    return writer


class Open(Protocol):
    """Opens the one log that it stands for, as often as it is called."""

    def __call__(self, *, write: bool = True) -> Store: ...


@contextmanager
def opening(path: Path) -> Iterator[Open]:
    """Opens the store of a log; whatever was opened is closed at the end."""
    opened: list[Store] = []

    def connect(*, write: bool = True) -> Store:
        opened.append(Store(path, write=write))
        return opened[-1]

    try:
        yield connect
    finally:
        for store in opened:
            store.close()


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """An empty log."""
    return write_empty_log(tmp_path / "log.db")


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """The same, open for writing."""
    with EventLog(log_path, write=True) as opened:
        yield opened


@pytest.fixture
def orders(log_path: Path) -> Iterator[EventLog]:
    """A log of the three events of ORDERS, open for reading."""
    with open_log(log_path, write=True) as written:
        written.append_all(ORDERS)
    with EventLog(log_path) as opened:
        yield opened


@pytest.fixture
def twelve(log_path: Path) -> Iterator[EventLog]:
    """A log of twelve events in three streams, open for many changes."""
    from tests.segments import fill

    fill(log_path)
    with EventLog(log_path, write=True, bulk=True) as opened:
        yield opened


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """Where a folder for segments may be made."""
    return tmp_path / "cold"


@pytest.fixture
def connect(log_path: Path) -> Iterator[Open]:
    """Opens the store of an empty log."""
    with opening(log_path) as opened:
        yield opened


@pytest.fixture
def store(connect: Open) -> Store:
    """The store of an empty log, open for writing."""
    return connect()


@pytest.fixture
def esctl(tmp_path: Path) -> Esctl:
    """Runs esctl in `tmp_path`, as a process of its own, with text in and out; a fix that it offers has to work."""

    def run(
        *arguments: str, input: str | bytes = "", env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        raw = input.encode() if isinstance(input, str) else input
        done = runner.run(arguments, input=raw, cwd=cwd or tmp_path, env=environment(**env or {}))
        fixes.check(done.stderr.decode())
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def run(esctl: Esctl, log_path: Path) -> Esctl:
    """Runs esctl on the test's log; tests that need more in it extend this fixture."""

    def on_log(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return esctl(*arguments, env={"ESCTL_LOG": str(log_path), **(env or {})}, **options)

    return on_log


@pytest.fixture
def real_log() -> Path:
    """A real event log to try things on; the test is skipped where there is none."""
    path = SHARED / "permit-applications.ndjson"
    if not path.exists():
        pytest.skip("no real event log here")
    return path
