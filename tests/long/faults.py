"""What the harnesses of faults share: logs to start from, commands that write, and what has to hold afterwards."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from esctl.cli.table import COMMANDS
from esctl.store.format import STORAGE_VERSION
from tests import runner
from tests.conftest import environment
from tests.long import shim

LOG = "log.db"
SECRET = "b2sK9vQ4"  # stands in every payload that is to be erased
DATA = Path(__file__).parents[1] / "data"
MODEL = """
[event.T]
erasable = true
[event.Old]
schema = 2
[[event.Old.upcast]]
from = 1
rename = { amt = "amount" }
[aggregate.s]
streams = "s-*"
initial = { n = 0 }
snapshot = { every = 5 }
on.T = [{ add = { n = 1, sum = "$.n" } }]
[projection.totals]
table = "create table totals(k text primary key, n integer not null)"
[projection.totals.on]
T = "insert into totals values (new.stream, 1) on conflict(k) do update set n = n + 1"
[projection.counts]
inline = true
table = "create table counts(k text primary key, n integer not null)"
[projection.counts.on]
"*" = "insert into counts values (new.type, 1) on conflict(k) do update set n = n + 1"
"""
OTHER_MODEL = MODEL.replace("every = 5", "every = 3").replace("(new.stream, 1)", "('of ' || new.stream, 1)")
DECIDER = """#!/bin/sh
cat > /dev/null
echo '{"type":"T","data":{"n":1}}'
echo '{"type":"T","data":{"n":2}}'
"""
EVENTS = 16
Done = subprocess.CompletedProcess[bytes]
NOTHING: Mapping[str, str] = {}


_sources = [runner.ROOT]


@contextmanager
def under_test(source: Path) -> Iterator[None]:
    """A block in which the commands that are tested come from another folder, which has the package."""
    _sources.append(source)
    try:
        yield
    finally:
        _sources.pop()


def esctl(
    folder: Path, *arguments: str, input: bytes = b"", lane: int = 0, orders: Mapping[str, str] = NOTHING
) -> Done:
    """Run a command in a folder, on the log that is there; `orders` are for the shim."""
    return _ran(runner.ROOT, folder, arguments, input, lane, orders)


def run_tested(
    folder: Path, *arguments: str, input: bytes = b"", lane: int = 0, orders: Mapping[str, str] = NOTHING
) -> Done:
    """The same with the package that is tested: `esctl` prepares, and looks at what there is afterwards."""
    return _ran(_sources[-1], folder, arguments, input, lane, orders)


def _ran(
    source: Path, folder: Path, arguments: Sequence[str], input: bytes, lane: int, orders: Mapping[str, str]
) -> Done:
    env = environment(ESCTL_LOG=str(folder / LOG), XDG_CACHE_HOME=str(folder / "cache"), **orders)
    return runner.run(arguments, input=input, cwd=folder, env=env, preload=shim.library(), lane=lane, source=source)


def line(n: int, **more: object) -> str:
    """An event; every third has a secret."""
    data: dict[str, object] = {"n": n} | ({"secret": f"{SECRET}-{n:04}"} if n % 3 == 0 else {})
    return json.dumps({"stream": f"s-{n % 3}", "type": "T", "id": f"e-{n}", "data": data} | more) + "\n"


# Folders to start from


def _begin(folder: Path) -> Iterator[tuple[list[str], str]]:
    (folder / "model.toml").write_text(MODEL)
    (folder / "other.toml").write_text(OTHER_MODEL)
    (folder / "in.ndjson").write_text("".join(line(n) for n in range(101, 109)))
    (folder / "decider").write_text(DECIDER)
    (folder / "decider").chmod(0o700)
    yield ["version"], ""


def _plain(folder: Path) -> Iterator[tuple[list[str], str]]:
    yield from _begin(folder)
    yield ["init"], ""
    yield ["append", "s-1", "Old", '{"amt":3}', "--id", "e-0"], ""
    yield ["append"], "".join(line(n) for n in range(1, EVENTS))
    yield ["model", "apply", "model.toml", "--yes"], ""
    yield ["projection", "run"], ""
    yield ["snapshot", "take", "--all"], ""
    yield ["append"], "".join(line(n) for n in range(EVENTS, EVENTS + 4))
    yield ["mark", "early", "#5"], ""


def _rebuilt(folder: Path) -> Iterator[tuple[list[str], str]]:
    yield from _plain(folder)
    yield ["projection", "rebuild", "totals", "--from-scratch"], ""


def _replaced(folder: Path) -> Iterator[tuple[list[str], str]]:
    """A projection whose previous version has other rows."""
    yield from _plain(folder)
    yield ["model", "apply", "other.toml", "--yes"], ""
    yield ["projection", "run"], ""


def _segments(where: str) -> Callable[[Path], Iterator[tuple[list[str], str]]]:
    def commands(folder: Path) -> Iterator[tuple[list[str], str]]:
        yield from _plain(folder)
        create = ["archive", "create", "--before", "#13", "--segment-events", "4", "--yes"]
        yield create + (["--to", "cold"] if where == "cold" else []), ""
        if where == "both":
            yield ["archive", "move", "1-4", "--to", "cold"], ""
            yield ["erase", "e-6", "--reason", "asked", "--yes"], ""

    return commands


def _reacting(folder: Path) -> Iterator[tuple[list[str], str]]:
    """A reaction that is at the head, and one with dead letters."""
    yield from _plain(folder)
    yield ["react", "done", "--exec", "true", "--type", "Old", "--from", "beginning", "--once"], ""
    parked = ["--exec", "false", "--retries", "0", "--on-error", "park", "--type", "T", "--from", "beginning", "--once"]
    yield ["react", "parked", *parked], ""


def _saved(folder: Path) -> Iterator[tuple[list[str], str]]:
    yield from _segments("both")(folder)
    yield ["backup", "saved.db"], ""


def _shared(folder: Path) -> Iterator[tuple[list[str], str]]:
    yield from _segments("both")(folder)
    yield ["backup", "shared.db", "--without-segments"], ""


STATES: dict[str, Callable[[Path], Iterator[tuple[list[str], str]]]] = {
    "nothing": _begin,
    "plain": _plain,
    "rebuilt": _rebuilt,
    "replaced": _replaced,
    "in log": _segments("log"),
    "in folder": _segments("cold"),
    "both": _segments("both"),
    "reacting": _reacting,
    "saved": _saved,
    "shared": _shared,
    **{f"storage {n}": _begin for n in (1, 2, 3, 5)},
}


def build(state: str, folder: Path) -> Path:
    """Make a folder to start from."""
    folder.mkdir(parents=True)
    if state.startswith("storage"):
        shutil.copy(DATA / f"storage-{state[-1]}.db", folder / LOG)
        (folder / LOG).chmod(0o600)
    for arguments, text in STATES[state](folder):
        done = esctl(folder, *arguments, input=text.encode())
        assert done.returncode == 0, (state, arguments, done.stderr.decode())
    return folder


# What is run


class Case(NamedTuple):
    """A command that writes. `again` finishes what was cut short (if not given, the same command), and may
    end with the codes `may`: it then finds the work done. `unit`: events are stored in groups of so many (0: all
    at once). `erasing`: the ids whose payloads are to be gone. `once`: run twice it would do another thing, so it is
    not run again where all is done.
    """

    name: str
    state: str
    arguments: tuple[str, ...]
    input: bytes = b""
    again: tuple[str, ...] | None = None
    may: tuple[int, ...] = ()
    unit: int = 0
    erasing: tuple[str, ...] = ()
    once: bool = False

    @property
    def verb(self) -> str:
        """The command, as in the table of commands."""
        two = " ".join(self.arguments[:2])
        return two if two in COMMANDS else self.arguments[0]


def _lines(low: int, high: int) -> bytes:
    return "".join(line(n) for n in range(low, high)).encode()


EXISTS, GONE, OLDER = (2,), (3,), 7
_BATCH = b"append s-1 T n:=1 --id x\nappend s-2 T n:=1 --id y\nmark late\n"
_SCRATCH = ("projection", "rebuild", "totals", "--from-scratch")
_CREATE = ("archive", "create", "--before", "#13", "--segment-events", "4", "--yes")
_ERASE = ("erase", "e-3", "e-6", "e-15", "--reason", "asked", "--yes")
_SECRETS = ("e-3", "e-6", "e-15")
_REACT = ("react", "r", "--type", "Old", "--from", "beginning", "--once")
CASES = (
    Case("init", "nothing", ("init",), may=EXISTS),
    Case("init --model", "nothing", ("init", "--model", "model.toml"), may=EXISTS),
    Case("append one", "plain", ("append", "s-1", "T", '{"n":1}', "--id", "x")),
    Case("append a=1", "in log", ("append", "s-1", "T", "n:=1", "--id", "x")),
    Case("append stdin", "plain", ("append",), _lines(101, 109)),
    Case("append FILE", "both", ("append", "in.ndjson")),
    Case("append --each", "plain", ("append", "--each"), _lines(101, 105), unit=1),
    Case("append --batch", "plain", ("append", "--batch", "3", "--receipts"), _lines(101, 109), unit=3),
    Case("append --receipts", "plain", ("append", "--receipts"), _lines(101, 109), unit=1),
    Case("append --atomic", "plain", ("append", "--atomic"), _lines(101, 109)),
    Case("batch", "plain", ("batch",), _BATCH, unit=1, again=("batch",)),
    Case("decide", "plain", ("decide", "s-1", "--exec", "./decider", "--id", "d")),
    Case("mark", "plain", ("mark", "late", "#7"), once=True),
    Case("model apply", "plain", ("model", "apply", "other.toml", "--yes")),
    Case("upcast rewrite", "both", ("upcast", "rewrite", "--to", "new.db", "--yes"), may=EXISTS),
    Case("snapshot take", "plain", ("snapshot", "take", "--all")),
    Case("snapshot prune", "plain", ("snapshot", "prune", "--keep", "0", "--yes")),
    Case("projection run", "plain", ("projection", "run")),
    Case("projection show", "plain", ("projection", "show", "totals")),
    Case("projection rebuild", "plain", ("projection", "rebuild", "totals"), once=True),
    Case("projection rebuild --from-scratch", "rebuilt", _SCRATCH, once=True),
    Case("projection rollback", "replaced", ("projection", "rollback", "totals")),
    Case("projection drop", "rebuilt", ("projection", "drop", "totals", "--yes"), may=GONE),
    Case("archive create", "plain", _CREATE),
    Case("archive create --to", "plain", (*_CREATE, "--to", "cold")),
    Case("archive move out", "in log", ("archive", "move", "1-4", "9-12", "--to", "cold")),
    Case("archive move on", "in folder", ("archive", "move", "1-4", "9-12", "--to", "away")),
    Case("archive move in", "in folder", ("archive", "move", "1-4", "9-12", "--to", "log")),
    Case("archive restore", "in log", ("archive", "restore", "9-12", "--yes"), may=GONE),
    Case("archive restore, folder", "in folder", ("archive", "restore", "9-12", "--yes"), may=GONE),
    Case("archive export", "both", ("archive", "export", "1-4", "out.zst"), may=EXISTS),
    Case("erase", "plain", _ERASE, erasing=_SECRETS),
    Case("erase, log", "in log", _ERASE, unit=1, erasing=_SECRETS),
    Case("erase, folder", "in folder", _ERASE, unit=1, erasing=_SECRETS),
    Case("create, then erase", "plain", (*_CREATE, "--to", "cold"), again=_ERASE, erasing=_SECRETS),
    Case("move, then erase", "in log", ("archive", "move", "1-4", "--to", "cold"), again=_ERASE, erasing=_SECRETS),
    Case("backup", "both", ("backup", "copy.db"), may=EXISTS),
    Case("backup --without-segments", "both", ("backup", "copy.db", "--without-segments"), may=EXISTS),
    Case("restore", "saved", ("restore", "saved.db", "--log", "new.db"), may=EXISTS),
    Case("fork", "both", ("fork", "copy.db", "--until", "#18"), may=EXISTS),
    Case("fork, archive", "both", ("fork", "copy.db", "--until", "#6"), may=EXISTS),
    Case("react", "plain", (*_REACT, "--exec", "true")),
    Case("react --append", "plain", (*_REACT, "--append", "--exec", "./decider")),
    Case("reaction pause", "reacting", ("reaction", "pause", "parked")),
    Case("reaction resume", "reacting", ("reaction", "resume", "parked")),
    Case("reaction reset", "reacting", ("reaction", "reset", "parked", "--from", "#7", "--yes")),
    Case("reaction drop", "reacting", ("reaction", "drop", "parked", "--yes"), may=GONE),
    Case("dead-letter retry", "reacting", ("dead-letter", "retry", "parked", "--all")),
    Case("dead-letter drop", "reacting", ("dead-letter", "drop", "parked", "--all", "--yes"), may=GONE),
    Case("compact", "rebuilt", ("compact",)),
    Case("compact --full", "rebuilt", ("compact", "--full")),
    *(Case(f"migrate {n}", f"storage {n}", ("migrate", "--yes")) for n in (1, 2, 3, 5)),
)  # fmt: skip
READERS = {
    "archive list", "archive verify", "bisect", "completion", "dead-letter list", "dead-letter show", "diff", "head",
    "help", "info", "log", "marks", "model check", "model history", "model plan", "model show", "project",
    "projection diff", "projection list", "projection status", "projection verify", "query", "reaction list",
    "reaction status", "replay", "show", "snapshot list", "snapshot verify", "state", "streams", "types",
    "upcast check", "upcast show", "verify", "version",
}  # fmt: skip


EXEMPT = {"demo"}  # makes a sample out of what it has with it, and after a kill is run in another folder


def uncovered() -> list[str]:
    """The commands that neither have a case nor are known to write nothing."""
    known = {case.verb for case in CASES} | READERS | EXEMPT
    return sorted(set(COMMANDS) - known)


# What holds


class Picture(NamedTuple):
    """What a folder has, apart from what chance and the clock decide."""

    files: list[str]
    logs: dict[str, Any]


def inspect(folder: Path, *queries: str) -> dict[str, list[tuple[int, list[Any], str]]]:
    """The answers of every log in a folder to some commands: exit code, records, what went wrong."""
    logs = logs_in(folder)
    words = [f"{query} --log '{log}'" for log in logs for query in queries]
    done = esctl(folder, "batch", input="".join(f"{word}\n" for word in words).encode())
    answers: list[tuple[int, list[Any], str]] = []
    rows: list[Any] = []
    for text in done.stdout.splitlines():
        row = json.loads(text)
        if set(row) <= {"exit", "error", "what"} and "exit" in row:
            answers.append((row["exit"], rows, row.get("what", "")))
            rows = []
        else:
            rows.append(row)
    assert len(answers) == len(words), (done.returncode, done.stderr.decode())
    per_log = len(queries)
    return {log: answers[n * per_log : (n + 1) * per_log] for n, log in enumerate(logs)}


def logs_in(folder: Path) -> list[str]:
    """The names of the logs below a folder. What has an older storage version is none yet."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*.db") if not path.name.startswith("."))
    return sorted(name for name in found if name != "saved.db" and _version(folder / name) != "old")


