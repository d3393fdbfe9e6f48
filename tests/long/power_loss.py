"""Loses power after any operation of any command that writes; what was acknowledged has to be there afterwards.

    python -m tests.long.power_loss [--states N] [--seed S] [--only SCENARIO]

The file operations of each scenario (commands, and the folder that they start from) are recorded once. A state is what
a weak file system may leave of the first n of them (tests/long/disk.py): corner states, and states drawn by the seed.
In each one:

* every log that was there or was acknowledged has its name, opens, and `verify --full` finds it whole, segments too;
* its tables hold exactly what they held after one of its transactions, at or after the last one acknowledged;
* every other file that has its name has all its bytes, and is there if it was acknowledged;
* an erased payload whose erasure was acknowledged is in no file once the log was opened and closed;
* an append works;
* the next archiving removes the files of segments, and their drafts, that no segment needs.

A command that has ended with 0, and all that it has printed, is acknowledged. An older log may have either storage
version; it is then migrated. Prints a table; exits with 1 if a state failed, whose folder is then kept.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import random
import re
import shutil
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from esctl import open_log
from esctl.archive import listing, tidying
from esctl.archive.folders import KEPT, path_of
from esctl.errors import EsctlError, StorageVersionError
from esctl.log import EventLog
from esctl.sql import functions
from esctl.store import migrations
from esctl.upkeep.verify import verify
from tests.long import faults, shim
from tests.long.disk import CORNERS, DRAWN, Disk
from tests.long.faults import CASES
from tests.long.shim import Operation

Filter = Callable[[list[Operation]], list[Operation]]
SECRETS = ("e-3", "e-6", "e-15")
READERS = {"projection show"}


class Scenario(NamedTuple):
    """Commands with what they read from stdin, and the name of the folder that they start from (faults.STATES)."""

    name: str
    state: str
    commands: tuple[tuple[tuple[str, ...], bytes], ...]
    erasing: tuple[str, ...] = ()


_CREATE = ("archive", "create", "--before", "#13", "--segment-events", "4", "--yes")
_ERASE = ("erase", *SECRETS, "--reason", "asked", "--yes")
_ONE = ("append", "s-1", "T", "n:=1")


def _scenario(name: str, state: str, *commands: tuple[str, ...], erasing: tuple[str, ...] = ()) -> Scenario:
    return Scenario(name, state, tuple((command, b"") for command in commands), erasing)


def _more(command: tuple[str, ...] | None) -> tuple[tuple[tuple[str, ...], bytes], ...]:
    return () if command is None else ((command, b""),)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        *(
            Scenario(case.name, case.state, ((case.arguments, case.input), *_more(case.again)), case.erasing)
            for case in CASES
            if case.verb not in READERS
        ),
        _scenario("init, append", "nothing", ("init",), _ONE, _ONE),
        _scenario("append, erase, append", "plain", _ONE, _ERASE, _ONE, erasing=SECRETS),
        _scenario(
            "create, move, erase, restore", "plain", _CREATE, ("archive", "move", "1-4", "--to", "cold"),
            ("archive", "move", "5-8", "--to", "away"), _ERASE, ("archive", "restore", "5-8", "--yes"), erasing=SECRETS,
        ),
        _scenario("backup, restore, fork", "both", ("backup", "copy.db"), ("restore", "copy.db", "--log", "new.db"),
                  ("fork", "other.db", "--until", "#9", "--log", "new.db")),
    )
}  # fmt: skip


class Content(NamedTuple):
    """The content of a log from an operation on."""

    since: int
    digest: str


class Run:
    """A scenario that was run once, with nothing lost."""

    def __init__(self, scenario: Scenario, place: Path) -> None:
        self.scenario, self.place = scenario, place
        self.start = place / "start"
        faults.build(scenario.state, self.start)
        self.work = place / "work"
        shutil.copytree(self.start, self.work)
        record = place / "record"
        self.acknowledged = [0]
        self._first = Disk(self.work)  # by the inodes of this folder
        for arguments, text in scenario.commands:
            orders = shim.orders(self.work, "count", record=record)
            done = faults.esctl(self.work, *arguments, input=text, orders=orders)
            assert done.returncode == 0, (arguments, done.stderr.decode())
            self.operations = list(shim.operations(record))
            self.acknowledged.append(len(self.operations))
        self.acknowledged += [n for n, done in enumerate(self.operations, 1) if done.kind == "print"]
        self.acknowledged = sorted(set(self.acknowledged))
        self.names: list[set[str]] = []
        self.contents: dict[str, list[Content]] = {}
        self.bytes: dict[str, set[bytes]] = {}
        self._watch()

    def disk(self) -> Disk:
        """The disk at the start."""
        return copy.deepcopy(self._first)

    def _watch(self) -> None:
        """Note after each operation which names there are, and after each change what a log contains."""
        disk, probe = self.disk(), self.place / "probe"
        for number in range(len(self.operations) + 1):
            if number:
                disk.do(self.operations[number - 1])
            files = disk.files()
            self.names.append({name for name in files if is_named(name)})
            if number and not ends_change(self.operations, number):
                continue
            shutil.rmtree(probe, ignore_errors=True)
            disk.lose_power(probe, "everything", random.Random(0))
            for name in self.names[-1]:
                if name.endswith(".db"):
                    known, digest = self.contents.setdefault(name, []), digest_of(probe / name)
                    if not known or known[-1].digest != digest:
                        known.append(Content(number, digest))
                else:
                    self.bytes.setdefault(name, set()).add((probe / name).read_bytes())
        shutil.rmtree(probe, ignore_errors=True)

    def acknowledged_at(self, number: int) -> int:
        """The last acknowledgement within so many operations."""
        return self.acknowledged[bisect_right(self.acknowledged, number) - 1]

    def allowed(self, log: str, number: int) -> set[str]:
        """What a log may contain after a loss of power: a content that it had since the last acknowledgement."""
        known = self.contents.get(log, [])
        while number < len(self.operations) and not (number and ends_change(self.operations, number)):
            number += 1  # the write of a transaction may be the first of several
        since = [content.since for content in known]
        oldest = max(bisect_right(since, self.acknowledged_at(number)) - 1, 0)
        return {content.digest for content in known[oldest : bisect_right(since, number)]}


def is_named(name: str) -> bool:
    """Whether a file is one that has a name of its own: no draft, WAL or cache."""
    return not (name.startswith((".", "cache/")) or "/." in name or name.endswith(("-wal", "-journal")))


def ends_change(operations: Sequence[Operation], number: int) -> bool:
    """Whether the operation before `number` changed files, and the next one is not another write to the same file."""
    done = operations[number - 1]
    following = operations[number] if number < len(operations) else None
    if done.kind not in ("write", "truncate", "link", "rename", "unlink"):
        return False
    return done.kind != "write" or following is None or (following.kind, following.inode) != ("write", done.inode)


def digest_of(path: Path) -> str:
    """A digest of all that is in the tables of a log; it may be an older one."""
    found = hashlib.sha256()
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        functions.define(connection)
        names = connection.execute("select type, name, sql from sqlite_schema order by 1, 2").fetchall()
        found.update(repr((connection.execute("pragma user_version").get, names)).encode())
        for kind, name, _ in names:
            if kind == "table":
                rows = connection.execute(f'select * from "{name}"').fetchall()
                found.update(repr((name, rows)).encode())
    finally:
        connection.close()
    return found.hexdigest()


# A state, and what has to hold


class State(NamedTuple):
    """A loss of power after so many operations; `seed` is a text."""

    number: int
    survives: str
    seed: str


def states(run: Run, count: int, seed: int) -> list[State]:
    """Choose states, in the order of their numbers: at the acknowledgements, the syncs, anywhere."""
    draw = random.Random(f"{seed} {run.scenario.name}")
    last = len(run.operations)
    edges = [n for n, done in enumerate(run.operations) if done.kind in ("sync", "sync_folder", "link", "unlink")]
    found = []
    for n in range(count):
        kind = n % 4
        number = (
            draw.choice(run.acknowledged)
            if kind == 0
            else draw.choice(edges)
            if kind == 1 and edges
            else draw.randint(0, last)
        )
        if n < 2 * len(CORNERS):
            number = last if n < len(CORNERS) else number
            found.append(State(number, CORNERS[n % len(CORNERS)], ""))
        else:
            survives = draw.choice((*CORNERS, *[DRAWN] * 7))
            found.append(State(number, survives, f"{seed}-{n}"))
    return sorted(found)


class Failure(NamedTuple):
    """A state that failed, and where it is kept as it was before it was looked at."""

    state: State
    wrong: list[str]
    kept: Path


def tried(
    run: Run, chosen: Sequence[State], change: Filter = lambda operations: operations
) -> Iterator[Failure | None]:
    """Build each state, and check it; None for one that is as it has to be. `change` puts a bug into the operations."""
    operations, disk, done = change(run.operations), run.disk(), 0
    assert len(operations) == len(run.operations)
    work = run.place / "state"
    for n, state in enumerate(chosen):
        for operation in operations[done : state.number]:
            disk.do(operation)
        done = state.number
        shutil.rmtree(work, ignore_errors=True)
        numbers = disk.lose_power(work, state.survives, random.Random(state.seed))
        wrong = check(run, state.number, work, numbers)
        if not wrong:
            yield None
            continue
        kept = run.place / f"failed-{n}"
        shutil.rmtree(kept, ignore_errors=True)
        disk.lose_power(kept, state.survives, random.Random(state.seed))  # as it was before the check
        yield Failure(state, wrong, kept)


def check(run: Run, number: int, folder: Path, numbers: Mapping[int, int]) -> list[str]:
    """What is wrong with a folder after the power was lost after so many operations; `numbers` as of `lose_power`."""
    numbers = {**numbers, **_folders(run, folder)}
    acknowledged = run.acknowledged_at(number)
    there = {name for path in folder.rglob("*") if path.is_file() and is_named(name := str(path.relative_to(folder)))}
    wrong = [f"{name} is gone" for name in sorted(run.names[acknowledged] & run.names[number] - there)]
    for name in sorted(there):
        if name.endswith(".db"):
            wrong += [f"{name}: {problem}" for problem in _check_log(run, name, number, folder, numbers)]
        elif name in run.bytes and (folder / name).read_bytes() not in run.bytes[name]:
            wrong.append(f"{name} has other bytes")
    if run.scenario.erasing and acknowledged == len(run.operations):
        wrong += [f"erased, and still in {name}" for name in faults.secrets_in(folder, run.scenario.erasing)]
    return wrong


def _folders(run: Run, folder: Path) -> dict[int, int]:
    """The numbers of folders, by those that they had."""
    there = [path for path in folder.rglob("*") if path.is_dir()]
    had = [(run.work / path.relative_to(folder), path) for path in there]
    return {before.stat().st_ino: path.stat().st_ino for before, path in had if before.is_dir()}


def _check_log(run: Run, name: str, number: int, folder: Path, numbers: Mapping[int, int]) -> Iterator[str]:
    path = folder / name
    try:
        digest = digest_of(path)
        if digest not in run.allowed(name, number):
            known = [content.digest for content in run.contents.get(name, [])]
            which = (
                f"that of transaction {known.index(digest)} of {len(known)}"
                if digest in known
                else "none that it ever had"
            )
            yield f"its content is not one that it had since the last acknowledgement, but {which}"
        try:
            report = _verified(path, folder)
        except StorageVersionError:
            migrations.migrate(path)
            report = _verified(path, folder)
        yield from report
        if name != "saved.db":
            _renumber(path, numbers)
            with open_log(path, write=True) as log:
                log.append("s-1", "T", {"n": 1})
            yield from _untidy(path, folder)
            yield from _verified(path, folder)
    except (EsctlError, apsw.Error, OSError, ValueError, TypeError) as error:
        yield f"{type(error).__name__}: {error}"


def _renumber(path: Path, numbers: Mapping[int, int]) -> None:
    """Give the files that a log has recorded the numbers that they have here: after a real loss they have the old."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        for (entry,) in connection.execute("select path from leftovers").fetchall():
            found = re.fullmatch(r"(?s)(.*[#.])(\d+)(/?)", str(entry))
            if found and int(found[2]) in numbers:
                renumbered = f"{found[1]}{numbers[int(found[2])]}{found[3]}"
                connection.execute("update leftovers set path = ? where path = ?", (renumbered, entry)).fetchall()
    finally:
        connection.close()


