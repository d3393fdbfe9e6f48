"""Workers side by side on one log, as commands; a checker then proves from their histories that no promise was broken.

    python -m tests.long.workers [--seconds 600] [--workers 8] [--kill 0.1] [--seed N]

Each worker draws one command after the other: appends of every kind, with expected versions, conditions and repeated
ids, decisions, erasures, the archive, snapshots, projections, models, copies, which are checked, and reads. Some are
killed with SIGKILL. After each minute the workers stop, and `histories.violations` compares what they were told with
the log; `verify --full` and the verifiers of archive, snapshots and projections have to pass, and nothing erased may be
found in any file. Prints a summary; exits with 1 at the first violation, whose folder is then kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from tests import runner
from tests.conftest import environment
from tests.long.histories import (
    DECODER,
    Counted,
    Done,
    Erase,
    Event,
    Head,
    Proposed,
    Put,
    Receipt,
    Replay,
    State,
    Steps,
    Totals,
    digest_of,
    violations,
)

ROUND_SECONDS = 60.0
PATIENCE_SECONDS = 300  # a round that lasts so much longer hangs
RECEIPTS: msgspec.json.Decoder[Receipt] = msgspec.json.Decoder(Receipt)
EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
COUNTS = [f"count-{n}" for n in range(6)]
PEOPLE = [f"person-{n}" for n in range(4)]
DEALS = [f"deal-{n}" for n in range(3)]
PURSES = [f"purse-{n}" for n in range(3)]
MODEL = """
[event.Said]
erasable = true
[event.Paid]
schema = %(schema)d
[[event.Paid.upcast]]
from = 1
rename = { amount = "n" }
[aggregate.purse]
streams = "purse-*"
initial = { sum = 0 }
on.Paid = { add = { sum = "$.n" } }
on.Taken = { subtract = { sum = "$.n" } }
[aggregate.purse.accept]
Paid = "new.data ->> 'n' <= %(most)d"
Taken = "new.data ->> 'n' <= state ->> 'sum'"
[aggregate.count]
streams = "count-*"
snapshot = { every = %(every)d }
on.Added = { add = { n = 1, sum = "$.n" } }
[aggregate.person]
streams = "person-*"
on.Said = { add = { n = 1 } }
[aggregate.deal]
streams = "deal-*"
on.Decided = { add = { n = 1 } }
[projection.totals]
table = "create table totals(k text primary key, n integer not null, sum integer not null)"
[projection.totals.on]
Added = '''insert into totals values (new.stream, 1, new.data ->> 'n')
on conflict(k) do update set n = n + 1, sum = sum + excluded.sum'''
"""
NEWER = """
[[event.Paid.upcast]]
from = 2
default = { currency = "EUR" }
"""
COUNT = "select max(position) p, count(*) c, sum(case when type = 'Added' then data ->> 'n' end) s from log"
WHOLE = ["replay", "--system", "--raw-schema", "--hash"]


class Run(NamedTuple):
    """A command that has ended; `code` is negative for the signal that ended it."""

    began: float
    ended: float
    code: int
    out: bytes
    err: str

    def lines(self) -> list[bytes]:
        """The lines that were printed whole."""
        return [line for line in self.out.splitlines(keepends=True) if line.endswith(b"\n")]


def fork(folder: Path, arguments: list[str], streams: list[int]) -> int:
    """Start a command on the log of a folder; its process id."""
    child = os.fork()
    if not child:
        runner.become(arguments, str(folder), environment(ESCTL_LOG=str(folder / "log.db")), streams)
    return child


def ended(folder: Path, arguments: list[str], input: bytes = b"", kill_after: float | None = None) -> Run:
    """Run a command to its end, or kill it after so many seconds."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        began = time.monotonic()
        child = fork(folder, arguments, [file.fileno() for file in (stdin, stdout, stderr)])
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        stop = time.monotonic()
        return Run(began, stop, code, _content(stdout), _content(stderr).decode())


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


