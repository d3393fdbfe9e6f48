"""Print the speed and memory of whole commands as ratios to bare baselines measured beside them.

    python tests/benchmarks/bench.py [--events 1000000] [--streams 50000] [--rounds 3] [--only append,replay,cold]

Every figure is a ratio, since machines differ and are shared: rates of whole `esctl` processes against bare apsw doing
the same rows in this process, cold commands against `python -c pass`. Nothing is judged here.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import msgspec

from esctl.stores.sqlite import BULK_CACHE_KIB, BULK_CHECKPOINT_PAGES, SETTINGS

ESCTL = [str(Path(sys.executable).with_name("esctl"))]
TYPES = ("OrderPlaced", "PaymentReceived", "OrderShipped", "OrderClosed", "ItemAdded", "NoteWritten")
INSERT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT = """
select e.position, s.name, e.version, e.id, t.name, e.schema, e.time, e.recorded, e.data, e.meta
from events e join streams s using (stream_id) join types t using (type_id) order by e.position"""
BATCH = 10_000


def lines(events: int, streams: int, seed: int = 7) -> Iterator[str]:
    """Events of about 450 bytes in random streams, with random ids and correlation ids."""
    rng = random.Random(seed)
    words = [f"{rng.getrandbits(40):x}" for _ in range(2000)]

    def uuid() -> str:
        text = f"{rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def some(count: int) -> str:
        return " ".join(words[rng.randrange(2000)] for _ in range(count))

    for i in range(events):
        second = i // 10
        moment = f"2026-{1 + second // 2_419_200 % 12:02}-{1 + second // 86_400 % 28:02}T{second // 3600 % 24:02}"
        moment += f":{second // 60 % 60:02}:{second % 60:02}.{rng.randrange(10**6):06}Z"
        yield (
            f'{{"stream":"order-{rng.randrange(streams):06}","type":"{TYPES[rng.randrange(6)]}","id":"{uuid()}",'
            f'"time":"{moment}","data":{{"order_id":"{uuid()}","customer":"{some(2)}",'
            f'"amount":{rng.randrange(1000)}.{rng.randrange(10, 100)},"note":"{some(10)}"}},'
            f'"meta":{{"correlation_id":"{uuid()}","actor":"{some(1)}"}}}}\n'
        )


class Line(msgspec.Struct):
    """What the baseline needs of a line."""

    stream: str
    type: str
    id: str
    time: str
    data: msgspec.Raw
    meta: msgspec.Raw


def prepared(source: Path) -> tuple[list[tuple[object, ...]], dict[str, int], dict[str, int]]:
    """All rows as the store would insert them, and the numbers of streams and types."""
    decode = msgspec.json.Decoder(Line).decode
    streams: dict[str, int] = {}
    types: dict[str, int] = {}
    versions: dict[int, int] = {}
    rows: list[tuple[object, ...]] = []
    with source.open("rb") as file:
        for position, text in enumerate(file, 1):
            line = decode(text)
            stream = streams.setdefault(line.stream, len(streams) + 1)
            versions[stream] = version = versions.get(stream, 0) + 1
            type_ = types.setdefault(line.type, len(types) + 1)
            data, meta = str(line.data, "utf-8"), str(line.meta, "utf-8")
            recorded, hash_ = "2026-11-24T09:00:00.000000Z", hashlib.sha256(text).digest()
            rows.append(
                (position, stream, version, line.id, type_, 1, line.time, recorded, data, meta, hash_[:16], hash_)
            )
    return rows, streams, types


def bare_append(folder: Path, source: Path) -> float:
    """Seconds of bare executemany into the same tables, with the same settings and transactions."""
    rows, streams, types = prepared(source)
    path = fresh(folder / "bare.db")
    connection = apsw.Connection(str(path))
    connection.execute(SETTINGS).fetchall()
    connection.execute(f"pragma cache_size=-{BULK_CACHE_KIB}; pragma wal_autocheckpoint={BULK_CHECKPOINT_PAGES}")
    connection.executemany("insert into streams values (?, ?)", [(n, name) for name, n in streams.items()])
    connection.executemany("insert into types values (?, ?)", [(n, name) for name, n in types.items()])
    start = time.perf_counter()
    for low in range(0, len(rows), BATCH):
        connection.execute("begin immediate")
        connection.executemany(INSERT, rows[low : low + BATCH])
        connection.execute("commit")
    connection.close()
    return time.perf_counter() - start


def bare_select(path: Path) -> float:
    """Seconds of a bare SELECT of what a line says, iterated."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    start = time.perf_counter()
    for _ in connection.execute(SELECT):
        pass
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def fresh(path: Path) -> Path:
    """An empty log."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
    subprocess.run([*ESCTL, "init", "-q", "--log", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def timed(command: list[str], source: Path | None = None, sink: Path | None = None) -> tuple[float, float]:
    """Seconds and peak MiB of a process that reads a pipe from `source` and writes to `sink`."""
    reader = subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) if source else None
    with (sink or Path(os.devnull)).open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=reader.stdout if reader else None, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if reader and reader.stdout:
        reader.stdout.close()
        reader.wait()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)


def elsewhere(baseline: str, *paths: Path) -> float:
    """Seconds of a baseline in a process of its own, so that this one stays small (peaks include the parent)."""
    command = [sys.executable, __file__, "--baseline", baseline, *map(str, paths)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def told(name: str, ratios: list[float], detail: str) -> None:
    """Print one figure."""
    middle = statistics.median(ratios)
    print(f"{name:34} {middle:6.2f}   ({min(ratios):.2f} to {max(ratios):.2f})   {detail}", flush=True)


def append(folder: Path, source: Path, events: int, rounds: int) -> None:
    """Bulk append from a pipe against bare executemany."""
    ratios, peaks, rates = [], [], []
    for _ in range(rounds):
        path = fresh(folder / "log.db")
        seconds, peak = timed([*ESCTL, "append", "--log", str(path)], source)
        ratios.append(elsewhere("bare", folder, source) / seconds)
        peaks.append(peak)
        rates.append(events / seconds)
    size = (folder / "log.db").stat().st_size / events
    told(
        "append, rate / bare executemany",
        ratios,
        f"{max(rates):,.0f} events/s, {max(peaks):.0f} MiB, {size:.0f} B/event",
    )


def replay(folder: Path, events: int, rounds: int) -> None:
    """Full replay to NDJSON against a bare SELECT."""
    path = folder / "log.db"
    ratios, peaks, rates = [], [], []
    for _ in range(rounds):
        seconds, peak = timed([*ESCTL, "replay", "--log", str(path)])
        ratios.append(elsewhere("select", path) / seconds)
        peaks.append(peak)
        rates.append(events / seconds)
    told("replay, rate / bare SELECT", ratios, f"{max(rates):,.0f} events/s, {max(peaks):.0f} MiB")


def cold(folder: Path) -> None:
    """Cold commands against a bare interpreter, in turn."""
    path = fresh(folder / "cold.db")
    for i in range(10):
        subprocess.run(
            [*ESCTL, "append", "--log", str(path), "ten", "Counted", f'{{"n":{i}}}'],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    commands: dict[str, list[str]] = {
        "cold append / python -c pass": ["append", "--log", str(path), "order-1", "OrderPlaced", '{"total":99.90}'],
        "cold replay of 10 / python -c pass": ["replay", "--log", str(path), "ten"],
        "cold head / python -c pass": ["head", "--log", str(path)],
        "esctl --help / python -c pass": ["--help"],
    }
    for name, arguments in commands.items():
        ratios = []
        for _ in range(21):
            bare, _ = timed([sys.executable, "-c", "pass"])
            seconds, _ = timed([*ESCTL, *arguments])
            ratios.append(seconds / bare)
        told(name, ratios, f"{seconds * 1000:.0f} ms")


def main() -> None:
    """Run what is asked for."""
    if sys.argv[1:2] == ["--baseline"]:
        paths = [Path(name) for name in sys.argv[3:]]
        print(bare_append(paths[0], paths[1]) if sys.argv[2] == "bare" else bare_select(paths[0]))
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--streams", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="append,replay,cold")
    options.add_argument("--folder", type=Path, help="where the files go; kept [a temporary folder]")
    given = options.parse_args()
    wanted: set[str] = set(given.only.split(","))
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        source = folder / "events.ndjson"
        with source.open("w") as file:
            file.writelines(lines(given.events, given.streams))
        print(
            f"{given.events:,} events of {source.stat().st_size / given.events:.0f} bytes in {given.streams:,} streams"
        )
        steps: dict[str, Callable[[], None]] = {
            "append": lambda: append(folder, source, given.events, given.rounds),
            "replay": lambda: replay(folder, given.events, given.rounds),
            "cold": lambda: cold(folder),
        }
        for name, step in steps.items():
            if name in wanted:
                step()


if __name__ == "__main__":
    main()
