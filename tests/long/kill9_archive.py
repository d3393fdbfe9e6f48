"""Kills whatever changes an archive, and proves that nothing was lost, left half done, or left lying about.

    python -m tests.long.kill9_archive [--kills 200] [--seed N]           at random moments, while another one appends
    python -m tests.long.kill9_archive --every [--writes 1] [--only NAME] before, or amid, each step on a file

Killed are: create, move and restore, each with segments in the log's file and in a folder; erase of hot events and of
archived ones in either place. After each kill:

* every event is there with the hash that it had, its payload unchanged or, where that was asked for, erased;
* `verify --full` passes;
* the same command, run again, finishes the work (or an erasure does its own, after a create or a move was killed); then
  there is no file and no frame that no segment needs, and nothing of an erased payload is left in any file.

--every needs no luck: a child counts what SQLite and Python do to files (writes, syncs, links, removals …) and kills
itself at the n-th, for every n; at a write, half of it is written first. Prints a summary; exits with 1 at the first
failure (--every: after the last), whose folder is then kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from esctl.append.writer import Writer
from esctl.archive import creation, listing
from esctl.cli.main import run as run_command
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import migrations
from esctl.upkeep import verify

ESCTL = str(Path(sys.executable).with_name("esctl"))
SECRET = "b2sK9vQ4"  # stands in every payload that is to be erased
STREAMS = 7


class Known(NamedTuple):
    """What a log is to hold: the payload and hash of each event by position, and which payloads may be gone."""

    events: dict[int, tuple[str, str, str, str, bytes]]
    erasing: frozenset[int]


def event(n: int) -> NewEvent:
    """Every third event holds a secret."""
    secret = f',"secret":"{SECRET}-{n:06}"' if n % 3 == 0 else ""
    data = f'{{"n":{n},"note":"{"x" * (n % 50)}"{secret}}}'
    return NewEvent(f"s-{n % STREAMS}", "Told" if n % 3 == 0 else "Noted", f"e-{n}", None, 1, data, "{}", None)


def build(path: Path, events: int) -> None:
    """A log of that many events."""
    migrations.create(path)
    with EventLog(path, write=True) as log, log.transaction():
        Writer(log).append([event(n) for n in range(1, events + 1)])


# What has to hold


def known(path: Path, erasing: set[int]) -> Known:
    """What a log holds."""
    with EventLog(path) as log:
        read = log.read(Query(system=True, raw_schema=True))
        events = {e[0]: (e[1], e[3], str(e[8]), str(e[9]), hash_) for e, _, hash_ in read}
    return Known(events, frozenset(erasing))


def is_whole(path: Path, wanted: Known) -> None:
    """Everything that was there is there, and the log proves itself. Raises AssertionError."""
    with EventLog(path) as log:
        found = dict[int, Any]()
        for e, _, hash_ in log.read(Query(system=True, raw_schema=True)):
            gone = e[8] is None and e[0] in wanted.erasing
            expected = wanted.events.get(e[0])
            payload = expected[2:4] if gone and expected else (e[8], e[9])
            found[e[0]] = (e[1], e[3], *payload, hash_)
        for position, expected in wanted.events.items():
            if found.get(position) != expected:
                raise AssertionError(f"position {position} holds {found.get(position)}, wanted is {expected}")
        report = verify.verify(log, full=True)
        if not report.ok:
            raise AssertionError(f"verify --full: {report.findings[:3]}")


def is_tidy(path: Path) -> None:
    """No file and no frame is there that no segment needs. Raises AssertionError."""
    with EventLog(path, write=True) as log:
        needed = {path, Path(f"{path}-wal"), Path(f"{path}-shm")}
        needed |= {path.parent / s.location / s.file for s in listing.archived(log) if s.location is not None}
        leftovers = log.store.archiving().leftovers()
    connection = apsw.Connection(str(path))
    pending = connection.execute("select count(*) from frames where segment not in (select first from segments)").get
    connection.close()
    strays = [str(found.relative_to(path.parent)) for found in files(path.parent) if found not in needed]
    if strays or leftovers or pending:
        raise AssertionError(f"left lying about: files {strays}, leftovers {leftovers}, frames {pending}")


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (found for found in sorted(folder.rglob("*")) if not found.is_dir())


def is_erased(path: Path, wanted: Known, packed: list[bytes]) -> None:
    """Nothing of an erased payload is left in any file, `packed` are pieces of what it was compressed to."""
    secrets = [f"{SECRET}-{int(json.loads(wanted.events[n][2])['n']):06}".encode() for n in wanted.erasing]
    for found in files(path.parent):
        content = found.read_bytes()
        if found.suffix in (".zst", ".new"):
            content += unpacked(content)
        if any(piece in content for piece in (*secrets, *packed)):
            raise AssertionError(f"erased, and still in {found.relative_to(path.parent)}")


def unpacked(content: bytes) -> bytes:
    """The lines of a segment's file, or of as many frames as it has."""
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
            return bytes(reader.read())
    except zstandard.ZstdError:
        return b""