class Worker:
    """Draws commands, runs them, and notes what it asked for and what it was told."""

    def __init__(self, folder: Path, name: str, chance: random.Random, kill: float) -> None:
        self.folder, self.name, self.chance, self.kill = folder, name, chance, kill
        self.steps: list[Steps] = []
        self.numbers = itertools.count(1)
        self.versions: dict[str, int] = {}
        self.head, self.hash = 0, ""
        self.erasable: list[str] = []

    def work(self, until: float, history: Path) -> None:
        """Run commands until a moment; append the history to a file."""
        drawn = [way for way, weight in WAYS.items() for _ in range(weight)]
        while time.monotonic() < until:
            self.chance.choice(drawn)(self)
        with history.open("ab") as file:
            file.writelines(msgspec.json.encode(step) + b"\n" for step in self.steps)

    # What a command is run with, and what is noted of it

    def id(self) -> str:
        """An id that nobody else has."""
        return f"{self.name}-{next(self.numbers)}"

    def note(self, kind: type[Steps], run: Run, what: str, **fields: Any) -> None:
        """Note a step of the history."""
        operation = f"{self.name}:{len(self.steps)}"
        self.steps.append(
            kind(began=run.began, ended=run.ended, code=run.code, kind=what, operation=operation, **fields)
        )

    def run(
        self, *arguments: str, input: bytes = b"", may: tuple[int, ...] = (0,), whole: bool = False, what: str = ""
    ) -> Run:
        """Run a command, and kill it perhaps unless it has to be `whole`; it may end only with certain codes."""
        kill_after = None
        if not whole and self.chance.random() < self.kill:
            kill_after = self.chance.choice((0.01, 0.05, 0.3)) * self.chance.random()
        run = ended(self.folder, [*arguments, "--timeout", "60"], input, kill_after)
        killed = kill_after is not None and run.code == -signal.SIGKILL
        wrong = f"exit {run.code}: {' '.join(arguments)[:200]}: {run.err}" if not killed and run.code not in may else ""
        self.note(Done, run, what or " ".join(a for a in arguments[:2] if a.isalpha()), wrong=wrong)
        return run

    def event(self, stream: str | None = None) -> Proposed:
        """A new event: in a count's stream, or of a person."""
        id_, stream = self.id(), stream or self.chance.choice(COUNTS + PEOPLE)
        if stream in COUNTS:
            return Proposed(stream, "Added", id_, f'{{"n":{self.chance.randrange(100)}}}')
        self.erasable.append(id_)
        return Proposed(stream, "Said", id_, f'{{"secret":"{secret(id_)}"}}')

    def put(self, what: str, run: Run, transactions: list[list[Proposed]], **fields: Any) -> list[Receipt]:
        """Note the transactions that a command was asked for; those without a receipt are not stored, if it failed."""
        told = {r.id: r for r in map(RECEIPTS.decode, run.lines())}
        for events in transactions:
            receipts = [told[e.id] for e in events if e.id in told]
            acknowledged = len(receipts) == len(events)
            self.note(
                Put, run._replace(code=0) if acknowledged else run, what, events=events, receipts=receipts, **fields
            )
            for receipt in receipts:
                self.versions[receipt.stream] = max(receipt.version, self.versions.get(receipt.stream, 0))
                self.head = max(self.head, receipt.position)
        return list(told.values())

    def single(self, what: str, asked: Proposed, *options: str, may: tuple[int, ...] = (0,), **fields: Any) -> None:
        """Append an event by arguments."""
        assert asked.data is not None
        arguments = ["append", asked.stream, asked.type, asked.data, "--id", asked.id, *options]
        self.put(what, self.run(*arguments, may=may, what=what), [[asked]], **fields)

    # Ways to write

    def append(self) -> None:
        self.single("append", self.event())

    def expecting(self) -> None:
        """Others expect the same version: one of them wins."""
        stream = self.chance.choice(COUNTS[:2])
        version = self.versions.get(stream, 1)
        if self.chance.random() < 0.5:
            seen = self.run("state", stream, whole=True)
            version = version if seen.code else int(json.loads(seen.out)["version"])
        self.single("append --expect", self.event(stream), "--expect", str(version), may=(0, 4), expect=version)
        if self.steps[-1].code == 4:
            self.versions.pop(stream, None)

    def repeated(self) -> None:
        """The same event as others append at this time; now and then another one of its id."""
        number = int(time.monotonic() * 3) + self.chance.randrange(3)
        n = number % 50 + (1000 if self.chance.random() < 0.1 else 0)
        asked = Proposed(COUNTS[number % len(COUNTS)], "Added", f"shared-{number}", f'{{"n":{n}}}')
        self.single("append --id of others", asked, may=(0, 4))

    def conditional(self) -> None:
        """Append unless an event of this type stands behind the position that was seen last."""
        asked = Proposed(f"asked-{self.name}", "Asked", self.id(), "{}")
        after = max(0, self.head - self.chance.choice((0, 0, 40)))
        options = ["--if-none-match", "type = 'Asked'", "--after", str(after)]
        self.single("append --if-none-match", asked, *options, may=(0, 4), unless=("Asked", after))

    def batches(self) -> None:
        size, count = self.chance.randrange(2, 9), self.chance.randrange(1, 6)
        events = [[self.event() for _ in range(size)] for _ in range(count)]
        run = self.run(
            "append",
            "--receipts",
            "--batch",
            str(size),
            input=lines(list(itertools.chain(*events))),
            what="append --batch",
        )
        self.put("append --batch", run, events)

    def atomic(self) -> None:
        """A transaction with events of others in it, perhaps with one that conflicts."""
        number = int(time.monotonic() * 3)
        shared = Proposed(COUNTS[number % len(COUNTS)], "Added", f"shared-{number}", f'{{"n":{number % 50}}}')
        events = [self.event() for _ in range(self.chance.randrange(2, 9))]
        if self.chance.random() < 0.4:
            events.insert(1, shared)
        run = self.run("append", "--receipts", "--atomic", input=lines(events), may=(0, 4), what="append --atomic")
        self.put("append --atomic", run, [events])

    def streaming(self) -> None:
        """One event after the other, each when the one before has been acknowledged; perhaps killed amid one."""
        count = self.chance.randrange(2, 12)
        killed = self.chance.randrange(count) if self.chance.random() < self.kill else None
        with tempfile.TemporaryFile() as stderr:
            there, stdin = os.pipe()
            stdout, here = os.pipe()
            child = fork(
                self.folder, ["append", "--each", "--receipts", "--timeout", "60"], [there, here, stderr.fileno()]
            )
            os.close(there)
            os.close(here)
            with open(stdin, "wb", buffering=0) as given, open(stdout, "rb") as told:
                for n in range(count):
                    asked, began = self.event(), time.monotonic()
                    given.write(lines([asked]))
                    if n == killed:
                        time.sleep(self.chance.random() * 0.005)
                        os.kill(child, signal.SIGKILL)
                        os.waitpid(child, 0)
                    line, code = told.readline(), -signal.SIGKILL if n == killed else 0
                    self.put("append --each", Run(began, time.monotonic(), code, line, ""), [[asked]])
                    if n == killed:
                        return
            code, began = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), time.monotonic()
            wrong = f"append --each exits {code}: {_content(stderr).decode()}" if code else ""
            self.note(Done, Run(began, began, code, b"", ""), "append --each", wrong=wrong)

    def decide(self) -> None:
        stream, id_ = self.chance.choice(DEALS), self.id()
        program = """jq -c '{type:"Decided",data:{seen:.version}}'"""
        run = self.run("decide", stream, "--id", id_, "--shell", "--exec", program, what="decide")
        self.put("decide", run, [[Proposed(stream, "Decided", f"{id_}/1", None)]])

    def pay(self) -> None:
        """What the rules of the model accept; which model that is, others decide meanwhile."""
        type_, n = self.chance.choice(("Paid", "Taken")), self.chance.randrange(1, 120)
        self.single(
            "append under rules", Proposed(self.chance.choice(PURSES), type_, self.id(), f'{{"n":{n}}}'), may=(0, 5)
        )

    def erase(self) -> None:
        stored = {e.id for s in self.steps if isinstance(s, Put) and s.code == 0 for e in s.events}
        if may := [id_ for id_ in self.erasable if id_ in stored]:
            ids = self.chance.sample(may, min(len(may), self.chance.randrange(1, 4)))
            run = self.run("erase", *ids, "--reason", "asked", "--yes", may=(0, 8), what="erase")
            self.note(Erase, run, "erase", ids=ids)

    def settle(self) -> None:
        to = self.chance.choice(([], ["--to", "cold"]))
        keep, most = self.chance.randrange(20, 300), self.chance.randrange(20, 200)
        options = ["--keep-last", str(keep), "--segment-events", str(most), "--yes", *to]
        self.run("archive", "create", *options, may=(0, 4, 8))

    def segments(self) -> list[str]:
        run = self.run("archive", "list", whole=True)
        return [json.loads(line)["segment"] for line in run.lines()]

    def move(self) -> None:
        if names := self.segments():
            chosen = self.chance.sample(names, min(2, len(names)))
            self.run("archive", "move", *chosen, "--to", self.chance.choice(("cold", "log", "away")), may=(0, 3, 4, 8))

    def unsettle(self) -> None:
        if names := self.segments():
            self.run("archive", "restore", self.chance.choice(names), "--yes", may=(0, 3, 4, 8))

    def snapshot(self) -> None:
        self.run("snapshot", "take", self.chance.choice(("--all", "--due")), may=(0, 8))

    def project(self) -> None:
        self.run("projection", "run", may=(0, 8))

    def rebuild(self) -> None:
        scratch = self.chance.choice(([], ["--from-scratch"]))
        self.run("projection", "rebuild", "totals", *scratch, may=(0, 4, 8))

    def roll_back(self) -> None:
        self.run("projection", "rollback", "totals", may=(0, 3, 4, 8))

    def model(self) -> None:
        newer, every = self.chance.random() < 0.5, self.chance.choice((5, 7, 9))
        (self.folder / f"{self.name}.toml").write_text(model(newer=newer, every=every))
        self.run("model", "apply", f"{self.name}.toml", "--yes", "-q", may=(0, 4, 8))

    def mark(self) -> None:
        run = self.run("mark", f"by-{self.name}", what="mark")
        if not run.code:
            self.note(Head, run, "mark", position=json.loads(run.out)["position"])

    # Copies

    def backup(self) -> None:
        self.copy("backup")

    def fork(self) -> None:
        if self.hash:
            self.copy("fork", "--until", f"#{self.head_hashed}")

    def copy(self, command: str, *options: str) -> None:
        """Make a copy, look at all of it, and remove it."""
        name = f"copy-{self.name}.db"
        run = self.run(command, name, *options, may=(0, 8))
        path = self.folder / name
        if path.exists():  # its name is there: it is whole, also after a kill
            expected = ["--expect-head", f"{self.head_hashed}:{self.hash}"] if self.hash else []
            self.run("verify", "--log", name, *expected, whole=True, what=f"verify a {command}")
            read = ended(self.folder, [*WHOLE, "--log", name])
            events = [EVENTS.decode(line) for line in read.lines()]
            if command == "fork":
                events = events[: self.head_hashed]
            window = run._replace(code=read.code, ended=max(run.ended, read.began) if run.code else run.ended)
            self.note_replay(f"replay a {command}", window, events, to_head=command == "backup")
        for found in self.folder.glob(f"*{name}*"):
            found.unlink(missing_ok=True)

    def rewrite(self) -> None:
        """Have the log written anew; what there is of a new log is whole, and has the events of the old one."""
        name = f"copy-{self.name}.db"
        self.run("upcast", "rewrite", "--to", name, "--yes", "-q", may=(0, 8), what="upcast rewrite")
        if (self.folder / name).exists():
            self.run("verify", "--log", name, whole=True, what="verify a rewritten log")
            read = "replay", "--fields", "position,stream,version,id,time"
            new = ended(self.folder, [*read, "--log", name])
            old = ended(self.folder, [*read, "--limit", str(len(new.lines()))])
            wrong = "" if new.out == old.out else "the rewritten log has other events"
            self.note(Done, new, "replay a rewritten log", wrong=wrong)
        for found in self.folder.glob(f"*{name}*"):
            found.unlink(missing_ok=True)

    # Ways to read

    def note_replay(self, what: str, run: Run, events: list[Event], *, to_head: bool = True) -> None:
        if events:
            erased = [e.position for e in events if e.erased]
            first, last = events[0].position, events[-1].position
            digest = digest_of(events, erased)
            self.note(Replay, run, what, first=first, last=last, digest=digest, erased=erased, to_head=to_head)

    def read_head(self) -> None:
        run = self.run("head", "-o", "json", whole=True)
        if run.code:
            return
        said = json.loads(run.out)
        self.note(Head, run, "head", position=said["position"], hash=said["hash"])
        self.head, self.head_hashed, self.hash = said["position"], said["position"], said["hash"]

    head_hashed = 0

    def replay(self) -> None:
        since = max(1, self.head - 30) if self.chance.random() < 0.9 else 1
        run = self.run(*WHOLE, "--since", f"#{since}", whole=True, what="replay")
        self.note_replay("replay", run, [EVENTS.decode(line) for line in run.lines()])

    def state(self) -> None:
        stream, saved = self.chance.choice(COUNTS + PEOPLE + DEALS), self.chance.choice(([], ["--no-snapshot"]))
        run = self.run("state", stream, *saved, whole=True)
        if run.code:
            return
        said = json.loads(run.out)
        fields = {name: said[name] for name in ("stream", "version", "position", "state")}
        self.note(State, run, "state", **fields)

    def query(self) -> None:
        run = self.run("query", COUNT, whole=True, what="query")
        if run.code:
            return
        said = json.loads(run.out)
        self.note(Counted, run, "query", position=said["p"], count=said["c"], sum=said["s"])

    def show(self) -> None:
        fresh = self.chance.choice(([], ["--fresh"]))
        run = self.run("projection", "show", "totals", *fresh, whole=True, may=(0, 8) if fresh else (0,))
        rows = {row["k"]: (row["n"], row["sum"]) for row in map(json.loads, run.lines())}
        self.note(Totals, run, "projection show", rows=rows, behind=not fresh and "behind" in run.err)

    def look(self) -> None:
        """Read the table of the projection as any program does: it is there at every moment."""
        run = self.run("query", "select k, n, sum from totals", whole=True, what="query a projection")
        rows = {row["k"]: (row["n"], row["sum"]) for row in map(json.loads, run.lines())}
        self.note(Totals, run, "query a projection", rows=rows, behind=True)

    def verify(self) -> None:
        check = self.chance.choice((["verify"], ["verify", "--quick"], ["verify"], *CHECKS))
        self.run(*check, whole=True)