def _version(path: Path) -> str:
    """Whether the file of a log has an older storage version."""
    with path.open("rb") as file:
        header = file.read(100)
    if Path(f"{path}-wal").exists() or len(header) < 100:
        return "unknown"
    return "old" if 0 < int.from_bytes(header[60:64]) < STORAGE_VERSION else "new"


Events = dict[int, dict[str, Any]]


def events_of(rows: list[Any]) -> Events:
    """Events by position."""
    return {row["position"]: row for row in rows}


def events(folder: Path, log: str = LOG) -> Events:
    """The events of a log by position, with hashes."""
    found = inspect(folder, "replay --system --hash").get(log, [(0, [], "")])
    return events_of(found[0][1])


def whole(folder: Path, before: Events, case: Case) -> tuple[list[str], Events]:
    """What is wrong with the logs of a folder, and the events of its log now."""
    wrong: list[str] = []
    now: Events = {}
    for log, (verified, replayed) in inspect(folder, "verify --full", "replay --system --hash").items():
        if verified[0] == OLDER and case.verb == "migrate":
            continue
        if verified[0] or replayed[0]:
            wrong.append(f"{log}: {verified} {replayed[0]} {replayed[2]}")
        if log == LOG:
            now = events_of(replayed[1])
    if before and not now and case.verb != "migrate" and _version(folder / LOG) != "old":
        wrong.append(f"{LOG} has no events any more")
    for position, event in before.items():
        if now and (differs := _differs(event, now.get(position), case)):
            wrong.append(differs)
    return wrong, now


