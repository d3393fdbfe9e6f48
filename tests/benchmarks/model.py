"""What a model costs: upcasts, folds, snapshots, rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.benchmarks.workbench import ROOT, Bench, Figure, Run, cpu, duration, lines, rate, run

SHOP = ROOT / "sample_data" / "shop.toml"
LONG, SHORT = "order-000000", "order-000001"
LONG_EVENTS, SHORT_EVENTS = 100_000, 100
RULED_EVENTS = 200_000
UPCAST = ("OrderPlaced", "ItemAdded", "NoteWritten")  # half of the types that the lines have
MODEL = (
    "".join(
        f"[event.{name}]\nschema = 3\n"
        f"[[event.{name}.upcast]]\nfrom = 1\ndefault = {{ discount = 0 }}\n"
        f'[[event.{name}.upcast]]\nfrom = 2\nrename = {{ amount = "total_amount" }}\n'
        for name in UPCAST
    )
    + """
[aggregate.order]
streams = "order-*"
initial = { status = "New", total_amount = 0, paid = 0 }
snapshot = { every = 100 }
[aggregate.order.on.OrderPlaced]
set = { status = "Placed", customer = "$.customer", total_amount = "$.total_amount" }
[[aggregate.order.on.PaymentReceived]]
add = { paid = "$.amount" }
[[aggregate.order.on.PaymentReceived]]
when = "state ->> 'paid' >= state ->> 'total_amount'"
set = { status = "Paid" }
[aggregate.order.on.OrderShipped]
set = { status = "Shipped" }
[aggregate.order.on.OrderClosed]
set = { status = "Closed" }
[aggregate.order.on.ItemAdded]
add = { total_amount = "$.total_amount" }
[aggregate.order.accept]
OrderPlaced = "state ->> 'status' <> 'Lost'"
PaymentReceived = "state ->> 'status' <> 'Lost' and new.data ->> 'amount' >= 0"
OrderClosed = "state ->> 'paid' >= 0"
"""
)
SELECT_STREAM = """
import apsw, sys
connection = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READWRITE)
for _ in connection.execute("select * from log where stream = ? order by version", (sys.argv[2],)):
    pass
