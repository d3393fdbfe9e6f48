"""What erasing costs: of one event it is flat but for the search of the file, and of a stream, the rows of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.workbench import EVENTS_PER_STREAM, Bench, Figure, Run, duration, lines

SMALL_EVENTS = 10_000
MODEL = """[projection.orders]
table = "create table orders(k text primary key, events integer not null, spent)"
[projection.orders.on]
"*" = '''insert into orders values (new.stream, 1, new.data ->> 'amount')
on conflict(k) do update set events = events + 1, spent = decimal_add(spent, excluded.spent)'''
"""


def figures(bench: Bench) -> Iterator[Figure]:
    """What it costs to erase one event, hot and archived, and a stream with a projection in the log."""
    count = min(SMALL_EVENTS, bench.events)
    small, large = bench.empty("small.db"), bench.copy(bench.log(), "large.db")
    bench.esctl(small, "append", bench.file("small.ndjson", lines(count, max(1, count // EVENTS_PER_STREAM))))
    hot, base = erased(bench, large, bench.events), erased(bench, small, count)
    yield duration("erase of one event", f"the same, {count:,} events", hot, base)
    for path in (large, small):
        bench.esctl(path, "model", "apply", bench.file("orders.toml", [MODEL]), "--yes")
        bench.esctl(path, "projection", "run")
    hot, base = of_streams(bench, large), of_streams(bench, small)
    yield duration("erase of a stream, projection", f"the same, {count:,} events", hot, base)
    for path in (large, small):
        bench.esctl(path, "archive", "create", "--keep-last", "0", "--yes")
        bench.esctl(path, "projection", "drop", "orders", "--yes")
    cold, base = erased(bench, large, bench.events, 1), erased(bench, small, count, 1)
    yield duration("erase of one archived event", f"the same, {count:,} events", cold, base)


def erased(bench: Bench, log: Path, count: int, offset: int = 0) -> list[Run]:
    """Erase single events, which are all over the log."""
    step = count // len(bench.short_rounds)
    return [erase(bench, log, str(1 + n * step + offset)) for n in bench.short_rounds]


def of_streams(bench: Bench, log: Path) -> list[Run]:
    """Erase all events of single streams."""
    streams = [row["stream"] for row in bench.ask(log, "streams")]
    step = len(streams) // len(bench.short_rounds)
    return [erase(bench, log, "--stream", streams[n * step]) for n in bench.short_rounds]


def erase(bench: Bench, log: Path, *which: str) -> Run:
    """Time an erasure of some events."""
    return bench.esctl(log, "erase", *which, "--reason", "benchmark", "--force", "--yes")
