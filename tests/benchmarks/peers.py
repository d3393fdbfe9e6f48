"""The same work by other programs: what people use for logs of events today.

The programs are found on the PATH, the libraries in the environment that runs the benchmarks:
`pip install eventsourcing duckdb umadb`. One that is absent is left out, with a word.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.workbench import ROOT, Bench, Figure, Run, run

EVENTS = 100_000  # at most: some peers take minutes for a million
Command = Callable[["Files"], str]


class Files(NamedTuple):
    """The lines, the peer's store, and the stream that is asked for; each quoted for a shell."""

    source: str
    store: str
    stream: str


_UTILS = f"{sys.executable} -m sqlite_utils"  # a dependency of esctl
_COLUMNS = "stream, type, id, time, data, meta"
_FIELDS = ", ".join(f"line {'->' if name in ('data', 'meta') else '->>'} '{name}'" for name in _COLUMNS.split(", "))
_IMPORT = rf"""pragma journal_mode = wal;
pragma synchronous = full;
create table lines(line);
create table events(
  position integer primary key, stream text, type text, id text unique, time text, data text, meta text);
create index by_stream on events(stream, position);
.mode ascii
.separator "\037" "\n"
.import %s lines
insert into events({_COLUMNS}) select {_FIELDS} from lines order by rowid;
drop table lines;"""
_OBJECT = ", ".join(
    f"'{name}', json({name})" if name in ("data", "meta") else f"'{name}', {name}" for name in _COLUMNS.split(", ")
)


def _sqlite3(sql: str) -> Command:
    return lambda files: f"sqlite3 {files.store} {shlex.quote(sql.replace('STREAM', files.stream))}"


def _program(name: str) -> Mapping[str, Command]:
    def command(task: str) -> Command:
        python = f"{sys.executable} -m tests.benchmarks.programs {name} {task}"
        return lambda files: f"{python} {files.source} {files.store} {files.stream}"

    return {task: command(task) for task in ("append", "replay", "stream", "count")}


PEERS: dict[str, Mapping[str, Command]] = {
    "sqlite3": {
        "append": lambda files: f"sqlite3 {files.store} <<'END'\n{_IMPORT % files.source}\nEND",
        "replay": _sqlite3(f"select json_object('position', position, {_OBJECT}) from events order by position"),
        "stream": _sqlite3(
            f"select json_object('position', position, {_OBJECT}) from events where stream = 'STREAM' order by position"
        ),
        "count": _sqlite3("select type, count(*) from events group by type"),
    },
    "sqlite-utils": {
        "append": lambda files: (
            f"{_UTILS} insert {files.store} events {files.source} --nl --pk id"
            f" && {_UTILS} create-index {files.store} events stream"
        ),
        "replay": lambda files: f"{_UTILS} rows {files.store} events --nl",
        "stream": lambda files: f"{_UTILS} rows {files.store} events --nl --where \"stream = '{files.stream}'\"",
        "count": lambda files: f"{_UTILS} query {files.store} 'select type, count(*) from events group by type'",
    },
    "jq": {
        "replay": lambda files: f"jq -c . {files.source}",
        "stream": lambda files: f"jq -c 'select(.stream == \"{files.stream}\")' {files.source}",
        "count": lambda files: f"jq -r .type {files.source} | sort | uniq -c",
    },
    "eventsourcing": _program("eventsourcing"),
    "duckdb": _program("duckdb"),
    "umadb": _program("umadb"),
}
NAMES = {"append": "append", "replay": "replay", "stream": "replay of one stream", "count": "count by type"}
LIBRARIES = ("eventsourcing", "duckdb", "umadb")


def present(peer: str) -> bool:
    """Whether a peer can be used here."""
    return bool(importlib.util.find_spec(peer) if peer in LIBRARIES else peer == "sqlite-utils" or shutil.which(peer))


def figures(bench: Bench) -> Iterator[Figure]:
    """Append, replay, read a stream and count by type, against programs that people use for logs today."""
    bench = bench.smaller(EVENTS)
    source = bench.source()
    with source.open(encoding="utf-8") as lines:
        stream = json.loads(next(lines))["stream"]
    ours: dict[str, Callable[[], Run]] = {
        "append": lambda: bench.esctl(bench.empty("append.db"), "append", source=source),
        "replay": lambda: bench.esctl(bench.log(), "replay"),
        "stream": lambda: bench.esctl(bench.log(), "replay", stream),
        "count": lambda: bench.esctl(bench.log(), "types"),
    }
    for peer, commands in PEERS.items():
        if not present(peer):
            print(f"  {peer} is not here", file=sys.stderr)
            continue
        store = bench.folder / f"{peer}.store"
        for task, command in commands.items():
            files = Files(shlex.quote(str(source)), shlex.quote(str(store)), stream)
            taken = []
            for _ in bench.rounds:
                if task == "append":
                    _remove(store)
                theirs = run(["sh", "-ec", command(files)], env={"PYTHONPATH": str(ROOT)})
                taken.append((ours[task](), theirs))
            yield _figure(task, peer, taken)
        _remove(store)


def _figure(task: str, peer: str, taken: list[tuple[Run, Run]]) -> Figure:
    """How many times as fast as the peer's process, by wall time; the same of CPU time beside it."""
    cpu = sorted(theirs.cpu / ours.cpu for ours, theirs in taken)[len(taken) // 2]
    rounds = [theirs.wall / ours.wall for ours, theirs in taken]
    return Figure(NAMES[task], "rate", peer, rounds, {"cpu_ratio": cpu})


def _remove(store: Path) -> None:
    for path in store.parent.glob(f"{store.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
