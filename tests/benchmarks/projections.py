"""Print what projections cost, as ratios to bare baselines measured in turn.

    python -m tests.benchmarks.projections [--events 1000000] [--streams 50000] [--rounds 3] [--only run,catch-up,…]

Figures: run (a projection with two handlers over all events, whole process, against a bare SELECT of the same events
and a Python loop with one UPSERT an event), rebuild, archived (the run, over an archived log), catch-up (100 new
events, whole process, against a cold `esctl head`), inline (bulk append that keeps the same projection). Nothing is
judged here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from esctl.stores.sqlite import BULK_CACHE_KIB, BULK_CHECKPOINT_PAGES, SETTINGS
from tests.benchmarks.bench import ESCTL, TYPES, bare_select, fresh, lines, timed, told

ROOT = Path(__file__).resolve().parents[2]
CUSTOMERS = 4096
TABLE = """create table customers(
  customer text primary key, orders integer not null default 0, spent real not null default 0,
  paid real not null default 0
)"""
PLACED = """insert into customers(customer, orders, spent) values ({0}, 1, {1})
on conflict(customer) do update set orders = orders + 1, spent = spent + excluded.spent"""
PAID = """insert into customers(customer, paid) values ({0}, {1})
on conflict(customer) do update set paid = paid + excluded.paid"""
NEW = ("new.data ->> 'customer'", "new.data ->> 'amount'")
MODEL = f'''
[projection.customers]
inline = {{inline}}
table = """{TABLE}"""
[projection.customers.on]
OrderPlaced = """{PLACED.format(*NEW)}"""
PaymentReceived = """{PAID.format(*NEW)}"""
'''
AT_ONCE = 20_000


def handled(events: int, streams: int, seed: int = 7) -> Iterator[str]:
    """The lines of the other benchmarks with two types and some thousand customers."""
    types = {name: ("OrderPlaced", "PaymentReceived")[n % 2] for n, name in enumerate(TYPES)}
    for line in lines(events, streams, seed):
        one = re.sub(r'"type":"(\w+)"', lambda match: f'"type":"{types[match[1]]}"', line, count=1)
        yield re.sub(r'"customer":"(...)[^"]*"', r'"customer":"customer \1"', one, count=1)


def python_loop(path: Path) -> float:
    """Seconds of a loop in Python that does the same with the standard module: a row, its JSON, one UPSERT."""
    reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    target = path.with_suffix(".loop")
    target.unlink(missing_ok=True)
    writer = sqlite3.connect(target, isolation_level=None)
    writer.executescript(f"pragma journal_mode = wal; {SETTINGS} pragma cache_size = -{BULK_CACHE_KIB};")
    writer.executescript(f"pragma wal_autocheckpoint = {BULK_CHECKPOINT_PAGES}; {TABLE}")
    start = time.perf_counter()
    writer.execute("begin immediate")
    sql = "select position, name, data from events join types using (type_id) where stream_id > 0 order by position"
    for position, type_, data in reader.execute(sql):
        payload = json.loads(data)
        upsert = PLACED if type_ == "OrderPlaced" else PAID
        writer.execute(upsert.format("?", "?"), (payload["customer"], payload["amount"]))
        if position % AT_ONCE == 0:
            writer.execute("commit")
            writer.execute("begin immediate")
    writer.execute("commit")
    seconds = time.perf_counter() - start
    writer.close()
    target.unlink()
    return seconds


HERE: dict[str, Callable[[Path], float]] = {"select": bare_select, "loop": python_loop}


def elsewhere(what: str, path: Path) -> float:
    """Seconds of a baseline in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.projections", "--here", what, str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def quietly(*arguments: str | Path) -> None:
    """Run an esctl command for what it does."""
    subprocess.run([*ESCTL, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


class Logs:
    """The log that figures are taken from, and copies of it."""

    def __init__(self, folder: Path, events: int, streams: int) -> None:
        self.folder, self.events = folder, events
        self.source, self.path = folder / "handled.ndjson", folder / "handled.db"
        for inline in ("true", "false"):
            (folder / f"{inline}.toml").write_text(MODEL.format(inline=inline))
        if not self.path.exists():
            with self.source.open("w") as file:
                file.writelines(handled(events, streams))
            draft = fresh(folder / "draft.db")
            quietly("append", "--log", draft, self.source)
            quietly("model", "apply", folder / "false.toml", "--log", draft)
            draft.rename(self.path)

    def copy(self, name: str) -> Path:
        """The log as it was, under another name."""
        path = self.folder / name
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self.path, path)
        with path.open("rb+") as file:
            os.fsync(file)  # else the first commit that is timed would write the copy
        return path


def run(logs: Logs, rounds: int) -> None:
    """Runs from the beginning, hot and archived, and a rebuild beside."""
    ratios: dict[str, list[float]] = {"select": [], "loop": [], "rebuild": []}
    peaks, rates = [], []
    for _ in range(rounds):
        path = logs.copy("run.db")
        seconds, peak = timed([*ESCTL, "projection", "run", "--log", str(path)])
        ratios["select"].append(elsewhere("select", path) / seconds)
        ratios["loop"].append(elsewhere("loop", path) / seconds)
        again, more = timed([*ESCTL, "projection", "rebuild", "customers", "--log", str(path)])
        ratios["rebuild"].append(seconds / again)
        peaks += [peak, more]
        rates.append(logs.events / seconds)
    told("run, rate / bare SELECT", ratios["select"], f"{max(rates):,.0f} events/s, {max(peaks):.0f} MiB")
    told("run, rate / Python UPSERT loop", ratios["loop"], "")
    told("rebuild, rate / run", ratios["rebuild"], "")


def archived(logs: Logs, rounds: int) -> None:
    """The same run over a log of which all is archived."""
    path = logs.copy("cold.db")
    quietly("archive", "create", "--keep-last", "0", "--yes", "-q", "--log", path)
    ratios, peaks = [], []
    for _ in range(rounds):
        hot, _ = timed([*ESCTL, "projection", "run", "--log", str(logs.copy("run.db"))])
        quietly("projection", "drop", "customers", "--yes", "--log", path)
        seconds, peak = timed([*ESCTL, "projection", "run", "customers", "--log", str(path)])
        ratios.append(hot / seconds)
        peaks.append(peak)
    told("run over an archived log, rate / hot", ratios, f"{max(peaks):.0f} MiB")


def catch_up(logs: Logs, rounds: int) -> None:
    """100 new events, taken by a whole process."""
    path = logs.copy("run.db")
    quietly("projection", "run", "--log", path)
    more = handled(100 * 11 * rounds, 50_000, seed=8)
    ratios, taken = [], []
    for _ in range(11 * rounds):
        text = "".join(next(more) for _ in range(100)).encode()
        subprocess.run([*ESCTL, "append", "--log", str(path), "-"], input=text, check=True, stdout=subprocess.DEVNULL)
        seconds, _ = timed([*ESCTL, "projection", "run", "--log", str(path)])
        head, _ = timed([*ESCTL, "head", "--log", str(path)])
        ratios.append(seconds / head)
        taken.append(seconds)
    told("catching up 100 / cold head", ratios, f"{statistics.median(taken) * 1000:.0f} ms")


def inline(logs: Logs, rounds: int) -> None:
    """Bulk append with the projection kept inside it, against one with a model that keeps nothing inside."""
    part = logs.folder / "part.ndjson"
    with part.open("w") as file:
        file.writelines(handled(min(logs.events, 200_000), 50_000))
    ratios = []
    for _ in range(rounds):
        taken = {}
        for name in ("false", "true"):
            path = fresh(logs.folder / "inline.db")
            quietly("model", "apply", logs.folder / f"{name}.toml", "--log", path)
            taken[name], _ = timed([*ESCTL, "append", "--log", str(path)], part)
        ratios.append(taken["false"] / taken["true"])
    told("append with inline, rate / without", ratios, "")


def main() -> None:
    """Run what is asked for."""
    if sys.argv[1:2] == ["--here"]:
        print(HERE[sys.argv[2]](Path(sys.argv[3])))
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--streams", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="run,archived,catch-up,inline")
    options.add_argument("--folder", type=Path, help="where the files go; kept [a temporary folder]")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        logs = Logs(folder, given.events, given.streams)
        steps = {"run": run, "archived": archived, "catch-up": catch_up, "inline": inline}
        for name in given.only.split(","):
            steps[name](logs, given.rounds)


if __name__ == "__main__":
    main()
