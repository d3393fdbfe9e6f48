"""Print what a model costs, as ratios to the same work without one, or to bare baselines, measured in turn.

    python -m tests.benchmarks.model [--events 1000000] [--streams 50000] [--rounds 5] [--only upcast,fold,…]

Figures: upcast (replay through a two-step chain), fold (one long stream), snapshot (a state near one), states (of all
streams), rules (bulk append), cold (single commands). Nothing is judged here. With --folder, logs are made once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apsw

from esctl import aggregates
from esctl.log import EventLog
from esctl.query import Query
from tests.benchmarks.bench import ESCTL, fresh, lines, timed, told

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "sample_data" / "shop.toml"
LONG, SHORT = "order-000000", "order-000001"
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
SELECT_STREAM = "select * from events where stream_id = (select stream_id from streams where name = ?) order by version"
BARE_SELECT = f"""
import apsw, sys
connection = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READWRITE)
for _ in connection.execute({SELECT_STREAM!r}, (sys.argv[2],)):
    pass
"""


def current(made: Iterable[str]) -> Iterator[str]:
    """The same lines in the newest schema of the model."""
    for line in made:
        old = any(f'"type":"{name}"' in line for name in UPCAST)
        yield line.replace('"amount":', '"discount":0,"total_amount":') if old else line


def quietly(*arguments: str | Path) -> None:
    """Run an esctl command for what it does."""
    subprocess.run([*ESCTL, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


class Logs:
    """The files that figures are taken from, each made when it is first asked for."""

    def __init__(self, folder: Path, events: int, streams: int) -> None:
        self.folder, self.events, self.streams = folder, events, streams
        self.model = folder / "model.toml"
        self.model.write_text(MODEL)

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        path = self.folder / name
        if not path.exists():
            draft = self.folder / f"draft-{name}"
            make(draft)
            draft.rename(path)
        return path

    def _lines(self, name: str, made: Iterable[str]) -> Path:
        def write(path: Path) -> None:
            with path.open("w") as file:
                file.writelines(made)

        return self._made(name, write)

    def _append(self, path: Path, source: Path, *options: str) -> None:
        quietly("append", "--log", path, source, *options)

    def apply(self, path: Path, model: Path | None = None) -> Path:
        """Have the model hold in a log."""
        quietly("model", "apply", "--yes", "--log", path, model or self.model)
        return path

    def empty(self, name: str, *, modelled: bool) -> Path:
        """A log with no events, made anew."""
        path = fresh(self.folder / name)
        return self.apply(path) if modelled else path

    def plain(self) -> Path:
        """All events in their oldest schema, without a model."""

        def make(path: Path) -> None:
            self._append(fresh(path), self._lines("events.ndjson", lines(self.events, self.streams)))

        return self._made("plain.db", make)

    def modelled(self) -> Path:
        """The same with the model, which reads half of them through two steps."""

        def make(path: Path) -> None:
            shutil.copyfile(self.plain(), path)
            self.apply(path)

        return self._made("modelled.db", make)

    def current(self, events: int, streams: int) -> Path:
        """Lines in the newest schema."""
        return self._lines(f"current-{events}-{streams}.ndjson", current(lines(events, streams)))

    def long(self) -> Path:
        """One stream of 100,000 events and a snapshot every 100, the newest 99 back; and one of 100 without."""

        def make(path: Path) -> None:
            self.apply(fresh(path))
            self._append(path, self.current(100_000, 1), "--batch", "100")
            rest = current(lines(199, 1, seed=8))
            text = "".join(next(rest) for _ in range(99)) + "".join(rest).replace(LONG, SHORT)
            self._append(path, self._lines("rest.ndjson", [text]), "--no-rules")

        return self._made("long.db", make)


def replay_here(path: Path) -> float:
    """Seconds of a full replay within this process."""
    with EventLog(path) as log:
        start = time.perf_counter()
        for _ in log.lines(Query()):
            pass
        return time.perf_counter() - start


def fold_here(path: Path) -> float:
    """Seconds of a fold of the long stream within this process; what compiling the model takes is no part of it."""
    with EventLog(path) as log:
        assert log.definitions.upcasting
        start = time.perf_counter()
        aggregates.state(log, Query(stream=LONG), saved=False)
        return time.perf_counter() - start


def select_here(path: Path) -> float:
    """Seconds of a bare SELECT of the long stream within this process."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    start = time.perf_counter()
    for _ in connection.execute(SELECT_STREAM, (LONG,)):
        pass
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


HERE: dict[str, Callable[[Path], float]] = {"replay": replay_here, "fold": fold_here, "select": select_here}