CHECKS = [["archive", "verify"], ["snapshot", "verify"], ["projection", "verify"]]
WAYS: dict[Callable[[Worker], None], int] = {
    Worker.append: 14, Worker.expecting: 10, Worker.repeated: 8, Worker.conditional: 5, Worker.batches: 7,
    Worker.atomic: 6, Worker.streaming: 4, Worker.decide: 4, Worker.erase: 2, Worker.settle: 2, Worker.move: 2,
    Worker.unsettle: 1, Worker.snapshot: 2, Worker.project: 2, Worker.rebuild: 1, Worker.model: 1, Worker.mark: 2,
    Worker.backup: 1, Worker.fork: 1, Worker.read_head: 3, Worker.replay: 5, Worker.state: 5, Worker.query: 4,
    Worker.show: 3, Worker.verify: 2, Worker.pay: 6, Worker.roll_back: 1, Worker.rewrite: 1, Worker.look: 3,
}  # fmt: skip


def model(*, newer: bool, every: int) -> str:
    """A model; the newer one has another schema version, and accepts less."""
    values = {"schema": 3 if newer else 2, "most": 50 if newer else 100, "every": every}
    return MODEL % values + (NEWER if newer else "")


def secret(id_: str) -> str:
    """What stands in the payload of an event only."""
    return f"<{id_}>"


