"""Measure esctl: whole processes, as ratios to baselines that are measured beside them.

Machines differ and are shared, ratios less so. Every figure is the median over rounds. The files go to a temporary
folder, which TMPDIR may move; 1,000,000 events need about 3.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import (
    append,
    archive,
    batch,
    cold,
    erase,
    growth,
    lists,
    model,
    peers,
    projections,
    reactions,
    replay,
    report,
)
from tests.benchmarks.workbench import ROUNDS, SHORT_ROUNDS, Bench, BenchmarkError, Figure

BENCHMARKS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "append": append.figures,
    "replay": replay.figures,
    "lists": lists.figures,
    "cold": cold.figures,
    "batch": batch.figures,
    "model": model.figures,
    "projections": projections.figures,
    "archive": archive.figures,
    "peers": peers.figures,
    "growth": growth.figures,
    "erase": erase.figures,
    "reactions": reactions.figures,
}
LEAST_EVENTS = 1000
REMARK_SECONDS = 5  # between remarks on how far a benchmark is
UNLIMITED = 1000  # columns of the table, where it goes to a file or a pipe


def parser() -> argparse.ArgumentParser:
    """The command line."""
    listed = "\n".join(f"  {name:12} {figures.__doc__}" for name, figures in BENCHMARKS.items())
    made = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"{__doc__}\nbenchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run [all]")
    made.add_argument("--events", type=int, default=1_000_000, metavar="N", help="events in a log [1000000]")
    rounds = f"how often each is measured [{ROUNDS}; {SHORT_ROUNDS} for commands that take well under a second]"
    made.add_argument("--rounds", type=int, metavar="N", help=rounds)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures as data, too")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw what growth measured of single commands, as SVG")
    return made


def progress(message: str) -> None:
    """A remark on stderr."""
    print(message, file=sys.stderr, flush=True)


def measure(name: str, bench: Bench, taken: list[Figure]) -> str | None:
    """Run a benchmark; why it failed, if it did."""
    start = said = time.perf_counter()
    progress(f"{name} …")
    try:
        for figure in BENCHMARKS[name](bench):
            taken.append(figure)
            now = time.perf_counter()
            if now - said > REMARK_SECONDS:
                progress(f"  {figure.name} after {now - start:.0f} s")
                said = now
    except (BenchmarkError, subprocess.CalledProcessError) as error:
        progress(f"{name} FAILED\n{error}")
        return str(error)
    finally:
        bench.tidy()
    return None


def prepare_environment() -> None:
    """Children get nothing that changes what esctl does, or that slows every start."""
    for name in list(os.environ):
        if name.startswith("ESCTL_") or name in {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}:
            del os.environ[name]


def main() -> int:
    """Run what is asked for, and print the table."""
    asked = parser()
    given = asked.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        asked.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if given.events < LEAST_EVENTS or (given.rounds is not None and given.rounds < 1):
        asked.error(f"--events is at least {LEAST_EVENTS}, --rounds at least 1")
    prepare_environment()
    results: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    about = {**report.surroundings(), "events": given.events}
    with tempfile.TemporaryDirectory(prefix="esctl-benchmarks-") as folder:
        bench = Bench(Path(folder), given.events, given.rounds)
        for name in given.names or BENCHMARKS:
            why = measure(name, bench, results.setdefault(name, []))
            if why:
                failed[name] = why
    for line in report.table(results, failed, shutil.get_terminal_size((UNLIMITED, 0)).columns):
        print(line)
    print("{cpu}, {cores} cores, {system}, load {load} at the start".format(**about["machine"]))
    print("Python {python}, SQLite {sqlite}, esctl {esctl}".format(**about["software"]))
    print("{date}, {events:,} events".format(**about))
    if given.json:
        given.json.write_text(json.dumps(report.as_data(about, results, failed), indent=2) + "\n", encoding="utf-8")
    if given.plot and results.get("growth"):
        given.plot.write_text(report.growth_plot(results["growth"], "seconds"), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
