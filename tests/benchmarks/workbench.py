"""What every benchmark needs: lines, logs, processes that are timed, and figures made of them.

This process imports nothing heavy: the peak memory that the system reports of a child is never less than its parent's.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from tests.benchmarks import installed

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("OrderPlaced", "PaymentReceived", "OrderShipped", "OrderClosed", "ItemAdded", "NoteWritten")
EVENTS_PER_STREAM = 20
ROUNDS = 5  # unless --rounds says otherwise
SHORT_ROUNDS = 20  # of commands that take well under a second, whose times scatter more
NAMES = "Ada Ben Cleo Dana Emil Finn Gina Hugo Ines Jan Kaya Leo Mia Nils Olga Paul Rosa Sven Tara Uwe"
HOUSES = "Archer Brook Cole Dorn Ender Falk Grau Hale"
WORDS = (
    "checked delivered front door after call customer paid full second try parcel weight invoice sent again returned "
    "address changed gift wrapped express delayed approved by phone stock empty partial refund open question closed"
)


class BenchmarkError(Exception):
    """A command did not do what its figure says that it does."""


class Run(NamedTuple):
    """A process that has ended."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: float  # MiB


@dataclass(frozen=True)
class Figure:
    """A ratio, once a round, and the absolute values beside it (`report.NOTES` has their names)."""

    name: str
    quantity: str  # rate (higher is better); time, CPU or bytes (lower is better)
    ratio_to: str
    rounds: Sequence[float]
    absolute: Mapping[str, float] = field(default_factory=dict)
    events: int = 0  # in the log, where a figure is one of several sizes


def rate(
    name: str, ratio_to: str, runs: Sequence[Run], bases: Sequence[float], events: int, **absolute: float
) -> Figure:
    """The rate of runs, each as a ratio to that of its baseline, given in seconds for the same events."""
    ratios = [base / run.wall for run, base in zip(runs, bases, strict=True)]
    measured = {
        "per_second": events / statistics.median(run.wall for run in runs),
        "peak_mib": max(run.peak for run in runs),
    }
    return Figure(name, "rate", ratio_to, ratios, {**measured, **absolute})


def duration(name: str, ratio_to: str, runs: Sequence[Run], bases: Sequence[Run]) -> Figure:
    """The wall time of runs, each as a ratio to that of its baseline; the same of CPU time beside it."""
    pairs = list(zip(runs, bases, strict=True))
    measured = {
        "cpu_ratio": statistics.median(run.cpu / base.cpu for run, base in pairs),
        "seconds": statistics.median(run.wall for run in runs),
        "peak_mib": max(run.peak for run in runs),
    }
    return Figure(name, "time", ratio_to, [run.wall / base.wall for run, base in pairs], measured)


def cpu(name: str, ratio_to: str, runs: Sequence[Run], bases: Sequence[Run]) -> Figure:
    """The CPU time of runs, each as a ratio to that of its baseline; the same of wall time beside it."""
    pairs = list(zip(runs, bases, strict=True))
    measured = {
        "wall_ratio": statistics.median(run.wall / base.wall for run, base in pairs),
        "cpu_seconds": statistics.median(run.cpu for run in runs),
    }
    return Figure(name, "CPU", ratio_to, [run.cpu / base.cpu for run, base in pairs], measured)