def _differs(event: dict[str, Any], now: dict[str, Any] | None, case: Case) -> str:
    if now is None:
        return f"position {event['position']} is gone"
    if now["data"] is None and event["id"] in case.erasing:
        gone = ("data", "meta", "salt", "erased", "digest")
        event, now = ({key: value for key, value in row.items() if key not in gone} for row in (event, now))
    return "" if event == now else f"position {event['position']} was {event}, is {now}"


RANDOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_CLOCK = {
    "time",
    "recorded",
    "hash",
    "salt",
    "made",
    "taken",
    "applied",
    "last_recorded",
    "sha256",
    "created",
    "bytes",
    "since",
}
_QUERIES = (
    "replay --system --raw-schema", "state --all --aggregate s", "marks", "snapshot list", "model history",
    "archive list", "projection list", "projection verify", "reaction list", "dead-letter list",
)  # fmt: skip


def picture(folder: Path) -> Picture:
    """What a folder has now."""
    return Picture(
        sorted(_name(path, folder) for path in folder.rglob("*") if path.is_file() and _counts(path, folder)),
        {log: [[_timeless(row) for row in rows] for _, rows, _ in found] + [_tables(folder / log)]
         for log, found in inspect(folder, *_QUERIES).items()},
    )  # fmt: skip


