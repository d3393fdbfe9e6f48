"""What an archive of all events costs and saves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.benchmarks.workbench import EVENTS_PER_STREAM, Bench, Figure, baseline, duration, lines, rate

ZSTD_19_LINES = 50_000  # of a million it would take ten minutes, and make the same of each
MORE_EVENTS = 10_000
STREAMS = 12  # that are read alone


def figures(bench: Bench) -> Iterator[Figure]:
    """What an archive costs and saves, against zstd of the same lines, and against the log before."""
    printed = bench.folder / "printed.ndjson"
    bench.esctl(bench.log(), "replay", sink=printed)
    hot, archived = bench.copy(bench.log(), "hot.db"), bench.folder / "archived.db"
    yield create(bench, hot, archived, printed)
    yield from sizes(bench, hot, archived, printed)
    yield from reads(bench, hot, archived)
    yield from checks(bench, hot, archived)
    yield append(bench, hot, archived)  # the last: both logs grow


def create(bench: Bench, hot: Path, archived: Path, printed: Path) -> Figure:
    """Make the archive."""
    runs, bases = [], []
    for _ in bench.rounds:
        bases.append(baseline("zstd", printed, bench.folder / "printed.zst", "9", "0"))
        bench.copy(hot, archived.name)
        runs.append(bench.esctl(archived, "archive", "create", "--keep-last", "0", "--yes"))
    return rate("archive create", "zstd -9", runs, bases, bench.events)


def sizes(bench: Bench, hot: Path, archived: Path, printed: Path) -> Iterator[Figure]:
    """Bytes of an event in segments, and of the log's file."""
    segments = bench.ask(archived, "archive", "list")
    size = sum(segment["bytes"] for segment in segments) / sum(segment["events"] for segment in segments)
    count, target = min(ZSTD_19_LINES, bench.events), bench.folder / "printed.zst"
    with printed.open(encoding="utf-8") as file:
        baseline("zstd", bench.file("first.ndjson", islice(file, count)), target, "19", "2")
    best = target.stat().st_size / count
    yield Figure("segments", "bytes", "zstd -19", [size / best], {"bytes_per_event": size})
    before, after = (path.stat().st_size / bench.events for path in (hot, archived))
    yield Figure("the log's file", "bytes", "the same, hot", [after / before], {"bytes_per_event": after})


def reads(bench: Bench, hot: Path, archived: Path) -> Iterator[Figure]:
    """Read all, and single streams of about 20 events."""
    bases, runs = [], []
    for _ in bench.rounds:
        bases.append(bench.esctl(hot, "replay").wall)
        runs.append(bench.esctl(archived, "replay"))
    yield rate("replay", "the same, hot", runs, bases, bench.events)
    found = bench.ask(hot, "streams")
    found.sort(key=lambda stream: abs(stream["events"] - EVENTS_PER_STREAM))
    for command in ("replay", "state"):
        before, after = [], []
        for n in bench.short_rounds:
            stream = found[:STREAMS][n % min(STREAMS, len(found))]["stream"]
            before.append(bench.esctl(hot, command, stream))
            after.append(bench.esctl(archived, command, stream))
        yield duration(f"{command} of one stream", "the same, hot", after, before)


def checks(bench: Bench, hot: Path, archived: Path) -> Iterator[Figure]:
    """Verify all."""
    before, after, alone = [], [], []
    for _ in bench.rounds:
        before.append(bench.esctl(hot, "verify", "--full"))
        after.append(bench.esctl(archived, "verify", "--full"))
        alone.append(bench.esctl(archived, "archive", "verify"))
    yield duration("verify --full", "the same, hot", after, before)
    yield duration("archive verify", "verify --full, hot", alone, before)


def append(bench: Bench, hot: Path, archived: Path) -> Figure:
    """Append more."""
    events = min(MORE_EVENTS, bench.events)
    runs, bases = [], []
    for n in bench.rounds:
        more = bench.file("more.ndjson", lines(events, bench.streams, seed=100 + n))
        bases.append(bench.esctl(hot, "append", more).wall)
        runs.append(bench.esctl(archived, "append", more))
    return rate(f"append of {events:,} events", "the same, hot", runs, bases, events)