def within(what: str, path: Path) -> float:
    """Seconds of something in a process of its own, its start not counted."""
    command = [sys.executable, "-m", "tests.benchmarks.model", "--here", what, str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def esctl(path: Path, *arguments: str) -> tuple[float, float]:
    """Seconds and peak MiB of an esctl command on a log."""
    return timed([*ESCTL, *arguments, "--log", str(path)])


def upcast(logs: Logs, rounds: int) -> None:
    """Replay of events half of which need a default and a rename, against replay of the same without a model."""
    plain, modelled = logs.plain(), logs.modelled()
    whole, inner, rates = [], [], []
    for _ in range(rounds):
        bare, seconds = esctl(plain, "replay")[0], esctl(modelled, "replay")[0]
        whole.append(bare / seconds)
        rates.append(logs.events / seconds)
        bare, seconds = within("replay", plain), within("replay", modelled)
        inner.append(bare / seconds)
    told("replay with upcasts, rate / without", whole, f"{max(rates):,.0f} events/s")
    told("the same in process", inner, "")


def fold(logs: Logs, rounds: int) -> None:
    """The state of one stream of 100,000 events, against a bare SELECT of it."""
    path = logs.long()
    whole, inner, rates = [], [], []
    for _ in range(rounds):
        bare, _ = timed([sys.executable, "-c", BARE_SELECT, str(path), LONG])
        seconds, _ = esctl(path, "state", LONG, "--no-snapshot")
        whole.append(bare / seconds)
        bare, seconds = within("select", path), within("fold", path)
        inner.append(bare / seconds)
        rates.append(100_000 / seconds)
    told("fold, rate / bare SELECT", inner, f"{max(rates):,.0f} events/s")
    told("esctl state / python and SELECT", whole, "rate, start included")


def snapshot(logs: Logs, rounds: int) -> None:
    """The state of a stream of 100,000 events with a snapshot 99 back, against that of 100 events without."""
    path, ratios = logs.long(), []
    for _ in range(4 * rounds):
        bare, seconds = esctl(path, "state", SHORT)[0], esctl(path, "state", LONG)[0]
        ratios.append(seconds / bare)
    told("state near a snapshot / of 100 events", ratios, f"{seconds * 1000:.0f} ms")


def states(logs: Logs, rounds: int) -> None:
    """The states of all streams, against full replay."""
    path = logs.modelled()
    ratios, peaks = [], []
    for _ in range(rounds):
        bare, _ = esctl(path, "replay")
        seconds, peak = esctl(path, "state", "--all", "--aggregate", "order", "-o", "ndjson")
        ratios.append(seconds / bare)
        peaks.append(peak)
    told("state --all, time / full replay", ratios, f"{seconds:.1f} s, {max(peaks):.0f} MiB")


def rules(logs: Logs, rounds: int) -> None:
    """Bulk append under rules, against the same with --no-rules and without a model."""
    events = 200_000
    source = logs.current(events, 50_000)
    unasked, unmodelled, rates = [], [], []
    for _ in range(rounds):
        seconds, _ = timed([*ESCTL, "append", "--log", str(logs.empty("ruled.db", modelled=True))], source)
        unruled = [*ESCTL, "append", "--no-rules", "--log", str(logs.empty("unruled.db", modelled=True))]
        unasked.append(timed(unruled, source)[0] / seconds)
        bare, _ = timed([*ESCTL, "append", "--log", str(logs.empty("bare.db", modelled=False))], source)
        unmodelled.append(bare / seconds)
        rates.append(events / seconds)
    told("append with rules, rate / --no-rules", unasked, f"{max(rates):,.0f} events/s")
    told("append with rules, rate / no model", unmodelled, "")


def cold(logs: Logs, rounds: int) -> None:
    """Single commands on a log with the sample model and streams of 10 events."""
    count = 4 * rounds
    placed = '"type":"OrderPlaced","data":{"customer_id":"201","total_amount":99.90,"discount":0}'
    paid = '"type":"PaymentReceived","data":{"payment_id":"%d","amount":10.00}'
    made = [f'{{"stream":"order-{n}",{paid % i if i else placed}}}\n' for n in range(count) for i in range(10)]
    source = logs.folder / "cold.ndjson"
    source.write_text("".join(made))
    paths = []
    for name in ("cold-model.db", "cold-plain.db"):
        path = fresh(logs.folder / name)
        if name == "cold-model.db":
            logs.apply(path, SHOP)
        quietly("append", "--log", path, source)
        paths.append(path)
    figures: dict[str, list[float]] = {}
    for n in range(count):
        bare, _ = timed([sys.executable, "-c", "pass"])
        event = (f"order-{n}", "PaymentReceived", '{"payment_id":"10","amount":10.00}')
        seconds, plain = (esctl(path, "append", *event)[0] for path in paths)
        shown, merged = (esctl(path, "state", f"order-{n}")[0] for path in paths)
        for what, ratio in (
            ("cold append, model / none", seconds / plain),
            ("cold append, model / python -c pass", seconds / bare),
            ("cold state, model / none", shown / merged),
            ("cold state, model / python -c pass", shown / bare),
        ):
            figures.setdefault(what, []).append(ratio)
    for what, ratios in figures.items():
        told(what, ratios, f"{(seconds if 'append' in what else shown) * 1000:.0f} ms")


FIGURES: dict[str, Callable[[Logs, int], None]] = {
    "upcast": upcast,
    "fold": fold,
    "snapshot": snapshot,
    "states": states,
    "rules": rules,
    "cold": cold,
}


def main() -> None:
    """Run what is asked for."""
    if sys.argv[1:2] == ["--here"]:
        print(HERE[sys.argv[2]](Path(sys.argv[3])))
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--streams", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default=",".join(FIGURES))
    options.add_argument("--folder", type=Path, help="where the files go; kept, and used again [a temporary folder]")
    given = options.parse_args()
    wanted: set[str] = set(given.only.split(","))
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has been compiled, and starts faster
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        logs = Logs(folder, given.events, given.streams)
        for name, figure in FIGURES.items():
            if name in wanted:
                figure(logs, given.rounds)


if __name__ == "__main__":
    main()
