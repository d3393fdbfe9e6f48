"""Kills runs, rebuilds and rollbacks of projections at random moments, and proves that no row is wrong afterwards.

    python tests/long/kill9_projections.py [--rounds 100] [--events 3000] [--seed N]

A round starts some of these at once on a log, kills each with SIGKILL after a random while, and checks:

* bulk appends in small batches, `projection run`, `rebuild`, `rebuild --from-scratch`, `rollback`, two models that are
  applied in turns and differ in handlers, `archive create` of a few events, each in a loop; and a reader, which is not
  killed, that asks the tables all the time.

* the reader never missed a table, never saw a sum in a live table that is not that of a prefix of the log;
* `verify --full` passes; after one more run every table holds what a reference in Python makes of the events, the
  inline one without a run; `projection verify` finds no cell that differs; and no table is left of a version that is
  not listed.

Prints a summary; exits with 1 at the first round that fails, whose log is then kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import apsw

ESCTL = str(Path(sys.executable).with_name("esctl"))
ACCOUNTS = 11
MODEL = """
[projection.balances]
table = "create table balances(account text primary key, moves integer not null, balance integer not null)"
indexes = ["create index balances_balance on balances(balance)"]
[projection.balances.on]
Deposited = '''
insert into balances values (new.stream, 1, {factor} * (new.data ->> 'amount'))
on conflict(account) do update set moves = moves + 1, balance = balance + excluded.balance'''
Withdrawn = '''
insert into balances values (new.stream, 1, -{factor} * (new.data ->> 'amount'))
on conflict(account) do update set moves = moves + 1, balance = balance + excluded.balance'''
[projection.totals]
inline = true
table = "create table totals(type text primary key, events integer not null, amount integer not null) without rowid"
[projection.totals.on]
"*" = '''
insert into totals values (new.type, 1, new.data ->> 'amount')
on conflict(type) do update set events = events + 1, amount = amount + excluded.amount'''
[event.Deposited]
schema = 2
[[event.Deposited.upcast]]
from = 1
rename = {{ amt = "amount" }}
"""
LIVE = {"balances": "select ifnull(sum(moves), 0) from balances", "totals": "select ifnull(sum(events), 0) from totals"}


def esctl(*arguments: str, may: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([ESCTL, *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in may or "Traceback" in done.stderr:
        raise AssertionError(f"esctl {' '.join(arguments)} exits {done.returncode}: {done.stderr}")
    return done.stdout


def write_events(path: Path, events: int, generator: random.Random) -> None:
    with path.open("w", encoding="utf-8") as file:
        for i in range(events):
            amount, old = generator.randrange(1, 100), generator.random() < 0.3
            kind = generator.choice(["Deposited", "Withdrawn"])
            data = {"amt" if old and kind == "Deposited" else "amount": amount}
            schema = {"schema": 1} if "amt" in data else {}
            event = {"stream": f"account-{generator.randrange(ACCOUNTS)}", "type": kind, "id": f"e-{i}", "data": data}
            file.write(json.dumps(event | schema) + "\n")


def commands(folder: Path, lines: Path) -> dict[str, str]:
    """What is started, by name, as shell commands in endless loops."""
    apply = f"{ESCTL} model apply {folder}/1.toml --yes; {ESCTL} model apply {folder}/2.toml --yes"
    loops = {
        "run": f"{ESCTL} projection run -o json",
        "short run": f"{ESCTL} projection run",
        "rebuild": f"{ESCTL} projection rebuild balances",
        "anew": f"{ESCTL} projection rebuild balances --from-scratch; {ESCTL} projection rebuild totals",
        "rollback": f"{ESCTL} projection rollback balances",
        "apply": apply,
        "archive": f"{ESCTL} archive create --keep-last 500 --segment-events 300 --yes",
    }
    made = {name: f"while :; do {command}; done" for name, command in loops.items()}
    return {"append": f"{ESCTL} append {lines} --batch 23", **made}


class Reader(threading.Thread):
    """Asks the live tables, each time anew, until it is stopped; what it saw that may not be."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log, self.asked, self.wrong, self.stopped = log, 0, "", threading.Event()

    def run(self) -> None:
        connection = apsw.Connection(str(self.log), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(5000)
        connection.execute("pragma query_only = on").fetchall()
        most = dict.fromkeys(LIVE, 0)
        while not self.stopped.is_set() and not self.wrong:
            for table, sql in LIVE.items():
                try:
                    found: Any = connection.execute(
                        f"select ({sql}), (select position from projections where name = '{table}' and state = 'live'),"
                        f" (select count(*) from projections where name = '{table}' and state = 'live'),"
                        " (select position from head)"
                    ).get
                except apsw.BusyError:
                    continue
                except apsw.Error as error:
                    self.wrong = f"{table}: {error}"
                    break
                events, position, versions, head = found
                if versions != 1 or not events <= position <= head:
                    self.wrong = f"{table}: {events} events, position {position} of {versions} versions, head {head}"
                most[table] = max(most[table], events)
                self.asked += 1
        connection.close()


def start_and_kill(log: Path, chosen: list[str], delays: list[float]) -> list[str]:
    """Start all, kill each with its children after its delay; what was said on stderr."""
    environment = {**os.environ, "ESCTL_LOG": str(log)}
    running = [
        subprocess.Popen(
            ["/bin/sh", "-c", f"exec >/dev/null 2>{log}.err{n}; {command}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for n, command in enumerate(chosen)
    ]
    since = time.monotonic()
    for delay, process in sorted(zip(delays, running, strict=True), key=lambda pair: pair[0]):
        time.sleep(max(0, since + delay - time.monotonic()))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    told: list[str] = []
    for n in range(len(chosen)):
        err = Path(f"{log}.err{n}")
        told += err.read_text("utf-8").splitlines()
        err.unlink()
    return told


def expected(log: Path, factor: int) -> dict[str, list[tuple[Any, ...]]]:
    """What the tables have to hold, as a reference has it over the events as they are stored."""
    balances: dict[str, list[int]] = {}
    totals: dict[str, list[int]] = {}
    for line in esctl("replay", "--raw-schema", "--log", str(log)).splitlines():
        event = json.loads(line)
        amount = event["data"].get("amount", event["data"].get("amt"))
        row = balances.setdefault(event["stream"], [0, 0])
        row[0] += 1
        row[1] += factor * (amount if event["type"] == "Deposited" else -amount)
        total = totals.setdefault(event["type"], [0, 0])
        total[0] += 1
        total[1] += amount
    return {
        name: sorted((key, *row) for key, row in rows.items())
        for name, rows in (("balances", balances), ("totals", totals))
    }


def rows(log: Path, table: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(log)
    found = connection.execute(f"select * from {table} order by 1").fetchall()
    connection.close()
    return found


def check(log: Path) -> None:
    """Everything that has to hold of a log whose processes were killed."""
    if not json.loads(esctl("verify", "--full", "--log", str(log)))["ok"]:
        raise AssertionError("verify finds something")
    esctl("projection", "run", "--log", str(log))
    held = next(v for v in listed(log) if v["projection"] == "balances" and v["state"] == "live")
    text = esctl("model", "show", "--log", str(log))
    made = json.loads(rows(log, f"(select compiled from projections where version = {held['version']})")[0][0])
    factor = 3 if "3 *" in made["on"]["Deposited"] else 1
    for name, wanted in expected(log, factor).items():
        if rows(log, name) != wanted:
            raise AssertionError(f"{name} is {rows(log, name)}, expected {wanted} (version {held['version']})")
    if factor == (3 if "3 *" in text else 1):
        esctl("projection", "verify", "-q", "--log", str(log))
    tables = {row[0] for row in rows(log, "(select name from sqlite_schema where type = 'table')")}
    known = {name for version in listed(log) for name in str(version["tables"]).split(",")}
    if left := {name for name in tables if name.startswith(("balances", "totals"))} ^ known:
        raise AssertionError(f"tables and versions differ in {left}")


def check_told(reader: Reader, told: list[str]) -> None:
    """Nobody met a gap, a bug or damage."""
    if reader.wrong:
        raise AssertionError(f"a reader saw {reader.wrong}")
    if wrong := [line for line in told if "bug" in line or "Traceback" in line or "damaged" in line]:
        raise AssertionError(f"somebody said {wrong}")


def listed(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in esctl("projection", "list", "--log", str(log)).splitlines()]


def run(rounds: int, events: int, seed: int) -> str:
    """Run all rounds; the summary."""
    generator = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="esctl-kill9-projections-"))
    for name, factor in (("1", "1"), ("2", "3")):
        (folder / f"{name}.toml").write_text(MODEL.format(factor=factor), encoding="utf-8")
    lines, half = folder / "in.ndjson", folder / "half.ndjson"
    write_events(lines, events, generator)
    half.write_text("".join(lines.read_text("utf-8").splitlines(keepends=True)[: events // 2]), encoding="utf-8")
    counted: Counter[str] = Counter()
    for n in range(rounds):
        log = folder / f"log-{n}.db"
        esctl("init", "--log", str(log), "--model", str(folder / "1.toml"))
        if generator.random() < 0.7:
            esctl("append", str(half), "--log", str(log))
        every = commands(folder, lines)
        chosen = generator.sample(list(every), generator.randrange(2, len(every) + 1))
        delays = [generator.uniform(0.1, 1.5) for _ in chosen]
        reader = Reader(log)
        reader.start()
        try:
            told = start_and_kill(log, [every[name] for name in chosen], delays)
            reader.stopped.set()
            reader.join()
            check_told(reader, told)
            check(log)
        except AssertionError as error:
            reader.stopped.set()
            raise AssertionError(f"round {n}, seed {seed}, {' + '.join(chosen)}, {log}: {error}") from error
        counted.update(chosen)
        counted["asked"] += reader.asked
        shutil.rmtree(f"{log}.d", ignore_errors=True)
        log.unlink()
    shutil.rmtree(folder)
    killed = ", ".join(f"{name} {counted[name]}" for name in every)
    return (
        f"{rounds} rounds (seed {seed}), killed: {killed}; 0 wrong rows, {counted['asked']:,} questions without a gap"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    given = parser.parse_args()
    try:
        print(run(given.rounds, given.events, given.seed))
    except AssertionError as error:
        sys.exit(f"failed: {error}")


if __name__ == "__main__":
    main()