"""


def newest(made: Iterable[str]) -> Iterator[str]:
    """The same lines in the newest schema of the model."""
    for line in made:
        old = any(f'"type":"{name}"' in line for name in UPCAST)
        yield line.replace('"amount":', '"discount":0,"total_amount":') if old else line


def apply(bench: Bench, log: Path) -> Path:
    """Have the model hold in a log."""
    bench.esctl(log, "model", "apply", bench.file("model.toml", [MODEL]), "--yes")
    return log


def figures(bench: Bench) -> Iterator[Figure]:
    """What upcasts, states, snapshots and rules of a model cost, against the same work without them."""
    modelled = apply(bench, bench.copy(bench.log(), "modelled.db"))
    yield from whole(bench, modelled)
    yield from one_stream(bench)
    yield from rules(bench)
    yield from cold(bench)


def whole(bench: Bench, modelled: Path) -> Iterator[Figure]:
    """Replay of events half of which need a default and a rename, and the states of all streams."""
    plain, replays, states, taken, verified = [], [], [], [], []
    for _ in bench.rounds:
        plain.append(bench.esctl(bench.log(), "replay"))
        replays.append(bench.esctl(modelled, "replay"))
        states.append(bench.esctl(modelled, "state", "--all", "--aggregate", "order", "-o", "ndjson"))
        copy = bench.copy(modelled, "taken.db")
        taken.append(bench.esctl(copy, "snapshot", "take", "--all"))
        verified.append(bench.esctl(copy, "snapshot", "verify"))
    bases = [ended.wall for ended in plain]
    yield rate("replay with upcasts", "replay without a model", replays, bases, bench.events)
    yield duration("state --all", "replay with upcasts", states, replays)
    yield duration("snapshot take --all", "state --all", taken, states)
    yield duration("snapshot verify", "state --all", verified, states)


def long_log(bench: Bench) -> tuple[Path, int]:
    """A log with one long stream, a snapshot every 100 events, the newest 99 back; and a short stream without."""
    events = min(LONG_EVENTS, bench.events) // 100 * 100
    log = apply(bench, bench.empty("long.db"))
    bench.esctl(log, "append", bench.file("long.ndjson", newest(lines(events, 1))), "--batch", "100")
    rest = list(newest(lines(99 + SHORT_EVENTS, 1, seed=8)))
    rest[99:] = [line.replace(LONG, SHORT) for line in rest[99:]]
    bench.esctl(log, "append", bench.file("rest.ndjson", rest), "--no-rules")
    return log, events + 99


def one_stream(bench: Bench) -> Iterator[Figure]:
    """The state of one long stream, folded from its beginning and from a snapshot."""
    log, events = long_log(bench)
    selects, folds = [], []
    for _ in bench.rounds:
        selects.append(run([bench.python, "-c", SELECT_STREAM, str(log), LONG]).wall)
        folds.append(bench.esctl(log, "state", LONG, "--no-snapshot"))
    yield rate(f"state of {events:,} events", "Python and a bare SELECT", folds, selects, events)
    near, short = [], []
    for _ in bench.short_rounds:
        short.append(bench.esctl(log, "state", SHORT))
        near.append(bench.esctl(log, "state", LONG))
    yield duration("state near a snapshot", f"state of {SHORT_EVENTS} events", near, short)


def rules(bench: Bench) -> Iterator[Figure]:
    """Bulk append under rules."""
    events = min(RULED_EVENTS, bench.events)
    source = bench.file("ruled.ndjson", newest(lines(events, max(1, events // 4))))
    declared = apply(bench, bench.empty("rules.db"))
    ruled, unruled, unmodelled = [], [], []
    for _ in bench.rounds:
        ruled.append(bench.esctl(bench.copy(declared, "ruled.db"), "append", source=source))
        unruled.append(bench.esctl(bench.copy(declared, "ruled.db"), "append", "--no-rules", source=source).wall)
        unmodelled.append(bench.esctl(bench.empty("ruled.db"), "append", source=source).wall)
    yield rate("append with rules", "append --no-rules", ruled, unruled, events)
    yield rate("append with rules", "append without a model", ruled, unmodelled, events)


def cold(bench: Bench) -> Iterator[Figure]:
    """Single commands on a log with the sample model and streams of 10 events."""
    placed = '"type":"OrderPlaced","data":{"customer_id":"201","total_amount":99.90,"discount":0}'
    paid = '"type":"PaymentReceived","data":{"payment_id":"%d","amount":10.00}'
    streams = [f"order-{n}" for n in bench.short_rounds]
    made = [f'{{"stream":"{stream}",{paid % i if i else placed}}}\n' for stream in streams for i in range(10)]
    source = bench.file("cold.ndjson", made)
    modelled, plain = bench.empty("cold-model.db"), bench.empty("cold-plain.db")
    bench.esctl(modelled, "model", "apply", SHOP, "--yes")
    for log in (modelled, plain):
        bench.esctl(log, "append", source)
    runs: dict[str, list[Run]] = {"bare": [], "append": [], "plain": [], "state": []}
    for stream in streams:
        event = (stream, "PaymentReceived", '{"payment_id":"10","amount":10.00}')
        runs["bare"].append(bench.bare_python())
        runs["append"].append(bench.esctl(modelled, "append", *event))
        runs["plain"].append(bench.esctl(plain, "append", *event))
        runs["state"].append(bench.esctl(modelled, "state", stream))
    yield cpu("cold append, with a model", "cold append, without", runs["append"], runs["plain"])
    yield cpu("cold append, with a model", "bare Python", runs["append"], runs["bare"])
    yield cpu("cold state", "bare Python", runs["state"], runs["bare"])