def run(
    command: Sequence[str],
    *,
    exit: int = 0,
    source: Path | None = None,
    sink: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run a process that reads a pipe from `source` and writes to `sink`; raise unless it exits as expected."""
    reader = subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) if source else None
    stdin = reader.stdout if reader else subprocess.DEVNULL
    with (sink or Path(os.devnull)).open("wb") as out, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin, stdout=out, stderr=errors, env={**os.environ, **(env or {})})
        ended = wait(process, start)
        if reader and reader.stdout:
            reader.stdout.close()
            reader.wait()
        if process.returncode != exit:
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
            raise BenchmarkError(f"{shlex.join(command)}\nexited with {process.returncode}, not {exit}\n{message}")
    return ended


def wait(process: subprocess.Popen[Any], start: float) -> Run:
    """Wait for a process that was started at `start`."""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
    return Run(wall, usage.ru_utime + usage.ru_stime, peak)


def baseline(name: str, *arguments: str | Path) -> float:
    """Seconds of a function of `baselines` in a process of its own; its start is not counted."""
    command = [sys.executable, "-m", "tests.benchmarks.baselines", name, *map(str, arguments)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout)


def lines(events: int, streams: int, seed: int = 7) -> Iterator[str]:
    """Events of about 450 bytes in random streams, of 4,160 customers; their ids are random UUIDs."""
    rng = random.Random(seed)
    names, houses, words = NAMES.split(), HOUSES.split(), WORDS.split()

    def uuid() -> str:
        text = f"{rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    for i in range(events):
        second = i // 10
        moment = f"2026-{1 + second // 2_419_200 % 12:02}-{1 + second // 86_400 % 28:02}T{second // 3600 % 24:02}"
        moment += f":{second // 60 % 60:02}:{second % 60:02}.{i % 10}{rng.randrange(100_000):05}Z"
        customer = f"{rng.choice(names)} {rng.choice(ascii_uppercase)}. {rng.choice(houses)}"
        yield (
            f'{{"stream":"order-{rng.randrange(streams):06}","type":"{rng.choice(TYPES)}","id":"{uuid()}",'
            f'"time":"{moment}","data":{{"customer":"{customer}","currency":"EUR",'
            f'"amount":{rng.randrange(1, 100)}.{rng.randrange(10, 100)},"note":"{" ".join(rng.choices(words, k=9))}"}},'
            f'"meta":{{"correlation_id":"{uuid()}","actor":"checkout","source":"shop.example"}}}}\n'
        )


class Bench:
    """An installation of esctl, and a folder of lines and logs; those that several figures read are made once."""

    def __init__(self, folder: Path, events: int, rounds: int | None) -> None:
        self.folder, self.events = folder, events
        self.streams = max(1, events // EVENTS_PER_STREAM)
        self.rounds = range(rounds or ROUNDS)
        self.short_rounds = range(rounds or SHORT_ROUNDS)
        self._kept: set[Path] = set()
        programs = installed.plainly(folder / "installed")
        self.python, self.program = str(programs / "python"), str(programs / "esctl")

    def smaller(self, events: int) -> Bench:
        """A bench of at most so many events, in a folder of its own within this one."""
        if self.events <= events:
            return self
        folder = self.folder / f"{events}"
        folder.mkdir(exist_ok=True)
        bench = copy.copy(self)
        bench.folder, bench.events, bench.streams = folder, events, max(1, events // EVENTS_PER_STREAM)
        bench._kept = set()
        return bench

    def bare_python(self) -> Run:
        """Time an interpreter that does nothing."""
        return run([self.python, "-I", "-c", "pass"])

    def esctl(self, log: Path, *arguments: str | Path, source: Path | None = None, sink: Path | None = None) -> Run:
        """Time an esctl command on a log."""
        return run([self.program, *map(str, arguments)], source=source, sink=sink, env={"ESCTL_LOG": str(log)})

    def ask(self, log: Path, *arguments: str) -> list[dict[str, Any]]:
        """The lines that an esctl command on a log prints."""
        command = [self.program, *arguments, "--log", str(log), "-o", "ndjson"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """The file of this name, made when it is first asked for. Who gets it does not change it."""
        path = self.folder / name
        if path not in self._kept:
            make(path)
            self._kept.add(path)
        return path

    def tidy(self) -> None:
        """Remove every other file."""
        for path in self.folder.iterdir():
            if path.is_file() and path not in self._kept:
                path.unlink()

    def file(self, name: str, made: Iterable[str]) -> Path:
        """A file of these lines."""
        path = self.folder / name
        with path.open("w", encoding="utf-8") as target:
            target.writelines(made)
        return path

    def source(self) -> Path:
        """All events as lines."""
        return self.once("events.ndjson", lambda path: self.file(path.name, lines(self.events, self.streams)))

    def log(self) -> Path:
        """A log of all events."""
        return self.once("events.db", lambda path: self.esctl(self.empty(path.name), "append", self.source()))

    def empty(self, name: str) -> Path:
        """A new log without events."""
        return self.copy(self.once("empty.db", lambda path: self.esctl(path, "init")), name)

    def copy(self, source: Path, name: str) -> Path:
        """A copy of a log that nothing has open, and that is on the disk: else the first commit would write it."""
        path = self.folder / name
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(source, path)
        with path.open("rb+") as file:
            os.fsync(file)
        return path
