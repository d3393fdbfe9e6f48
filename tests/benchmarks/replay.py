"""Full replay: all events of a log as lines."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.workbench import Bench, Figure, baseline, rate


def figures(bench: Bench) -> Iterator[Figure]:
    """Full replay, against a bare SELECT of the same columns."""
    log, runs, bases = bench.log(), [], []
    for _ in bench.rounds:
        runs.append(bench.esctl(log, "replay"))
        bases.append(baseline("select", log))
    yield rate("replay", "bare SELECT", runs, bases, bench.events)