def pieces(path: Path, positions: frozenset[int]) -> list[bytes]:
    """Pieces of the compressed frames that hold payloads."""
    found = []
    with EventLog(path) as log:
        store = log.store.archive()
        for segment in listing.archived(log) if store else ():
            assert store is not None
            for frame in store.frames(segment):
                if any(frame.first <= position <= frame.last for position in positions):
                    packed = store.packed(frame, segment)
                    found.append(packed[len(packed) // 2 :][:24])
    return found


# What is killed


class Case(NamedTuple):
    """A command that changes an archive: what the log is before it, and how it is called (again) for a log."""

    name: str
    archived: str  # nowhere, log, folder
    arguments: Callable[[Path], list[str]]
    erasing: tuple[int, int] = (0, -1)  # secrets between these positions
    then: Callable[[Path], list[str]] | None = None  # what is called after the kill, instead of the same again

    def positions(self) -> set[int]:
        """What it erases."""
        low, high = self.erasing
        return {n for n in range(low, high + 1) if n % 3 == 0}


def names(path: Path, where: Callable[[str | None], bool]) -> list[str]:
    """Segments that lie somewhere."""
    with EventLog(path) as log:
        return [segment.name for segment in listing.archived(log) if where(segment.location)]


def erased_by(low: int, high: int) -> Callable[[Path], list[str]]:
    """An erasure of the secrets between two positions, again of all of them when it is called again."""
    positions = [str(n) for n in range(low, high + 1) if n % 3 == 0]
    return lambda _: ["erase", *positions, "--reason", "request", "--force"]


def cases(events: int) -> list[Case]:
    """All of them, for a log of so many events, two thirds of which are archived."""
    most, until = str(events // 3), events - events // 3
    create = ["archive", "create", "--keep-last", str(events // 3), "--segment-events", most]

    def restored(path: Path) -> list[str]:
        left = names(path, lambda _: True)
        return ["archive", "restore", *left] if left else ["archive", "create", "--keep-last", "1000000"]

    def placed(to: str) -> Callable[[Path], list[str]]:
        return lambda path: ["archive", "move", *names(path, lambda _: True), "--to", to]

    low, high = until // 3, until // 3 * 2
    erasure = erased_by(low, high)
    return [
        Case("create", "nowhere", lambda _: create),
        Case("create-folder", "nowhere", lambda _: [*create, "--to", "segments"]),
        Case("move-out", "log", placed("segments")),
        Case("move-in", "folder", placed("log")),
        Case("restore", "log", restored),
        Case("restore-folder", "folder", restored),
        Case("erase-hot", "log", erased_by(until + 1, events), (until + 1, events)),
        Case("erase", "log", erasure, (low, high)),
        Case("erase-folder", "folder", erasure, (low, high)),
        Case(
            "erase-after-create", "nowhere", lambda _: [*create, "--to", "segments"], (low, high), erased_by(low, high)
        ),
        Case("erase-after-move", "log", placed("segments"), (low, high), erased_by(low, high)),
        Case("erase-across", "folder", erased_by(high, events), (high, events)),
    ]


def prepared(folder: Path, events: int, wanted: set[str]) -> dict[str, Path]:
    """Logs to start from, by what is archived in them."""
    made = {}
    for where in wanted:
        place = folder / f"from-{where}"
        place.mkdir()
        build(place / "log.db", events)
        to = place / "segments" if where == "folder" else None
        if where != "nowhere":
            with EventLog(place / "log.db", write=True) as log:
                spans = listing.hot(log, events - events // 3)
                list(creation.create(log, spans, most=events // 3, to=to))
        made[where] = place
    return made


# At every step


class Steps:
    """Counts what is done to files, and kills this process at the n-th step."""

    def __init__(self, last: int) -> None:
        self.left = last
        self.kinds: list[str] = []

    def over(self, kind: str) -> bool:
        """One step more; whether it is the last."""
        self.kinds.append(kind)
        self.left -= 1
        return self.left == 0

    def step(self, kind: str) -> None:
        """One step more, which is not taken if it is the last."""
        if self.over(kind):
            die()

    def watch(self) -> None:
        """Have all that esctl does to files counted."""
        real = {name: getattr(os, name) for name in ("fsync", "link", "unlink", "open", "mkdir", "replace")}

        def watched(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if name != "open" or arguments[1] & os.O_CREAT:
                    self.step(name)
                return real[name](*arguments, **options)

            return call

        for name in real:
            setattr(os, name, watched(name))
        self.vfs = _Vfs(self)


def die() -> None:
    """What SIGKILL does."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class _Vfs(apsw.VFS):
    """The files of SQLite, counted."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.base = steps, apsw.vfs_names()[0]
        super().__init__("killing", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802 - apsw's names
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.steps.step("xDelete")
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, vfs: _Vfs, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self.steps = vfs.steps
        super().__init__(vfs.base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self.steps.over("xWrite"):
            super().xWrite(data[: len(data) // 2], offset)
            die()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.steps.step("xSync")
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.steps.step("xTruncate")
        super().xTruncate(newsize)


def in_child(work: Callable[[], None]) -> int:
    """Run something in a process of its own; the number of the signal that it died of, or 0.

    Raises AssertionError where it failed.
    """
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - of the child
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(told.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - told to the parent
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with told:
        told.seek(0)
        if code > 0:
            raise AssertionError(told.read().strip())
    return -code


def command(arguments: list[str], path: Path, steps: Steps | None = None) -> None:
    """Run a command on a log within this process, its steps counted."""
    os.chdir(path.parent)
    if steps:
        steps.watch()
    code = run_command([*arguments, "--yes", "-q", "--log", str(path)])
    if code:
        raise AssertionError(f"esctl {' '.join(arguments)} exits {code}")


def fresh(start: Path, work: Path) -> Path:
    """A copy of a log with its folder."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(start, work)
    return work / "log.db"


def steps_of(case: Case, start: Path, work: Path) -> list[str]:
    """What a command does to files."""
    path, told = fresh(start, work), work.with_suffix(".steps")
    arguments = case.arguments(path)

    def counted() -> None:
        steps = Steps(0)
        command(arguments, path, steps)
        told.write_text("\n".join(steps.kinds), encoding="utf-8")

    in_child(counted)
    return told.read_text("utf-8").split()


def killed_at(case: Case, start: Path, work: Path, step: int, wanted: Known, packed: list[bytes]) -> None:
    """Kill a command at a step, look at what there is, and run it again. Raises AssertionError."""
    path = fresh(start, work)
    arguments = case.arguments(path)
    in_child(lambda: command(arguments, path, Steps(step)))

    def looked() -> None:
        is_whole(path, wanted)
        command((case.then or case.arguments)(path), path)
        is_whole(path, wanted)
        if case.erasing[1] > 0:
            is_erased(path, wanted, packed)
        is_tidy(path)

    in_child(looked)


def every(folder: Path, events: int, writes: int, only: str | None) -> tuple[str, list[str]]:
    """Kill all at every step, at each so-many-th of SQLite's writes; the summary, and what failed."""
    chosen_cases = [case for case in cases(events) if only in (None, case.name)]
    starts = prepared(folder, events, {case.archived for case in chosen_cases})
    failed, told = [], []
    for case in chosen_cases:
        start, work = starts[case.archived], folder / case.name
        wanted = known(start / "log.db", case.positions())
        packed = pieces(start / "log.db", wanted.erasing)
        kinds = steps_of(case, start, work)
        chosen = [n for n, kind in enumerate(kinds, 1) if kind != "xWrite" or n % writes == 0]
        for n in chosen:
            try:
                killed_at(case, start, work, n, wanted, packed)
            except AssertionError as error:
                failed.append(f"{case.name}, step {n} ({kinds[n - 1]}): {str(error).splitlines()[-1]}")
                shutil.rmtree(folder / f"failed-{case.name}", ignore_errors=True)
                work.rename(folder / f"failed-{case.name}")
        told.append(f"{case.name} {len(chosen)} of {len(kinds)}")
    return f"killed at steps: {', '.join(told)}; {len(failed)} failures", failed


# At random moments


class Appender:
    """Appends to a log, a batch after the other, until it is stopped; `receipts` are those of what it was told."""

    def __init__(self, path: Path) -> None:
        command = [ESCTL, "append", "--receipts", "--batch", "5", "--timeout", "60", "--log", str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.receipts: list[dict[str, Any]] = []
        self._go = True
        self._threads = [threading.Thread(target=self._feed), threading.Thread(target=self._listen)]
        for thread in self._threads:
            thread.start()

    def _feed(self) -> None:
        assert self.process.stdin is not None
        n = 0
        while self._go:
            for _ in range(5):
                n += 1
                self.process.stdin.write(f'{{"stream":"a-{n % 5}","type":"A","id":"a-{n}","data":{{"n":{n}}}}}\n')
            self.process.stdin.flush()
            time.sleep(0.01)
        self.process.stdin.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.receipts.append(json.loads(line))

    def stop(self) -> None:
        """Have it end, well. Raises AssertionError if it does not."""
        self._go = False
        for thread in self._threads:
            thread.join()
        assert self.process.stderr is not None
        told = self.process.stderr.read()
        self.process.stderr.close()
        if self.process.wait():
            raise AssertionError(f"the append exits {self.process.returncode}: {told}")


def drawn(path: Path, chance: random.Random, erasing: set[int]) -> list[str]:
    """A command that changes the archive; what it erases is noted."""
    inside, outside = (names(path, lambda where, out=out: (where is not None) == out) for out in (False, True))  # type: ignore[misc]
    with EventLog(path) as log:
        head = log.head()[0]
    what = chance.choice(["create", "create", "move", "restore", "erase", "erase"])
    segments = [*inside, *outside]
    if what == "create" or not segments:
        keep, most = chance.randrange(head // 2), chance.randrange(200, 900)
        folder = chance.choice([["--to", "segments"], []])
        return ["archive", "create", "--keep-last", str(keep), "--segment-events", str(most), *folder]
    if what == "move":
        to = chance.choice(["log", "segments", "elsewhere/cold"])
        return ["archive", "move", *chance.sample(segments, min(2, len(segments))), "--to", to]
    if what == "restore":
        return ["archive", "restore", chance.choice(segments)]
    chosen = [n * 3 for n in chance.sample(range(1, 600), 5)]
    erasing.update(chosen)
    return ["erase", *map(str, chosen), "--reason", "request", "--force"]


def killed_after(arguments: list[str], path: Path, delay: float) -> bool:
    """Run a command and kill it after a while; whether it was under way."""
    command = [ESCTL, *arguments, "--yes", "-q", "--timeout", "60", "--log", str(path)]
    with subprocess.Popen(
        command, cwd=path.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(delay)
        process.kill()
        assert process.stderr is not None
        told = process.stderr.read()
    if process.returncode > 0 and "another process is reading the log" not in told and "changed" not in told:
        raise AssertionError(f"esctl {' '.join(arguments)} exits {process.returncode}: {told}")
    return process.returncode < 0


def said(arguments: list[str], path: Path) -> None:
    """Run a command to its end."""
    command = [ESCTL, *arguments, "--yes", "-q", "--timeout", "60", "--log", str(path)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"esctl {' '.join(arguments)} exits {done.returncode}: {done.stderr}")


def acknowledged(path: Path, receipts: list[dict[str, Any]]) -> None:
    """Every event that was told to be stored is there. Raises AssertionError."""
    with EventLog(path) as log:
        there = {e[0]: (e[1], e[2], e[3]) for e, _, _ in log.read(Query(system=True, raw_schema=True))}
    for receipt in receipts:
        if there.get(receipt["position"]) != (receipt["stream"], receipt["version"], receipt["id"]):
            raise AssertionError(f"acknowledged as {receipt}, and there is {there.get(receipt['position'])}")


def shaken(place: Path, kills: int, chance: random.Random, totals: list[int]) -> None:
    """Kill commands on one log. Counts kills under way, events acknowledged, payloads erased."""
    path, erasing = place / "log.db", set[int]()
    build(path, 2400)
    before = known(path, set())
    appender = Appender(path)
    try:
        for _ in range(kills):
            totals[0] += killed_after(drawn(path, chance, erasing), path, chance.uniform(0.1, 0.5))
            receipts = list(appender.receipts)
            is_whole(path, Known(before.events, frozenset(erasing)))
            acknowledged(path, receipts)
    finally:
        appender.stop()
        totals[1] += len(appender.receipts)
        totals[2] += len(erasing)
    if erasing:
        said(["erase", *map(str, sorted(erasing)), "--reason", "request", "--force"], path)
    if left := names(path, lambda _: True):
        said(["archive", "move", *left, "--to", "segments"], path)
    said(["archive", "create", "--keep-last", "10"], path)
    wanted = Known(before.events, frozenset(erasing))
    is_whole(path, wanted)
    acknowledged(path, appender.receipts)
    is_tidy(path)
    is_erased(path, wanted, [])


def shake(folder: Path, kills: int, seed: int) -> tuple[str, list[str]]:
    """Kill at random moments, on a new log now and then; the summary, and what failed."""
    chance, failed, totals = random.Random(seed), [], [0, 0, 0]
    for n in range(0, kills, 20):
        place = folder / f"log-{n}"
        place.mkdir()
        try:
            shaken(place, min(20, kills - n), chance, totals)
        except AssertionError as error:
            failed.append(f"seed {seed}, kills from {n} on: {error}")
            continue
        shutil.rmtree(place)
    told = f"{totals[0]} killed under way, {totals[1]} events acknowledged, {totals[2]} payloads erased"
    return f"{kills} kills (seed {seed}): {told}, {len(failed)} failures", failed


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options.add_argument("--every", action="store_true", help="at every step on a file instead")
    options.add_argument("--events", type=int, default=90, help="with --every: how many the log has")
    options.add_argument("--writes", type=int, default=1, help="with --every: only each N-th of SQLite's writes")
    options.add_argument("--only", metavar="NAME", help="with --every: only this case")
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="esctl-kill9-archive-"))
    if given.every:
        told, failed = every(folder, given.events, given.writes, given.only)
    else:
        told, failed = shake(folder, given.kills, given.seed)
    print(told)
    if failed:
        sys.exit("\n".join([*failed, f"kept: {folder}"]))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
