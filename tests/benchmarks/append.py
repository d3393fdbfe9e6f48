"""Bulk append: all events from a pipe into an empty log."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.workbench import Bench, Figure, baseline, rate

LINES_PER_TRANSACTION = 10_000  # as esctl takes them from a pipe


def figures(bench: Bench) -> Iterator[Figure]:
    """Bulk append from a pipe, against bare executemany of the same rows."""
    source, runs, bases = bench.source(), [], []
    for _ in bench.rounds:
        log = bench.empty("append.db")
        runs.append(bench.esctl(log, "append", source=source))
        bases.append(baseline("insert", log, bench.empty("bare.db"), str(LINES_PER_TRANSACTION)))
    size = log.stat().st_size / bench.events
    yield rate("append", "bare executemany", runs, bases, bench.events, bytes_per_event=size)