def lines(events: list[Proposed]) -> bytes:
    """Events as an input of `append`."""
    return "".join(
        f'{{"stream":"{e.stream}","type":"{e.type}","id":"{e.id}","data":{e.data}}}\n' for e in events
    ).encode()


# All of them


def build(folder: Path) -> list[Steps]:
    """A log with a model, and an event in each stream; the history of that."""
    (folder / "model.toml").write_text(model(newer=False, every=7))
    first = Worker(folder, "first", random.Random(0), 0)
    first.run("init", "--model", "model.toml")
    for stream in COUNTS + PEOPLE:
        first.single("append", first.event(stream))
    for stream in DEALS:
        first.single("append", Proposed(stream, "Decided", first.id(), '{"seen":0}'))
    for stream in PURSES:
        first.single("append", Proposed(stream, "Paid", first.id(), '{"n":1}'))
    first.run("projection", "run")
    return first.steps


def round_of(folder: Path, number: int, workers: int, seconds: float, kill: float, seed: int) -> None:
    """Have all workers work for so many seconds."""
    until, children = time.monotonic() + seconds, dict[int, str]()
    for n in range(workers):
        name = f"w{n}.{number}"
        child = os.fork()
        if not child:
            try:
                history = folder.parent / f"{folder.name}.history"
                Worker(folder, name, random.Random(f"{seed} {name}"), kill).work(until, history / name)
            except BaseException:  # noqa: BLE001 - the parent sees it by the status
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children[child] = name
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            if time.monotonic() > until + PATIENCE_SECONDS:
                raise AssertionError(f"these hang: {', '.join(children.values())}")
            time.sleep(0.02)
        elif (name := children.pop(child)) and status:
            raise AssertionError(f"{name} failed, status {status}")


