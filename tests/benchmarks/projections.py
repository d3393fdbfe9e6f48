"""What projections cost: one that takes all events, and keeps a row for each of 4,160 customers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.workbench import TYPES, Bench, Figure, Run, baseline, duration, lines, rate

TABLE = """create table customers(
  customer text primary key, orders integer not null default 0, spent real not null default 0,
  paid real not null default 0
)"""
PLACED = """insert into customers(customer, orders, spent) values ({0}, 1, {1})
on conflict(customer) do update set orders = orders + 1, spent = spent + excluded.spent"""
PAID = """insert into customers(customer, paid) values ({0}, {1})
on conflict(customer) do update set paid = paid + excluded.paid"""
NEW = ("new.data ->> 'customer'", "new.data ->> 'amount'")
HANDLERS = {type_: (PLACED, PAID)[n % 2] for n, type_ in enumerate(TYPES)}  # {0}: the customer, {1}: the amount
NEW_EVENTS = 100
INLINE_EVENTS = 200_000


def apply(bench: Bench, log: Path, *, inline: bool = False) -> Path:
    """Declare the projection in a log."""
    written = "".join(f'{type_} = """{sql.format(*NEW)}"""\n' for type_, sql in HANDLERS.items())
    declared = f'inline = {str(inline).lower()}\ntable = """{TABLE}"""\n'
    model = f"[projection.customers]\n{declared}[projection.customers.on]\n{written}"
    bench.esctl(log, "model", "apply", bench.file("projection.toml", [model]), "--yes")
    return log


def figures(bench: Bench) -> Iterator[Figure]:
    """What a projection costs, against reading the events, a loop in Python, and doing without."""
    log = apply(bench, bench.copy(bench.log(), "declared.db"))
    yield from runs(bench, log)
    yield catch_up(bench, log)
    yield inline(bench)


def runs(bench: Bench, log: Path) -> Iterator[Figure]:
    """Runs from the beginning, on a hot and on an archived log, and a rebuild beside the live version."""
    archived = bench.copy(log, "archived.db")
    bench.esctl(archived, "archive", "create", "--keep-last", "0", "--yes", "-q")
    hot: list[Run] = []
    rebuilt, cold = [], []
    selected, looped = [], []
    for n in bench.rounds:
        path = bench.copy(log, "run.db")
        hot.append(bench.esctl(path, "projection", "run"))
        selected.append(baseline("select", path))
        looped.append(baseline("upsert", path))
        rebuilt.append(bench.esctl(path, "projection", "rebuild", "customers"))
        if n:
            bench.esctl(archived, "projection", "drop", "customers", "--yes")
        cold.append(bench.esctl(archived, "projection", "run", "customers"))
    walls = [ended.wall for ended in hot]
    yield rate("projection run", "bare SELECT", hot, selected, bench.events)
    yield rate("projection run", "Python UPSERT loop", hot, looped, bench.events)
    yield rate("projection rebuild", "projection run", rebuilt, walls, bench.events)
    yield rate("projection run, archived", "projection run, hot", cold, walls, bench.events)


def catch_up(bench: Bench, log: Path) -> Figure:
    """A run that takes some new events."""
    path = bench.copy(log, "run.db")
    bench.esctl(path, "projection", "run")
    new, heads = [], []
    for n in bench.short_rounds:
        more = bench.file("more.ndjson", lines(NEW_EVENTS, bench.streams, seed=8 + n))
        bench.esctl(path, "append", more)
        new.append(bench.esctl(path, "projection", "run"))
        heads.append(bench.esctl(path, "head"))
    return duration(f"projection run, {NEW_EVENTS} new events", "cold head", new, heads)


def inline(bench: Bench) -> Figure:
    """Bulk append that keeps the projection in its own transactions."""
    events = min(INLINE_EVENTS, bench.events)
    source = bench.file("inline.ndjson", lines(events, bench.streams))
    apart, inside = (apply(bench, bench.empty(f"inline-{n}.db"), inline=bool(n)) for n in range(2))
    without, kept = [], []
    for _ in bench.rounds:
        without.append(bench.esctl(bench.copy(apart, "inline.db"), "append", source=source).wall)
        kept.append(bench.esctl(bench.copy(inside, "inline.db"), "append", source=source))
    return rate("append, projection inline", "append, not inline", kept, without, events)
