"""Stops one command before one of its file operations, runs another there, and lets the first go on.

    python -m tests.long.interleavings [--points 5] [--all] [--first NAME] [--second NAME] [--at N] [--keep]
    python -m tests.long.interleavings --seeded                          bugs that have to be found

Both are whole processes; so every way is tried, or N of each pair, evenly, in which the whole of one command can come
between two changes that another makes to files. Each may give way (exit codes 4 and 8), find its segment gone (3) or
its file there (2); neither may meet damage. Afterwards every log with a name is whole (`verify --full`, also copies,
and one that shares the folder of segments), nothing that was there or acknowledged is missing or altered, what was
erased is nowhere in the log and its folders, and the first command can be run again. Prints a table; exits with 1 if a
point failed, and says how to repeat it. With --keep its folder stays.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.long import faults, seeded, shim
from tests.long.faults import Case, Done, Events
from tests.long.kills import TIDY, sampled
from tests.long.seeded import Bug

SECONDS = 30
GIVES_WAY = (0, 2, 3, 4, 8)
WRONG = ("damaged", "Traceback", "bug", "cannot be read from")
STATE = "shared"


def _erasing(*ids: str) -> tuple[str, ...]:
    return ("erase", *ids, "--reason", "asked", "--yes")


FIRST = {
    "erase hot": _erasing("e-15"),
    "erase in log": _erasing("e-9"),
    "erase in folder": _erasing("e-3"),
    "erase all": _erasing("e-3", "e-9", "e-15"),
    "archive create": ("archive", "create", "--before", "#19", "--segment-events", "3", "--yes"),
    "archive create --to": ("archive", "create", "--before", "#19", "--segment-events", "3", "--yes", "--to", "cold"),
    "archive move out": ("archive", "move", "5-8", "9-12", "--to", "cold"),
    "archive move in": ("archive", "move", "1-4", "--to", "log"),
    "archive restore": ("archive", "restore", "9-12", "--yes"),
    "archive restore, folder": ("archive", "restore", "1-4", "--yes"),
    "backup": ("backup", "first.db"),
    "backup --without-segments": ("backup", "first.db", "--without-segments"),
    "fork": ("fork", "first.db", "--until", "#18"),
    "fork, archive": ("fork", "first.db", "--until", "#6"),
    "restore": ("restore", "shared.db", "--log", "first.db"),
    "upcast rewrite": ("upcast", "rewrite", "--to", "first.db", "--yes"),
    "projection rebuild": ("projection", "rebuild", "totals"),
    "tidy": TIDY,
    "append": ("append", "s-1", "T", '{"n":1}', "--id", "first"),
}
SECOND = {
    "append": ("append", "s-1", "T", '{"n":1}', "--id", "second"),
    "erase hot": _erasing("e-15", "e-18"),
    "erase archived": _erasing("e-3", "e-9"),
    "archive create": ("archive", "create", "--before", "#19", "--segment-events", "2", "--yes"),
    "archive create --to": ("archive", "create", "--before", "#19", "--segment-events", "3", "--yes", "--to", "cold"),
    "archive move": ("archive", "move", "1-4", "9-12", "--to", "away"),
    "archive move in": ("archive", "move", "1-4", "--to", "log"),
    "archive restore": ("archive", "restore", "1-4", "9-12", "--yes"),
    "backup": ("backup", "second.db"),
    "fork": ("fork", "second.db", "--until", "#10"),
    "verify": ("verify",),
    "archive verify": ("archive", "verify"),
    "projection rebuild": ("projection", "rebuild", "totals"),
    "snapshot verify": ("snapshot", "verify"),
    "replay": ("replay", "--hash"),
    "tidy": TIDY,
    "copy's restore": ("archive", "restore", "1-4", "--yes", "--log", "shared.db"),
    "copy's tidy": (*TIDY, "--log", "shared.db"),
}


BUGS = (
    Bug(
        "a segment may have a payload that was erased meanwhile", ("archive create", "erase hot"),
        "store/archive_changes.py", " or [position for (position,) in erased] != facts.erased", "",
    ),
    Bug(
        "a segment may have changed before it moves", ("archive move out", "erase archived"), "archive/listing.py",
        "if archive is None or found.sha256 != segment.sha256 or", "if archive is None or",
    ),
    Bug(
        "a copy without segments has no file of its own", ("backup --without-segments", "archive move"),
        "archive/folders.py", "    to = folder / KEPT\n", "    return folder\n    to = folder / KEPT\n",
    ),
    Bug(
        "a copy does not look again for a file that moved", ("backup --without-segments", "archive move"),
        "upkeep/copies.py", "if not source.store.has_moved():", "if True:",
    ),
)  # fmt: skip


class Result(NamedTuple):
    """A point that was tried, the exit codes of both commands, and what was wrong."""

    first: str
    second: str
    at: int
    codes: tuple[int, int]
    wrong: list[str]


@cache
def operations(first: str) -> int:
    """How many operations a first command has where nothing comes between."""
    work = faults.copied(faults.state(STATE), faults.place() / "work")
    control = shim.Control(faults.place() / "control")
    done = faults.esctl(work, *FIRST[first], orders=shim.orders(work, "count", control=control.path))
    assert done.returncode == 0, (first, done.stderr.decode())
    return control.operations


def _between(work: Path, first: str, second: str, at: int) -> tuple[Done, Done] | None:
    """Run the second command before an operation of the first; None if the first ended before it."""
    control = shim.Control(faults.place() / "control")
    orders = shim.orders(work, "stop", at, control=control.path)
    ended: list[Done] = []
    beside = threading.Thread(
        target=lambda: ended.append(faults.run_tested(work, *FIRST[first], lane=1, orders=orders))
    )
    beside.start()
    until = time.monotonic() + SECONDS
    while not control.reached and beside.is_alive() and time.monotonic() < until:
        time.sleep(0.0005)
    stopped = control.reached
    try:
        done = faults.run_tested(work, *SECOND[second], "--timeout", "0.2") if stopped else None
    finally:
        control.go()
        beside.join()
    return (ended[0], done) if done is not None else None


def point(first: str, second: str, at: int) -> Result | None:
    """Try one point."""
    work = faults.copied(faults.state(STATE), faults.place() / "work")
    both = _between(work, first, second, at)
    if both is None:
        return None
    commands = [(first, FIRST[first], both[0]), (second, SECOND[second], both[1])]
    asked = tuple({word for _, words, _ in commands if words[0] == "erase" for word in words if word.startswith("e-")})
    case = Case(first, STATE, FIRST[first], erasing=asked)
    wrong = [one for name, _, done in commands for one in _dishonest(name, done)]
    found, now = faults.whole(work, _before(), case)
    wrong += found
    wrong += [one for _, words, done in commands for one in _missing(work, words, done, now)]
    again = faults.run_tested(work, *FIRST[first])
    wrong += _dishonest(f"{first}, again", again)
    tidied = faults.run_tested(work, *TIDY)
    wrong += _dishonest("tidy", tidied)
    wrong += faults.whole(work, _before(), case)[0]
    wrong += [f"left lying about: {name}" for name in _strays(work)]
    return Result(first, second, at, (both[0].returncode, both[1].returncode), wrong)


@cache
def _before() -> Events:
    return faults.events(faults.state(STATE))


def _dishonest(name: str, done: Done) -> Iterator[str]:
    said = done.stderr.decode()
    if done.returncode not in GIVES_WAY or any(word in said for word in WRONG):
        yield f"{name} ends with {done.returncode}: {said}"


def _missing(work: Path, words: tuple[str, ...], done: Done, now: Events) -> Iterator[str]:
    """What a command said is done, and is not."""
    if done.returncode:
        return
    if words[0] == "append":
        yield from faults.acknowledged(work, done, now, 0)
    if words[0] == "erase":
        ids = tuple(word for word in words if word.startswith("e-"))
        yield from (f"erased, and read: {e['id']}" for e in now.values() if e["id"] in ids and e["data"] is not None)
        if not done.stderr:  # otherwise it says where the payload still is
            yield from (f"erased, and still in {name}" for name in faults.secrets_in(work, ids) if _is_own(name))


def _is_own(name: str) -> bool:
    """Whether a file is the log's own: copies, and the files that are kept for them, have what they had."""
    return not name.endswith(".db") and "kept-for-copies" not in name if name != faults.LOG else True