def _counts(path: Path, folder: Path) -> bool:
    """Whether a file is compared. A draft's name for what has its own name too goes with the first writer."""
    is_second_name = path.name.endswith(".new") and path.stat().st_nlink > 1
    return path.relative_to(folder).parts[0] != "cache" and not is_second_name


def _name(path: Path, folder: Path) -> str:
    """A file's name; that of a segment's file without its hash, which depends on salts."""
    return re.sub(r"(\d{12}-\d{12})-[0-9a-f]{16}", r"\1", str(path.relative_to(folder)))


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    """A record without what chance and the clock decide; a projection's without the number of its version."""
    kept = {key: value for key, value in row.items() if key not in _CLOCK}
    if RANDOM_ID(str(kept.get("id", ""))):
        del kept["id"]
    if kept.get("type") in ("LogForked", "LogRewritten", "LogRestored"):
        del kept["data"]
    if "projection" in kept:
        return {key: kept[key] for key in ("projection", "state", "position", "rows") if key in kept}
    if "reaction" in kept and "filter" in kept:  # run again, it goes on to the head, past what it has appended
        return {key: value for key, value in kept.items() if key != "position"}
    if "segment" in kept:
        kept.pop("path", None)
        return {key: kept[key] for key in ("segment", "events", "location", "folder") if key in kept}
    return kept


