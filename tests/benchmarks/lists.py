"""What a list or a filter costs in a long log: 0.1 % of its events, counts by type, a change of the model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.benchmarks.workbench import Bench, Figure, Run, duration, lines

FEW = 10_000  # events of the short log
BEFORE = """
[event.Percent]
schema = 1
[aggregate.order]
streams = "order-*"
on.OrderPlaced.set = { status = "Placed" }
"""
AFTER = BEFORE.replace(
    "schema = 1", 'schema = 2\n[[event.Percent.upcast]]\nfrom = 1\nrename = { amount = "total_amount" }'
)
FOLDED = 'on.Percent.set = { note = "$.note" }\n'


def some(made: Iterator[str]) -> Iterator[str]:
    """The same lines; a thousandth is of a type of its own, another in a category, and a hundredth of a third type."""
    for number, line in enumerate(made):
        if number % 1000 == 500:
            yield line.replace(line.split('"type":"')[1].split('"')[0], "Rare", 1)
        elif number % 1000 == 700:
            yield line.replace('"stream":"order-', '"stream":"special-', 1)
        elif number % 100 == 50:
            yield line.replace(line.split('"type":"')[1].split('"')[0], "Percent", 1)
        else:
            yield line


def moments(events: int) -> tuple[str, str]:
    """Between which times a thousandth of the events is, in the middle of the log."""
    first, last = (next(islice(lines(at + 1, 1), at, None)) for at in (events // 2, events // 2 + events // 1000))
    since, until = (line.split('"time":"')[1].split('"')[0] for line in (first, last))
    return since, until


def log(bench: Bench, events: int) -> Path:
    """A log of so many events."""

    def make(path: Path) -> None:
        source = bench.file(f"{path.stem}.ndjson", some(lines(events, max(1, events // 20))))
        bench.esctl(bench.empty(path.name), "append", source)

    return bench.once(f"lists-{events}.db", make)


def figures(bench: Bench) -> Iterator[Figure]:
    """What filters and lists cost in a long log, against the same in a short one, and against the newest events."""
    long, short = log(bench, bench.events), log(bench, min(FEW, bench.events))
    since, until = moments(bench.events)
    filters = {
        "a type of 0.1 %, spread evenly": ("--type", "Rare"),
        "the same by --where": ("--where", "type = 'Rare'"),
        "a time of 0.1 %": ("--since", since, "--until", until),
        "a category of 0.1 %": ("--category", "special"),
    }
    newest: list[Run] = []
    found: dict[str, list[Run]] = {name: [] for name in filters}
    for _ in bench.short_rounds:
        newest.append(bench.esctl(long, "replay", "--last", "10"))
        for name, options in filters.items():
            found[name].append(bench.esctl(long, "replay", *options))
    for name, runs in found.items():
        yield duration(name, "replay --last 10", runs, newest)
    for command in ("types", "info", "streams --limit 20"):
        pairs = [[bench.esctl(path, *command.split()) for path in (long, short)] for _ in bench.short_rounds]
        yield duration(command, f"in a log of {FEW:,}", [pair[0] for pair in pairs], [pair[1] for pair in pairs])
    yield from changes(bench, long)


def changes(bench: Bench, long: Path) -> Iterator[Figure]:
    """A model that reads a hundredth of the events in another way, folded by no aggregate, and by one."""
    for name, more in (("1 % changes", ""), ("1 % changes, folded", FOLDED)):
        held = bench.copy(long, "changed.db")
        bench.esctl(held, "model", "apply", bench.file("before.toml", [BEFORE + more]), "--yes")
        after = bench.file("after.toml", [AFTER + more])
        pairs = [(bench.esctl(held, "model", "plan", after), bench.esctl(held, "replay")) for _ in bench.rounds]
        yield duration(f"model plan, {name}", "replay", [pair[0] for pair in pairs], [pair[1] for pair in pairs])
