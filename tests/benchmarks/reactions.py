"""Reactions: what a runner takes for itself, how soon a handler begins, and how many events a worker answers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.workbench import Bench, BenchmarkError, Figure, baseline, rate, run

STARTS = 2000  # of handlers, unless there are fewer events
LATENCIES = 30
IDLE_SECONDS = 3.0
WORKER = "import sys\nfor line in sys.stdin:\n    print()\n"


def cpu_of(process: subprocess.Popen[bytes]) -> float:
    """Seconds of the processor that a process took itself, without its children."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def following(bench: Bench, log: Path, arguments: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A reaction that waits for new events; what its handlers print is in the file `printed`."""
    command = [bench.program, "react", "bench", "--follow", *map(str, arguments)]
    with (bench.folder / "printed").open("wb") as printed:
        process = subprocess.Popen(
            command, env={**os.environ, "ESCTL_LOG": str(log)}, stdout=subprocess.DEVNULL, stderr=printed
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def until(true: Callable[[], bool]) -> None:
    """Wait for something, a minute at most."""
    deadline = time.monotonic() + 60
    while not true():
        if time.monotonic() > deadline:
            raise BenchmarkError("a reaction does not get on")
        time.sleep(0.005)


def position(bench: Bench, log: Path) -> int:
    """How far the reaction has come."""
    found = bench.ask(log, "reaction", "list")
    return int(found[0]["position"]) if found else -1


def own_cpu(bench: Bench, log: Path, events: int) -> float:
    """Seconds of the processor that a runner takes itself for each start of /bin/true."""
    with following(bench, log, ["--exec", "/bin/true", "--from", "beginning", "--concurrency", "2"]) as process:
        until(lambda: position(bench, log) >= 0)
        while position(bench, log) < events:
            time.sleep(0.2)
        return cpu_of(process) / events


def latencies(bench: Bench, log: Path) -> list[float]:
    """Seconds from the end of a commit to what the handler does first."""
    printed, found = bench.folder / "printed", list[float]()
    with following(bench, log, ["--exec", "date +%s%N", "--from", "now"]):
        until(lambda: position(bench, log) >= 0)
        time.sleep(0.3)
        append = [sys.executable, "-m", "tests.benchmarks.baselines", "committed", str(log)]
        for n in range(LATENCIES):
            committed = int(subprocess.run(append, check=True, capture_output=True).stdout)
            until(lambda n=n: printed.read_bytes().count(b"\n") > n)  # type: ignore[misc]  # as it is now
            found.append((int(printed.read_text().split()[n]) - committed) / 1e9)
    return found


def idle(bench: Bench, log: Path) -> float:
    """The share of a core that a runner takes that waits for events."""
    with following(bench, log, ["--exec", "/bin/true", "--from", "now"]) as process:
        until(lambda: position(bench, log) >= 0)
        time.sleep(0.5)
        before = cpu_of(process)
        time.sleep(IDLE_SECONDS)
        return (cpu_of(process) - before) / IDLE_SECONDS


def figures(bench: Bench) -> Iterator[Figure]:
    """What a runner takes for itself, how soon a handler begins, how many events a worker answers."""
    count = min(STARTS, bench.events)
    few = bench.file("few.ndjson", list(_lines(bench, count)))
    bench.esctl(log := bench.empty("few.db"), "append", few)
    own, popen, soon, alone, waiting = [], [], [], [], []
    for _ in bench.rounds:
        own.append(own_cpu(bench, bench.copy(log, "own.db"), count))
        popen.append(baseline("popen", str(count)) / count)
        soon.append(statistics.median(latencies(bench, bench.copy(log, "soon.db"))))
        alone.append(statistics.median(run(["date", "+%s%N"]).wall for _ in range(LATENCIES)))
        waiting.append(idle(bench, bench.copy(log, "idle.db")))
    yield Figure(
        "CPU of react for a start", "CPU", "subprocess.Popen", _ratios(own, popen),
        {"milliseconds": 1000 * statistics.median(own)},
    )  # fmt: skip
    yield Figure(
        "from commit to handler", "time", "a start of date", _ratios(soon, alone),
        {"milliseconds": 1000 * statistics.median(soon)},
    )  # fmt: skip
    yield Figure("react --follow, idle", "CPU", "a core", waiting)
    handler = bench.folder / "worker.py"
    handler.write_text(WORKER)
    answered, read = [], []
    for _ in bench.rounds:
        words = ["--exec-stream", f"{bench.python} -u {handler}", "--from", "beginning"]
        answered.append(bench.esctl(bench.copy(bench.log(), "stream.db"), "react", "bench", *words))
        piped = ["sh", "-c", f"{bench.program} replay --log {bench.log()} | {bench.python} -u {handler}"]
        read.append(run(piped).wall)
    yield rate("react --exec-stream python -u", "replay | python -u", answered, read, bench.events)


def _lines(bench: Bench, count: int) -> Iterator[str]:
    with bench.source().open(encoding="utf-8") as file:
        for _, line in zip(range(count), file, strict=False):
            yield line


def _ratios(values: Sequence[float], bases: Sequence[float]) -> list[float]:
    return [value / base for value, base in zip(values, bases, strict=True)]