def _tables(path: Path) -> list[Any]:
    """What only SQL sees: the tables of projections with their rows; frames and files that nothing needs."""
    with _opened(path, apsw.SQLITE_OPEN_READWRITE) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")]
        read = sorted(name for name in names if re.match("totals|counts", name))
        live = [name for name in read if "__" not in name]
        pending = connection.execute(
            "select count(*) from frames f where not exists("
            "select 1 from segments g where g.first = f.segment and f.first between g.first and g.last)"
        ).get
        rows = connection.execute(
            "select count(*) from events e join segments g on e.position between g.first and g.last"
        )
        leftovers = connection.execute("select count(*) from leftovers where path not glob '*/'").get
        return [
            sorted(re.sub(r"__\d+", "__N", name) for name in read),
            {name: sorted(connection.execute(f"select * from {name}")) for name in live},
            {"pending frames": pending, "leftovers": leftovers, "left hot rows": rows.get},
        ]


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[apsw.Connection]:
    """A log's file for SQL of the harness. Others may open it at this moment too, and one of them recovers its WAL."""
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5000)
    try:
        yield connection
    finally:
        connection.close()


def differences(wanted: Picture, found: Picture) -> list[str]:
    """What is other in one picture than in the other."""
    wrong = []
    if strays := sorted(set(found.files) - set(wanted.files)):
        wrong.append(f"stray files: {strays}")
    if missing := sorted(set(wanted.files) - set(found.files)):
        wrong.append(f"missing files: {missing}")
    for log, parts in wanted.logs.items():
        for name, was, now in zip((*_QUERIES, "tables"), parts, found.logs.get(log, []), strict=False):
            wrong += [f"{log}: {name}: wanted {_short(was, now)}"] * (was != now)
    return wrong