def _untidy(path: Path, folder: Path) -> Iterator[str]:
    """What the next command that archives leaves lying about: files of segments that no segment needs, and their
    drafts; entries for files that are gone.
    """
    with EventLog(path, write=True) as log:
        tidying.tidy(log)
        needed = {path_of(log, segment).resolve() for segment in listing.archived(log) if segment.location is not None}
        yield from (f"recorded as left: {entry}" for entry in log.store.archiving().leftovers() if entry)
    if path.name == faults.LOG:
        strays = (found for found in folder.resolve().rglob("*-*.ndjson.zst*") if found.parent.name != KEPT)
        yield from (f"left lying about: {found.name}" for found in strays if found not in needed)


def _verified(path: Path, folder: Path) -> list[str]:
    with EventLog(path, cache=str(folder / "cache" / "esctl")) as log:
        report = verify(log, full=True)
    return [] if report.ok else [str(finding) for finding in report.findings]


# Bugs, for the check of this harness


def without(*kinds: str, matching: str = "") -> Filter:
    """Leave out operations of these kinds on paths that match."""

    def change(operations: list[Operation]) -> list[Operation]:
        return [
            done._replace(kind="left out") if done.kind in kinds and re.search(matching, done.path) else done
            for done in operations
        ]

    return change


def late(kind: str, matching: str) -> Filter:
    """Do operations of a kind on such paths only at the end: after what should have waited for them."""

    def change(operations: list[Operation]) -> list[Operation]:
        chosen = [done.kind == kind and bool(re.search(matching, done.path)) for done in operations]
        kept = [done for done, is_late in zip(operations, chosen, strict=True) if not is_late]
        return kept + [done for done, is_late in zip(operations, chosen, strict=True) if is_late]

    return change


