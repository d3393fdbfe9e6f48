"""Flips one bit at a time, anywhere in a log and its segments' files, and counts how many flips `verify --full` tells.

    python -m tests.long.bitflips [--flips 2000] [--seed N] [--all] [--rows]

Nine in ten flips go where something is written, one into the rest (--all: one into every byte). The log is small and
has everything: hot events, events archived in its own file and in a folder, erased ones in each place, a model, marks
and snapshots. A flip is told when `verify --full` exits with something else than 0; an exit with 1 (a bug), a signal or
more than 20 seconds is a failure. A flip that is not told and after which some row of some table is another is one too,
unless it says nothing of events (NOTED). What is not told and changes no row is listed by where it lies. Exits
with 1 if there were failures; --rows lists each.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from esctl.append.writer import Writer
from esctl.archive import creation, listing
from esctl.cli.main import run as run_command
from esctl.events.event import NewEvent
from esctl.evolution.plan import Draft, apply
from esctl.log import EventLog
from esctl.model.checks import checked
from esctl.points import marks
from esctl.store import migrations
from esctl.upkeep import erasure

SECONDS = 20
# What sqlite-utils notes of migrations, and files that are still to be removed: an altered entry removes none.
NOTED = ("_sqlite_migrations", "leftovers")
HEADER = {
    0: "magic", 16: "page size", 18: "format versions", 20: "reserved space", 21: "payload fractions",
    24: "change counter", 28: "size in pages", 32: "freelist", 40: "schema cookie", 44: "schema format",
    48: "suggested cache size", 52: "largest root", 56: "encoding", 60: "user version", 64: "incremental vacuum",
    68: "application id", 72: "reserved for expansion", 92: "version-valid-for", 96: "SQLite's version",
}  # fmt: skip
EMPTY = ("between pointers and cells", "free block", "free page", "pointer map")
MODEL = """
[aggregate.account]
streams = "s-*"
initial = { n = 0 }
snapshot = { every = 5 }
on."*" = [{ set = { n = "$.n" } }]
"""


class Flip(NamedTuple):
    """One bit of one file."""

    file: str
    offset: int
    bit: int


def event(n: int) -> NewEvent:
    data = f'{{"n":{n},"note":"{"note " * (n % 9)}{n * 7919 % 10007}"}}'
    return NewEvent(
        f"s-{n % 4}", f"T{n % 3}", f"id-{n * 104729 % 1000003}", None, 1, data, f'{{"actor":"a{n % 5}"}}', None
    )


def build(path: Path) -> None:
    """Write the log."""
    migrations.create(path)
    with EventLog(path, write=True) as log:

        def put(low: int, high: int) -> None:
            with log.transaction():
                Writer(log).append([event(n) for n in range(low, high)])

        put(1, 31)
        text, problems = checked(MODEL, {})
        assert not problems
        apply(log, Draft(MODEL, {}, text), 0)
        marks.set_mark(log, "early", 9)
        put(31, 71)
        with log.transaction():  # overflow pages
            Writer(log).append(
                [NewEvent("long", "Long", "long", None, 1, '{"text":"' + "0123456789" * 900 + '"}', "{}", None)]
            )
        for low, high, to in ((1, 20, None), (21, 40, path.parent / "segments"), (41, 55, None)):
            list(creation.create(log, listing.hot(log, high), to=to))
            assert listing.archived(log)[-1].first == low
        put(71, 91)
        list(erasure.erase(log, [3, 4, 25, 57, 60], "request"))
        put(91, 95)
        erasure.scrub(log)


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that SQL finds in a log's tables, and its schema."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    schema = "select type, name, tbl_name, rootpage, lower(sql) from sqlite_schema"
    try:
        listed = connection.execute("select name from sqlite_schema where type = 'table'")
        tables = [str(name) for (name,) in listed if name not in NOTED]
        found = {name: list(connection.execute(f'select * from "{name}"')) for name in sorted(tables)}
        found["sqlite_schema"] = list(connection.execute(schema))
        found["pragma"] = [
            (connection.pragma("user_version"), connection.pragma("application_id"), connection.pragma("journal_mode"))
        ]
        return found
    finally:
        connection.close()


def differing(path: Path, before: dict[str, list[tuple[object, ...]]]) -> list[str]:
    """Which values of which tables are others than before."""
    try:
        now = rows(path)
    except (apsw.Error, UnicodeDecodeError) as error:
        return [f"SQL fails: {error}"]
    found = []
    for name, wanted in before.items():
        there = now.get(name, [])
        if len(there) != len(wanted):
            found.append(f"{name}: {len(there)} rows, not {len(wanted)}")
            continue
        for old, new in zip(wanted, there, strict=True):
            values = enumerate(zip(old, new, strict=False))
            changed = [(at, a, b) for at, (a, b) in values if (type(a), a) != (type(b), b)]
            found += [f"{name}, column {at}: {both(a, b)}" for at, a, b in changed]
    return found


def both(old: object, new: object) -> str:
    """Two values, from where they differ."""
    a, b = repr(old), repr(new)
    first = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    at = max(0, first - 20)
    return f"{a[at : at + 50]} became {b[at : at + 50]}"


def in_child(work: Callable[[], int], said: Path) -> int:
    """What something returns (0 to 255) in a process of its own; a signal that it died of, negative. Its stderr goes
    into a file.
    """
    child = os.fork()
    if child == 0:
        code = 255
        try:
            signal.alarm(SECONDS)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def told_by(path: Path) -> int:
    """The exit of `verify --full`."""
    return in_child(
        lambda: run_command(["verify", "--full", "-q", "--debug", "--log", str(path)]), path.parent / "stderr"
    )


def said(path: Path) -> str:
    """The line before the last of a traceback, and its error."""
    lines = (path.parent / "stderr").read_text("utf-8", "replace").splitlines()
    places = [line.strip() for line in lines if line.lstrip().startswith("File ")]
    errors = [line for line in lines if "Error" in line]
    return " | ".join([*places[-1:], *errors[-1:]])


def flipped(start: Path, work: Path, flip: Flip) -> Path:
    """A copy of the log with a bit flipped."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(start, work)
    with (work / flip.file).open("r+b") as file:
        file.seek(flip.offset)
        byte = file.read(1)[0]
        file.seek(flip.offset)
        file.write(bytes([byte ^ 1 << flip.bit]))
    return work / "log.db"


