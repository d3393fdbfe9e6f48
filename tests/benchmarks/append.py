"""Bulk append: all events from a pipe into an empty log."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.workbench import Bench, Figure, baseline, rate

LINES_PER_TRANSACTION = 10_000  # as esctl takes them from a pipe


def figures(bench: Bench) -> Iterator[Figure]:
    """Bulk append from a pipe, against bare executemany of the same rows; and the same input again."""
    source, runs, bases, again = bench.source(), [], [], []
    for _ in bench.rounds:
        log = bench.empty("append.db")
        runs.append(bench.esctl(log, "append", source=source))
        bases.append(baseline("insert", log, bench.empty("bare.db"), str(LINES_PER_TRANSACTION)))
        again.append(bench.esctl(log, "append", source=source))
    size, first = log.stat().st_size / bench.events, [run.wall for run in runs]
    yield rate("append", "bare executemany", runs, bases, bench.events, bytes_per_event=size)
    yield rate("the same input again", "append", again, first, bench.events)
    bench.esctl(log, "archive", "create", "--keep-last", "0", "--yes")
    archived = [bench.esctl(log, "append", source=source) for _ in bench.rounds]
    yield rate("the same again, archived", "append", archived, first, bench.events)
