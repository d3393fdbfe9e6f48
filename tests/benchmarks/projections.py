"""What projections cost: one that takes all events, and keeps a row for each of 4,160 customers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
UPCAST = TYPES[::2]
FIVE = tuple(f"customers{n}" for n in range(5))
NEW_EVENTS = 100
INLINE_EVENTS = 200_000


def apply(bench: Bench, log: Path, *, inline: bool = False, names: Sequence[str] = ("customers",)) -> Path:
    """Declare the projection in a log, perhaps several times, under other names."""
    written = "".join(f'{type_} = """{sql.format(*NEW)}"""\n' for type_, sql in HANDLERS.items())
    declared = f'inline = {str(inline).lower()}\ntable = """{TABLE}"""\n'
    model = f"[projection.customers]\n{declared}[projection.customers.on]\n{written}"
    models = (model.replace("customers", name) for name in names)
    bench.esctl(log, "model", "apply", bench.file("projection.toml", models), "--yes")
    return log


def upcast(bench: Bench, log: Path) -> Path:
    """Declare the projection in a log in which half of the events need two steps before it sees them."""
    steps = "".join(
        f"[event.{type_}]\nschema = 3\n[[event.{type_}.upcast]]\nfrom = 1\ndefault = {{ discount = 0 }}\n"
        f'[[event.{type_}.upcast]]\nfrom = 2\nrename = {{ amount = "total" }}\n'
        for type_ in UPCAST
    )
    amounts = {type_: NEW[1].replace("amount", "total") if type_ in UPCAST else NEW[1] for type_ in HANDLERS}
    handlers = {type_: sql.format(NEW[0], amounts[type_]) for type_, sql in HANDLERS.items()}
    written = "".join(f'{type_} = """{sql}"""\n' for type_, sql in handlers.items())
    model = f'{steps}[projection.customers]\ntable = """{TABLE}"""\n[projection.customers.on]\n{written}'
    bench.esctl(log, "model", "apply", bench.file("upcast.toml", [model]), "--yes")
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
    rebuilt, cold, upcasts, five = [], [], [], []
    old = upcast(bench, bench.copy(bench.log(), "old.db"))
    several = apply(bench, bench.copy(bench.log(), "several.db"), names=FIVE)
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
        upcasts.append(bench.esctl(bench.copy(old, "run.db"), "projection", "run"))
        five.append(bench.esctl(bench.copy(several, "run.db"), "projection", "run"))
    walls = [ended.wall for ended in hot]
    yield rate("projection run", "bare SELECT", hot, selected, bench.events)
    yield rate("projection run", "Python UPSERT loop", hot, looped, bench.events)
    yield rate("projection rebuild", "projection run", rebuilt, walls, bench.events)
    yield rate("projection run, with upcasts", "projection run", upcasts, walls, bench.events)
    yield duration("projection run, five alike", "projection run", five, hot)
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
