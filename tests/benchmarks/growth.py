"""How the time of each command grows with the log."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from tests.benchmarks.workbench import Bench, Figure, Run, lines

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
RARE = 1000  # every so many events have a type and a category of their own
STREAM = "order-000001"
ALL = {  # commands that read every event
    "replay": "replay",
    "replay --fields": "replay --fields position,stream,data.amount",
    "query, grouped by type": "query 'select type, count(*) from log group by type'",
    "verify --full": "verify --full",
    "streams": "streams",
}
FEW = {  # commands whose answer is as long at each size
    "head": "head",
    "append of one event": f"append {STREAM} NoteWritten {{}}",
    "replay of one stream": f"replay {STREAM}",
    "replay --last 10": "replay --last 10",
    "replay --type of 1 in 1,000": "replay --type Rare",
    "replay --category of 1 in 1,000": "replay --category rare",
    "replay of six seconds": "replay --since 2026-01-01T00:00:00Z --until 2026-01-01T00:00:06Z",
    "state of one stream": f"state {STREAM}",
    "types": "types",
    "info": "info",
    "erase of one event": "",  # see `_erase`
}


def figures(bench: Bench) -> Iterator[Figure]:
    """The time of each command on logs of 10,000 events and more, up to --events."""
    first: dict[str, float] = {}
    for events in [size for size in SIZES if size <= bench.events] or [bench.events]:
        at = bench.smaller(events)
        source = at.once("growth.ndjson", lambda path, at=at: at.file(path.name, _lines(at)))  # type: ignore[misc]
        log = at.empty("growth.db")
        taken = {"append": [at.esctl(log, "append", source=source)]}
        source.unlink()
        for name, command in (ALL | FEW).items():
            rounds = bench.rounds if name in FEW else range(1)
            numbers = count(2)
            taken[name] = [_run(at, log, command, next(numbers)) for _ in rounds]
        archived = at.copy(log, "archived.db")
        taken["archive create"] = [at.esctl(archived, "archive", "create", "--keep-last", "0", "--yes")]
        for name, runs in taken.items():
            scale = 1 if name in FEW else events
            yield _figure(name, events, [run.wall / scale for run in runs], runs, first)
        at.tidy()


def _run(bench: Bench, log: Path, command: str, number: int) -> Run:
    erase = f"erase {number} --reason asked --force --yes"
    return bench.esctl(log, *shlex.split(command or erase))


def _lines(bench: Bench) -> Iterator[str]:
    """The lines of a bench; every 1,000th is of the type Rare, in a stream of the category rare."""
    for number, line in enumerate(lines(bench.events, bench.streams), 1):
        yield _rare(line) if number % RARE == 0 else line


def _rare(line: str) -> str:
    other = line.replace('"stream":"order-', '"stream":"rare-')
    return re.sub('"type":"[A-Za-z]*"', '"type":"Rare"', other, count=1)


def _figure(name: str, events: int, seconds: Sequence[float], runs: Sequence[Run], first: dict[str, float]) -> Figure:
    """The time at a size: of a command, or of an event if the command reads them all."""
    middle = sorted(seconds)[len(seconds) // 2]
    base = first.setdefault(name, middle)
    note = {"seconds" if name in FEW else "seconds_an_event": middle, "peak_mib": max(run.peak for run in runs)}
    return Figure(name, "time", f"{SIZES[0]:,} events", [one / base for one in seconds], note, events)