def _strays(work: Path) -> list[str]:
    """Drafts that have no other name, and WALs."""
    return sorted(
        str(path.relative_to(work))
        for path in work.rglob("*")
        if path.name.endswith("-wal") or (path.name.endswith(".new") and path.stat().st_nlink == 1)
    )


def points_of(bug: Bug) -> Iterator[list[str]]:
    """What is wrong at the points at which a bug may be seen."""
    first, second = bug.where
    _before()
    for at in range(1, operations(first) + 1):
        result = point(first, second, at)
        if result is not None:
            yield result.wrong


def _tried(job: tuple[str, str, int, bool]) -> Result | None:
    first, second, at, keep = job
    try:
        result = point(first, second, at)
    except Exception as error:  # noqa: BLE001 - one point's failure is no reason not to try the others
        result = Result(first, second, at, (0, 0), [f"{type(error).__name__}: {error}"])
    if result is not None and keep:
        faults.keep(result.wrong)
    return result


def main() -> None:
    """Parse the command line, try the points, print what was found."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--points", type=int, default=5, help="of each pair")
    options.add_argument("--all", action="store_true", help="all points")
    options.add_argument("--first", choices=FIRST, action="append")
    options.add_argument("--second", choices=SECOND, action="append")
    options.add_argument("--at", type=int, help="only this point")
    options.add_argument("--keep", action="store_true", help="keep the folder of a point that failed")
    options.add_argument("--seeded", action="store_true", help="look for bugs that were put in")
    given = options.parse_args()
    if reason := shim.missing():
        sys.exit(reason)
    if given.seeded:
        sys.exit(seeded.report(BUGS, points_of) != 0)
    firsts, seconds = given.first or list(FIRST), given.second or list(SECOND)
    jobs = [
        (first, second, at, given.keep)
        for first, second in itertools.product(firsts, seconds)
        for at in ([given.at] if given.at else sampled(operations(first), None if given.all else given.points))
    ]
    _before()
    results = []
    for result in faults.spread(_tried, jobs):
        results.append(result)
        if result.wrong:
            command = f"--first '{result.first}' --second \"{result.second}\" --at {result.at} --keep"
            print(
                f"python -m tests.long.interleavings {command}", *result.wrong, sep="\n  ", file=sys.stderr, flush=True
            )
    for first in firsts:
        these = [result for result in results if result.first == first]
        codes = Counter(result.codes for result in these)
        print(f"{first:28}{len(these):>6} points{sum(bool(r.wrong) for r in these):>5} failed, {_counted(codes)}")
    failures = sum(bool(result.wrong) for result in results)
    print(f"{len(jobs)} tried, {len(results)} reached, {failures} failed")
    sys.exit(1 if failures else 0)


def _counted(codes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{one}/{other}: {number}" for (one, other), number in sorted(codes.items()))


if __name__ == "__main__":
    main()
