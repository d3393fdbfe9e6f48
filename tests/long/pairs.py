"""Runs checks beside writers, side by side in two processes, on a log that is whole: no check may say otherwise.

    python -m tests.long.pairs [--seconds 60] [--times 1] [--check NAME] [--writer NAME]

Every check runs beside every writer for so many seconds, as commands. A check has to end with 0 each time; what it made
(a backup, a fork) has to be whole; a writer may have to give way (4, 8), and never meets damage. At the end of each
pair the log has to be whole, and what was erased must not be readable. Prints a table; exits with 1 if any failed.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests import runner
from tests.conftest import environment
from tests.interleaving import MODEL

EVENTS = 90
SEGMENTS = ("1-20", "21-40", "41-60")
Done = "subprocess.CompletedProcess[bytes]"
Commands = Iterator[list[str]]

CHECKS: dict[str, list[list[str]]] = {
    "verify": [["verify"]],
    "verify --quick": [["verify", "--quick"]],
    "archive verify": [["archive", "verify"]],
    "archive export": [["archive", "export", "1-20", "{new}.zst"]],
    "snapshot verify": [["snapshot", "verify"]],
    "projection verify": [["projection", "verify"]],
    "backup": [["backup", "{new}"], ["verify", "--log", "{new}"]],
    "fork": [["fork", "{new}", "--until", "#50"], ["verify", "--log", "{new}"]],
    "replay": [["replay", "--hash"]],
    "state": [["state", "s-1"]],
    "query": [["query", "select count(*), max(position) from log"]],
}


def _append() -> Commands:
    for n in itertools.count():
        yield ["append", f"s-{n % 3}", "T", f'{{"n":{n}}}']


def _rebuild() -> Commands:
    return itertools.repeat(["projection", "rebuild", "totals"])


def _move() -> Commands:
    for n in itertools.count():
        yield ["archive", "move", *SEGMENTS, "--to", ("away", "log", "cold")[n % 3]]


def _settle() -> Commands:
    for n in itertools.count():
        to = ["--to", "cold"] if n % 2 else []
        yield ["archive", "restore", *SEGMENTS, "--yes"]
        yield ["archive", "create", "--before", "#61", "--segment-events", "20", "--yes", *to]


def _erase() -> Commands:
    """Erase one event after the other, hot and archived, and append others."""
    yield from (["erase", str(1 + n * 7 % 80), "--reason", "asked", "--yes"] for n in range(80))
    for n in itertools.count():
        yield ["append", "s-1", "T", '{"n":1}', "--id", f"late-{n}"]
        yield ["erase", f"late-{n}", "--reason", "asked", "--yes"]


def _snapshot() -> Commands:
    for n in itertools.count():
        yield ["append", f"s-{n % 3}", "T", '{"n":1}']
        yield ["snapshot", "take", "--all"]


WRITERS: dict[str, Callable[[], Commands]] = {
    "append": _append,
    "projection rebuild": _rebuild,
    "archive move": _move,
    "archive create, restore": _settle,
    "erase": _erase,
    "snapshot take": _snapshot,
}


def said(folder: Path, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command on the log of a folder."""
    return runner.run(arguments, input=input, cwd=folder, env=environment(ESCTL_LOG=str(folder / "log.db")))


def build(folder: Path) -> None:
    """A log with segments in a folder and in its file, hot events, snapshots and a projection."""
    (folder / "model.toml").write_text(MODEL)
    lines = "".join(f'{{"stream":"s-{n % 3}","type":"T","data":{{"n":{n}}}}}\n' for n in range(EVENTS))
    for command in (
        ["init"],
        ["append"],
        ["model", "apply", "model.toml", "--yes"],
        ["projection", "run"],
        ["snapshot", "take", "--all"],
        ["archive", "create", "--before", "#61", "--segment-events", "20", "--yes"],
        ["archive", "move", SEGMENTS[0], "--to", "cold"],
    ):
        done = said(folder, *command, input=lines.encode() if command == ["append"] else b"")
        assert done.returncode == 0, done.stderr.decode()


def _keep_writing(folder: Path, writer: str, started: Any, stop: Any, results: Any) -> None:
    counts, bad = Counter[int](), list[str]()
    for command in WRITERS[writer]():
        if stop.is_set():
            break
        done = said(folder, *command)
        started.set()
        counts[done.returncode] += 1
        if done.returncode not in (0, 4, 8) and not _gone(command, done):
            bad.append(f"{' '.join(command)}: {done.returncode} {done.stderr.decode()}")
    results.put((counts, bad))


def _gone(command: list[str], done: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether a command only says that there is no such segment (by now)."""
    return done.returncode == 3 and command[0] == "archive" and b"there is no segment" in done.stderr


def pair(folder: Path, check: str, writer: str, seconds: float) -> tuple[int, int, list[str]]:
    """Run a check beside a writer; how often each ran, and what failed."""
    build(folder)
    spawned = multiprocessing.get_context("spawn")
    started, stop, results = spawned.Event(), spawned.Event(), spawned.Queue()
    beside = spawned.Process(target=_keep_writing, args=(folder, writer, started, stop, results))
    beside.start()
    started.wait()
    failed, runs, end = list[str](), 0, time.monotonic() + seconds
    while time.monotonic() < end or not runs:
        runs += 1
        for command in CHECKS[check]:
            done = said(folder, *(part.format(new=f"copy-{runs}.db") for part in command))
            if done.returncode and not _gone(command, done):
                failed.append(f"{check} beside {writer}: {done.returncode} {done.stderr.decode()}")
                break
        for copy in folder.glob("copy-*"):
            copy.unlink()
    stop.set()
    counts, bad = results.get()
    beside.join()
    after = said(folder, "verify")
    if after.returncode:
        bad.append(f"the log after {check} beside {writer}: {after.returncode} {after.stderr.decode()}")
    return runs, counts.total(), failed + bad


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=60, help="for each pair")
    options.add_argument("--times", type=int, default=1, help="that each pair runs, on a new log")
    options.add_argument("--check", choices=CHECKS, help="only this one")
    options.add_argument("--writer", choices=WRITERS, help="only this one")
    given = options.parse_args()
    whole, total, pairs = True, Counter[str](), 0
    for _, check, writer in itertools.product(
        range(given.times), [given.check] if given.check else CHECKS, [given.writer] if given.writer else WRITERS
    ):
        folder = Path(tempfile.mkdtemp(prefix="esctl-pairs-"))
        runs, writes, failed = pair(folder, check, writer, given.seconds)
        pairs += 1
        total.update(checks=runs, writes=writes)
        print(f"{check} beside {writer}: {runs} and {writes} runs, {len(failed)} failed", flush=True)
        if failed:
            whole = False
            print("\n".join([*dict.fromkeys(failed), f"kept: {folder}"]), file=sys.stderr)
        else:
            shutil.rmtree(folder)
    print(f"{pairs} pairs: {total['checks']} checks beside {total['writes']} writing commands")
    if not whole:
        sys.exit(1)


if __name__ == "__main__":
    main()