# Where a byte lies


class Pages:
    """The pages of a log, as SQLite's file format has them (sqlite.org/fileformat2.html)."""

    def __init__(self, path: Path) -> None:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        self.size: int = connection.pragma("page_size")
        self.names = dict(connection.execute("select pageno, name || ', ' || pagetype from dbstat"))
        connection.close()
        self.content = path.read_bytes()

    def region(self, offset: int) -> str:
        """What a byte belongs to."""
        number, at = offset // self.size + 1, offset % self.size
        if number == 1 and at < 100:
            return f"header: {HEADER[max(start for start in HEADER if start <= at)]}"
        if (number - 2) % (self.size // 5 + 1) == 0:
            return "pointer map"
        if number not in self.names:
            return "free page"
        name = self.names[number]
        return f"{name} page: overflow" if name.endswith("overflow") else f"{name} page: {self._within(number, at)}"

    def _within(self, number: int, at: int) -> str:
        page = self.content[(number - 1) * self.size : number * self.size]
        start = 100 if number == 1 else 0
        cells, content = self._number(page, start + 3), self._number(page, start + 5) or 65536
        pointers = start + (12 if page[start] in (2, 5) else 8)
        if at < pointers:
            return "header"
        if at < pointers + 2 * cells:
            return "cell pointer"
        if at < content:
            return "between pointers and cells"
        free = self._number(page, start + 1)
        while free:
            if free <= at < free + self._number(page, free + 2):
                return "free block's header" if at < free + 4 else "free block"
            free = self._number(page, free)
        return "cell"

    @staticmethod
    def _number(page: bytes, at: int) -> int:
        return int.from_bytes(page[at : at + 2], "big")


# All together


def chosen(start: Path, pages: Pages, count: int | None, chance: random.Random) -> Iterator[Flip]:
    """Flips: of one bit of every byte, or of some bytes, most of them where something is written."""
    sizes = {str(f.relative_to(start)): f.stat().st_size for f in sorted(start.rglob("*")) if f.is_file()}
    every = [(name, offset) for name, size in sizes.items() for offset in range(size)]
    if count is not None:
        written, rest = list[tuple[str, int]](), list[tuple[str, int]]()
        for name, offset in every:
            empty = name == "log.db" and pages.region(offset).endswith(EMPTY)
            (rest if empty else written).append((name, offset))
        less = min(count // 10, len(rest))
        every = [*chance.sample(written, min(count - less, len(written))), *chance.sample(rest, less)]
    for name, offset in every:
        yield Flip(name, offset, chance.randrange(8))


def run(folder: Path, count: int | None, seed: int, *, listed: bool) -> bool:
    """Flip all that is to be flipped, and print what came of it; whether there was no failure."""
    start, work, chance = folder / "start", folder / "work", random.Random(seed)
    start.mkdir()
    build(start / "log.db")
    assert told_by(start / "log.db") == 0, (start / "stderr").read_text("utf-8")
    (start / "stderr").unlink()
    pages, before = Pages(start / "log.db"), rows(start / "log.db")
    codes, silent = Counter[int](), Counter[str]()
    failures: list[tuple[Flip, str]] = []
    for flip in chosen(start, pages, count, chance):
        path = flipped(start, work, flip)
        code = told_by(path)
        codes[code] += 1
        where = pages.region(flip.offset) if flip.file == "log.db" else "segment"
        if code < 0 or code in (1, 255):
            failures.append((flip, f"{where}: verify --full ends with {code}: {said(path)}"))
        if code == 0:
            silent[where] += 1
            changed = differing(path, before)
            if changed or where == "segment":
                failures.append((flip, f"{where}: {'; '.join(changed[:2])}"))
    flips, told = codes.total(), codes.total() - codes[0] - codes[1]
    print(f"{flips} flips (seed {seed}): {told} told, {codes[0]} not, {len(failures)} failures; exits {dict(codes)}")
    for where, number in silent.most_common():
        print(f"  not told: {number:6} {where}")
    for flip, what in failures if listed else failures[:20]:
        print(f"  failure: {flip.file} byte {flip.offset} bit {flip.bit}: {what}")
    return not failures


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--flips", type=int, default=2000)
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options.add_argument("--all", action="store_true", help="a bit of every byte")
    options.add_argument("--rows", action="store_true", help="list every failure")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="esctl-bitflips-") as temporary:
        well = run(Path(temporary), None if given.all else given.flips, given.seed, listed=given.rows)
    sys.exit(not well)


if __name__ == "__main__":
    main()