def check(folder: Path, steps: list[Steps]) -> Iterator[str]:
    """What is wrong with a log at rest, and with the histories."""
    for command in (["verify", "--full"], *CHECKS):
        run = ended(folder, command)
        if run.code:
            yield f"{' '.join(command)} exits {run.code}: {run.err}"
    run = ended(folder, WHOLE)
    if run.code:
        yield f"replay exits {run.code}: {run.err}"
        return
    yield from violations([EVENTS.decode(line) for line in run.lines()], steps)
    erased = [id_ for step in steps if isinstance(step, Erase) and step.code == 0 for id_ in step.ids]
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".toml":
            content = readable(path)
            yield from (f"{id_} is erased, and still in {path}" for id_ in erased if secret(id_).encode() in content)


def readable(path: Path) -> bytes:
    """The bytes of a file, of a segment also its lines."""
    content = path.read_bytes()
    if ".zst" in path.name:
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
            content += reader.read()
    return content


def summary(steps: list[Steps], events: int, checks: int) -> str:
    """What was done, in lines."""
    operations = Counter(step.kind for step in steps if isinstance(step, Done))
    puts = [step for step in steps if isinstance(step, Put)]
    reads = sum(not isinstance(step, Put | Done | Erase) for step in steps)
    kills = sum(step.code == -signal.SIGKILL for step in steps if isinstance(step, Done | Put))
    told = [receipt for put in puts for receipt in put.receipts]
    return (
        f"{', '.join(f'{kind} {count}' for kind, count in operations.most_common())}\n"
        f"{operations.total()} commands, {events} events, {len(told)} acknowledgements"
        f" ({sum(r.duplicate for r in told)} duplicates), {sum(put.code == 4 for put in puts)} conflicts,"
        f" {sum(s.code == 8 for s in steps if isinstance(s, Done))} gave way,"
        f" {sum(len(s.ids) for s in steps if isinstance(s, Erase) and not s.code)} erased,"
        f" {kills} killed, {reads} reads compared, {checks} checks of all"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--workers", type=int, default=8)
    options.add_argument("--kill", type=float, default=0.1, help="the share of commands that are killed")
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    given = options.parse_args()
    runner.load()
    root = Path(tempfile.mkdtemp(prefix="esctl-workers-"))
    folder, history = root / "log", root / "log.history"
    folder.mkdir()
    history.mkdir()
    steps, left, checks = build(folder), given.seconds, 0
    while left > 0:
        seconds = min(left, ROUND_SECONDS)
        left -= seconds
        try:
            round_of(folder, checks, given.workers, seconds, given.kill, given.seed)
            steps += [DECODER.decode(line) for f in history.glob(f"*.{checks}") for line in f.read_bytes().splitlines()]
            wrong = list(itertools.islice(check(folder, steps), 20))
        except AssertionError as error:
            wrong = [str(error)]
        checks += 1
        if wrong:
            sys.exit("\n".join([*wrong, f"seed {given.seed}, kept: {root}"]))
    events = len(ended(folder, WHOLE).lines())
    print(f"{given.workers} workers, {given.seconds:g} seconds (seed {given.seed}), 0 violations\n"
          f"{summary(steps, events, checks)}")  # fmt: skip
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
