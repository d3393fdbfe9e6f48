"""Damages a log and its segments' files at random, and holds what salvage gives against the log as it was.

    python -m tests.long.salvage [--rounds 200] [--seed N]

Each round overwrites one to three pages, or one to twelve bytes, of copies of a log that has everything: hot events,
long ones, events archived in its own file and in a folder, erased ones in each place, a model and marks. Then:

* what `replay --skip-damaged` gives equals what was there, and what is said to be whole is exactly that;
* an event is given if nothing of it was hit, nor of the event before it or of the one behind it;
* `restore --salvage` makes a log that passes `verify` and the independent verifier, has exactly these events at their
  positions, and leaves the damaged files as they are;
* `verify` and `backup` do not exit with 0 if they are damaged, and no backup is left that does not pass.

Exits with 1 if a round failed, and prints each.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from esctl.append.writer import Writer
from esctl.archive import creation, listing
from esctl.cli.main import run as run_command
from esctl.events import system
from esctl.events.event import NewEvent, SealedEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points import marks
from esctl.store import migrations
from esctl.store.carving import Carved
from esctl.store.pages import Pages
from esctl.upkeep import erasure, salvage
from esctl.upkeep.verify import verify
from tests import independent_verifier

EVENTS = 1_400
STREAMS = 23
EVERYTHING = Query(system=True, raw_schema=True)


def make(path: Path) -> None:
    """A log with everything."""
    migrations.create(path)
    with EventLog(path, write=True) as log:

        def put(low: int, high: int) -> None:
            with log.transaction():
                Writer(log).append(
                    [
                        NewEvent(
                            f"s-{n % STREAMS}", f"T{n % 3}", f"e-{n}", None, 1,
                            f'{{"n":{n},"text":"{"x" * (20_000 if n % 97 == 0 else n % 50)}"}}', '{"actor":"a"}', None,
                        )
                        for n in range(low, high)
                    ]
                )  # fmt: skip

        put(0, 300)
        marks.set_mark(log, "early", 100)
        list(creation.create(log, listing.hot(log, 200), most=100))
        list(creation.create(log, listing.hot(log, 290), most=50, to=path.parent / "old"))
        put(300, 900)
        list(erasure.erase(log, [3, 4, 250, 500, 501, 700], "request"))
        put(900, EVENTS)
        erasure.scrub(log)


class Original(NamedTuple):
    """A log as it was: its events by position, and the pages of its file that each needs."""

    path: Path
    events: dict[int, SealedEvent]
    pages: dict[int, set[int]]
    names: set[int]  # pages with names, digests and the head, which all events may need


def original(path: Path) -> Original:
    with EventLog(path) as log:
        events = {sealed.event.position: sealed for sealed in log.read(EVERYTHING)}
        segments = log.store.archive()
        assert segments is not None
        outside = [(s.first, s.last) for s in segments.segments if s.location is not None]
    with closing(Pages(str(path))) as pages:
        carved = Carved(pages)
        used: dict[int, set[int]] = {}

        def pages_of(place: int) -> set[int]:
            read: set[int] = set()
            page = pages.page
            pages.page = lambda number: (read.add(number), page(number))[1]  # type: ignore[func-returns-value, method-assign]
            pages.table_cell(place)
            del pages.page
            return read

        for position, places in carved.events.items():
            used[position] = pages_of(places[0])
        for first, places in carved.frames.items():
            last = pages.table_cell(places[0]).values[1]
            for position in range(first, int(str(last)) + 1):
                used[position] = pages_of(places[0])
        for low, high in outside:
            for position in range(low, high + 1):
                used[position].add(-1)  # its file
        names = {
            number
            for number, owner in carved.owners.items()
            if owner in ("streams", "types", "erased", "head", "segments")
        } | {1}
    return Original(path, events, used, names)


def damage(folder: Path, chance: random.Random) -> tuple[str, set[int]]:
    """Overwrite something; say what, and which pages were hit (-1: a segment's file)."""
    log, files = folder / "log.db", sorted((folder / "old").iterdir())
    size = 8192
    count, hit, said = log.stat().st_size // size, set[int](), []
    by_page = chance.random() < 0.5
    for _ in range(chance.randint(1, 3 if by_page else 12)):
        if chance.random() < 0.15:
            path, page = chance.choice(files), -1
            at, length = chance.randrange(path.stat().st_size), 1
        else:
            path, page = log, chance.randint(1, count)
            at, length = ((page - 1) * size, size) if by_page else ((page - 1) * size + chance.randrange(size), 1)
        content = bytearray(path.read_bytes())
        filling = chance.choice((b"\0" * length, b"\xff" * length, chance.randbytes(length)))
        content[at : at + length] = filling
        path.write_bytes(content)
        hit.add(page)
        said.append(f"{path.name} page {page} byte {at % size} {'all' if by_page and page > 0 else filling.hex()}")
    return "; ".join(said), hit


def digest_of(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def check(first: Original, folder: Path, hit: set[int]) -> str:
    """Hold salvage against the log as it was; how it ended, in a word. Raises AssertionError."""
    log = folder / "log.db"
    changed = log.read_bytes() != first.path.read_bytes() or -1 in hit
    before = digest_of(folder)
    with salvage.readable(str(log)) as (whole, found):
        given = {sealed.event.position: sealed for sealed in whole.read(EVERYTHING)}
    for position, sealed in given.items():
        kept = first.events[position]
        assert sealed.event == kept.event, f"position {position} is given as it never was"
        assert position in found.unsalted or sealed == kept, f"position {position} has another salt or hash"
    said = {position for low, high in found.whole for position in range(low, high + 1)}
    assert said == set(given), "what is said to be whole is not what is given"
    lost = {position for one in found.lost for position in range(one.first, one.last + 1)}
    beyond = {position for position in lost if position > max(first.events)}  # an altered head may state more events
    assert not beyond or hit & first.names, f"{len(beyond)} events are said to be lost that never were"
    unsaid = (lost - beyond) ^ (set(first.events) - set(given))
    assert not unsaid, f"{sorted(unsaid)[:9]} are not said"
    if not hit & first.names:
        untouched = {position for position, pages in first.pages.items() if not pages & hit}
        for position in sorted(untouched - set(given)):
            hit_beside = {position - 1, position + 1} & set(first.events) - untouched
            assert hit_beside, f"position {position} is whole and was not given: {found.lost}"
    new = folder.parent / "new.db"
    new.unlink(missing_ok=True)
    salvage.restore(str(log), new)
    assert digest_of(folder) == before, "the damaged log was written to"
    with EventLog(new) as made:
        assert verify(made, full=True).ok
        there = {sealed.event.position: sealed.event for sealed in made.read(EVERYTHING)}
    for position in first.events:
        if position in given:
            assert there[position] == given[position].event, f"position {position} is another in the new log"
        else:
            assert there[position].type == system.EVENT_LOST
            assert not there[position].data
    independent_verifier.from_file(str(new))
    return "whole" if not lost else "lost" if changed else "unchanged"


def commands(folder: Path, *, lost: bool) -> None:
    """What commands say of the damaged log."""
    log, copy = str(folder / "log.db"), folder.parent / "copy.db"
    copy.unlink(missing_ok=True)
    code = run_command(["verify", "-q", "--log", log])
    assert code != 1, "verify fails"
    assert code != 0 or not lost, "verify is content"
    code = run_command(["backup", str(copy), "-q", "--log", log])
    assert code in (0, 6, 7, 8), f"backup exits with {code}"
    if code == 0:
        assert run_command(["verify", "--quick", "-q", "--log", str(copy)]) == 0, "the backup is damaged"
    else:
        assert not copy.exists(), "a damaged backup is left"


def one(first: Original, work: Path, seed: int) -> tuple[str, str]:
    """A round: what was damaged, and how it ended."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(first.path.parent, work / "log")
    what, hit = damage(work / "log", random.Random(seed))
    said = work / "said"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            ended = check(first, work / "log", hit)
            commands(work / "log", lost=ended == "lost")
            (work / "ended").write_text(ended)
            code = 0
        except BaseException:  # noqa: BLE001 - the parent reports it
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        return what, "FAILED " + said.read_text("utf-8", "replace")[-1500:]
    return what, (work / "ended").read_text()


def run(rounds: int, seed: int, folder: Path) -> list[str]:
    """Run rounds, print a summary, and return what failed."""
    (folder / "whole").mkdir()
    make(folder / "whole" / "log.db")
    first, ends, failed = original(folder / "whole" / "log.db"), Counter[str](), []
    for number in range(rounds):
        what, ended = one(first, folder / "work", seed + number)
        ends[ended.split()[0]] += 1
        if ended.startswith("FAILED"):
            failed.append(f"seed {seed + number}: {what}\n{ended}")
    print(f"{rounds} damaged logs: {', '.join(f'{count} {end}' for end, count in sorted(ends.items()))}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failed = run(chosen.rounds, chosen.seed, Path(folder))
    for text in failed:
        print(text)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