def _short(was: Any, now: Any) -> str:
    if isinstance(was, list) and isinstance(now, list):
        pairs = [(a, b) for a, b in zip(was, now, strict=False) if a != b]
        return f"{len(was)} rows, found {len(now)}; first {pairs[:1] or (was + now)[min(len(was), len(now)) :][:1]}"
    return f"{was}, found {now}"


def acknowledged(folder: Path, done: Done, now: Events, already: int) -> list[str]:
    """What a command said is stored, and is not."""
    wrong = []
    for text in done.stdout.splitlines(keepends=True):
        if not text.endswith(b"\n"):
            break
        try:
            said = json.loads(text)
        except ValueError:
            continue
        if "position" in said and "id" in said and now.get(said["position"], {}).get("id") != said["id"]:
            wrong.append(f"acknowledged, and not there: {said}")
        if "appended" in said and already + said["appended"] > len(now):
            wrong.append(f"acknowledged, and only {len(now)} events: {said}")
        made = [said[key] for key in ("file", "log") if key in said and "head" in said]
        wrong += [f"said to be made, and not there: {said}" for name in made if not (folder / name).exists()]
    return wrong


def pieces(folder: Path, ids: tuple[str, ...]) -> list[bytes]:
    """A piece of each compressed frame in a log that holds a secret: free pages may keep frames without their names."""
    found = []
    with _opened(folder / LOG, apsw.SQLITE_OPEN_READONLY) as connection:
        for (packed,) in connection.execute("select packed from frames where packed is not null"):
            words = [f"{SECRET}-{int(name[2:]):04}".encode() for name in ids]
            if any(word in _unpacked(packed) for word in words):
                found.append(packed[len(packed) // 2 :][:24])
    return found


def _unpacked(content: bytes) -> bytes:
    """What compressed bytes hold; nothing if they are none."""
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
            return reader.read()
    except zstandard.ZstdError:
        return b""


def secrets_in(folder: Path, ids: tuple[str, ...], packed: Sequence[bytes] = ()) -> list[str]:
    """The files in which a secret can still be found, as it is or compressed, or a piece of a frame that held one."""
    words = [f"{SECRET}-{int(name[2:]):04}".encode() for name in ids] + [*packed]
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in ("in.ndjson", "saved.db"):
            continue
        content = path.read_bytes()
        if ".zst" in path.name:
            content += _unpacked(content)
        if any(word in content for word in words):
            found.append(str(path.relative_to(folder)))
    return found


def copied(state: Path, work: Path) -> Path:
    """A fresh copy of a folder to start from."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(state, work)
    return work


# Many at once

Job = TypeVar("Job")
Found = TypeVar("Found")


@cache
def base() -> Path:
    """The folder of a harness and the processes that it starts; `spread` removes it."""
    return Path(tempfile.mkdtemp(prefix="esctl-faults-"))


def keep(wrong: list[str]) -> None:
    """Keep the folder of a point at which something was wrong, and say where it is."""
    if wrong:
        kept = tempfile.mkdtemp(prefix="esctl-kept-")
        shutil.copytree(place() / "work", kept, dirs_exist_ok=True)
        wrong.append(f"kept: {kept}")


def place() -> Path:
    """The folder of this process."""
    found = base() / str(os.getpid())
    found.mkdir(exist_ok=True)
    return found


@cache
def state(name: str) -> Path:
    """A folder to start from, built once."""
    return build(name, base() / name.replace(" ", "-"))


def spread(work: Callable[[Job], Found | None], jobs: Sequence[Job]) -> Iterator[Found]:
    """Do many jobs in as many processes as there are processors; give what they gave."""
    try:
        with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), _alone) as pool:
            for found in pool.imap_unordered(work, jobs):
                if found is not None:
                    yield found
    finally:
        shutil.rmtree(base(), ignore_errors=True)


def _alone() -> None:
    """In a new process: have a server of one's own, not the parent's."""
    runner._server.cache_clear()