def states_until_found(run: Run, count: int, seed: int, change: Filter) -> int | None:
    """How many states it took to find a bug; None if none of so many shows it."""
    for n, failure in enumerate(tried(run, states(run, count, seed), change), 1):
        if failure is not None:
            return n
    return None


def report(names: Sequence[str], count: int, seed: int, place: Path) -> int:
    """Run scenarios, and print what was found; the number of failures."""
    failed = total = 0
    print(f"{'scenario':32} {'operations':>10} {'states':>6} {'failed':>6}", flush=True)
    for name in names:
        folder = place / name.replace(" ", "-").replace("/", "-")
        run = Run(SCENARIOS[name], folder)
        chosen = states(run, -(-count // len(names)), seed)
        failures = [failure for failure in tried(run, chosen) if failure is not None]
        print(f"{name:32} {len(run.operations):10} {len(chosen):6} {len(failures):6}", flush=True)
        for failure in failures[:5]:
            print(f"  {failure.state}: {failure.kept}", *failure.wrong, sep="\n    ")
        total, failed = total + len(chosen), failed + len(failures)
        if not failures:
            shutil.rmtree(folder)
    print(f"{total} states, {failed} failed")
    return failed


def shared_memory() -> Path:
    """A new folder, in memory if possible."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="esctl-power-", dir=memory if memory.is_dir() else None))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS))
    asked = parser.parse_args()
    place = shared_memory()
    failed = report(asked.only or list(SCENARIOS), asked.states, asked.seed, place)
    if not failed:
        shutil.rmtree(place)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
