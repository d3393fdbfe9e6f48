"""What peers that are libraries do with the same lines, each in a process of its own.

    python -m tests.benchmarks.programs PEER TASK SOURCE STORE STREAM

`append` stores the lines of SOURCE in transactions as large as esctl's, durably; `replay`, `stream` and `count` print
from STORE all events, those of a stream, or the number of events of each type. Each peer is used as it comes, with the
keys that make these tasks quick. None of them chains its events; eventsourcing has no index of ids, UmaDB checks none.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

EVENTS_PER_TRANSACTION = 10_000
EVENTS_PER_MESSAGE = 1000  # to a server
PATIENCE_SECONDS = 20


class Task(NamedTuple):
    """What is asked of a peer."""

    name: str
    source: Path
    store: Path
    stream: str


class Line(msgspec.Struct):
    """A line of the source."""

    stream: str
    type: str
    id: str
    time: str
    data: msgspec.Raw
    meta: msgspec.Raw


def _lines(source: Path) -> Iterator[tuple[Line, bytes]]:
    decode = msgspec.json.Decoder(Line).decode
    with source.open("rb") as file:
        for text in file:
            yield decode(text), text


def _portions(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while portion := list(islice(remaining, size)):
        yield portion


def _print(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.writelines(lines)


def eventsourcing(task: Task) -> None:
    """The recorder of its SQLite module."""
    made = import_module("eventsourcing.persistence").StoredEvent
    peer = import_module("eventsourcing.sqlite")
    recorder = peer.SQLiteApplicationRecorder(peer.SQLiteDatastore(str(task.store), originator_id_type="text"))
    if task.name == "append":
        recorder.create_table()
        versions = Counter[str]()
        for portion in _portions(_lines(task.source), EVENTS_PER_TRANSACTION):
            events = []
            for line, text in portion:
                versions[line.stream] += 1
                events.append(made(line.stream, versions[line.stream], line.type, text))
            recorder.insert_events(events)
    elif task.name == "stream":
        _print(event.state for event in recorder.select_events(task.stream))
    else:
        found, start = Counter[str](), 1
        while page := recorder.select_notifications(start, EVENTS_PER_TRANSACTION):
            if task.name == "replay":
                _print(event.state for event in page)
            else:
                found.update(event.topic for event in page)
            start = page[-1].id + 1
        if found:
            print(dict(found))


def duckdb(task: Task) -> None:
    """A table with its three keys, filled and read by SQL."""
    connection = import_module("duckdb").connect(str(task.store))
    fields = "stream: 'VARCHAR', type: 'VARCHAR', id: 'VARCHAR', time: 'VARCHAR', data: 'JSON', meta: 'JSON'"
    statements = {
        "append": f"""
            create sequence positions;
            create sequence versions;
            create table events(position bigint primary key default nextval('positions'), stream text, version bigint,
                type text, id text unique, time text, data json, meta json, unique(stream, version));
            insert into events(stream, version, type, id, time, data, meta)
            select stream, nextval('versions'), type, id, time, data, meta
            from read_json('{task.source}', format='newline_delimited', columns={{{fields}}})""",
        "replay": "copy (from events order by position) to '/dev/stdout' (format json)",
        "stream": f"copy (from events where stream = '{task.stream}' order by version) to '/dev/stdout' (format json)",
        "count": "copy (select type, count(*) from events group by type) to '/dev/stdout' (format json)",
    }
    connection.execute(statements[task.name])
    connection.close()


def umadb(task: Task) -> None:
    """Its server, which is started and stopped with the task, and its client."""
    peer = import_module("umadb")
    with _server(task.store) as url, peer.Client(url) as client:
        if task.name == "append":
            for portion in _portions(_lines(task.source), EVENTS_PER_MESSAGE):
                client.append([peer.Event(line.type, text, tags=[line.stream]) for line, text in portion])
        elif task.name == "count":
            print(dict(Counter(found.event.event_type for found in client.read())))
        else:
            wanted = peer.Query([peer.QueryItem(tags=[task.stream])]) if task.name == "stream" else None
            _print(bytes(found.event.data) for found in client.read(wanted))


@contextmanager
def _server(store: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = Path(sys.executable).with_name("umadb")
    server = subprocess.Popen(
        [program, "--listen", address, "--db-path", store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(address)
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait()


def _await(address: str) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


PROGRAMS: dict[str, Callable[[Task], None]] = {"eventsourcing": eventsourcing, "duckdb": duckdb, "umadb": umadb}

if __name__ == "__main__":
    asked, name, source, store, stream = sys.argv[1:]
    PROGRAMS[asked](Task(name, Path(source), Path(store), stream))
