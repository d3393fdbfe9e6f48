"""What figures are ratios to: the bare work, each in a process of its own that prints its seconds.

    python -m tests.benchmarks.baselines NAME ARGUMENT…

Nothing here names a column of the log's tables: rows are copied whole out of a log that esctl filled into the tables of
one that esctl made, and read through the view `log`. So a baseline follows every change of the tables.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import apsw

from esctl.store.opening import BULK_CACHE_KIB, BULK_CHECKPOINT_PAGES, SETTINGS
from tests.benchmarks.projections import HANDLERS, TABLE

TUNED = f"{SETTINGS} pragma cache_size = -{BULK_CACHE_KIB}; pragma wal_autocheckpoint = {BULK_CHECKPOINT_PAGES};"
ROWS_PER_TRANSACTION = 20_000  # of the loop in Python
TABLES = "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by rowid"


def insert(full: str, empty: str, rows_per_transaction: str) -> float:
    """Copy the rows of a log into the tables of an empty one, by executemany; reading them is not counted."""
    reader, writer = (apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE) for path in (full, empty))
    writer.execute(TUNED).fetchall()
    seconds, inserted = 0.0, 0
    for (table,) in writer.execute(TABLES).fetchall():
        if writer.execute(f'select exists (select * from "{table}")').get:
            continue  # what every log has from the start
        rows = iter(reader.execute(f'select * from "{table}"'))
        while batch := list(islice(rows, int(rows_per_transaction))):
            statement = f'insert into "{table}" values ({", ".join("?" * len(batch[0]))})'
            start = time.perf_counter()
            writer.execute("begin immediate")
            writer.executemany(statement, batch)
            writer.execute("commit")
            seconds += time.perf_counter() - start
            inserted += len(batch)
    events = reader.execute("select count(*) from log").get
    assert 0 < events <= inserted
    assert events == writer.execute("select count(*) from log").get
    start = time.perf_counter()
    writer.close()  # it takes over what is in the WAL
    return seconds + time.perf_counter() - start


def select(log: str) -> float:
    """Read all events in order."""
    connection = apsw.Connection(log, flags=apsw.SQLITE_OPEN_READWRITE)
    start = time.perf_counter()
    for _ in connection.execute("select * from log order by position"):
        pass
    return time.perf_counter() - start


def upsert(log: str) -> float:
    """Do what the benchmark's projection does in a loop with the standard modules: a row, its JSON, one UPSERT."""
    reader = sqlite3.connect(f"{Path(log).as_uri()}?mode=ro", uri=True)
    target = Path(f"{log}.loop")
    target.unlink(missing_ok=True)
    writer = sqlite3.connect(target, isolation_level=None)
    writer.executescript(f"pragma journal_mode = wal; {TUNED} {TABLE}")
    start = time.perf_counter()
    writer.execute("begin immediate")
    for position, type_, data in reader.execute("select position, type, data from log order by position"):
        if type_ in HANDLERS:
            payload = json.loads(data)
            writer.execute(HANDLERS[type_].format("?", "?"), (payload["customer"], payload["amount"]))
        if position % ROWS_PER_TRANSACTION == 0:
            writer.execute("commit")
            writer.execute("begin immediate")
    writer.execute("commit")
    seconds = time.perf_counter() - start
    assert writer.execute("select count(*) from customers").fetchone()[0]
    writer.close()
    target.unlink()
    return seconds


def zstd(source: str, target: str, level: str, threads: str) -> float:
    """Compress a file."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=int(level), threads=int(threads))
    with Path(source).open("rb") as lines, Path(target).open("wb") as file:
        start = time.perf_counter()
        compressor.copy_stream(lines, file, size=Path(source).stat().st_size)
        return time.perf_counter() - start


def popen(count: str) -> float:
    """Start /bin/true so often with subprocess.Popen, with a pipe for its stderr; only this process's CPU time."""
    start = time.process_time()
    for _ in range(int(count)):
        with subprocess.Popen(
            ["/bin/true"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ), process_group=0
        ) as process:
            assert process.stderr is not None
            process.stderr.read()
    return time.process_time() - start


def committed(log: str) -> float:
    """Append one event; the nanoseconds since 1970 when it is committed."""
    from esctl import open_log

    with open_log(log, write=True) as opened:
        opened.append("order-1", "Committed")
        return time.time_ns()


BASELINES: dict[str, Callable[..., float]] = {
    "insert": insert,
    "select": select,
    "upsert": upsert,
    "zstd": zstd,
    "popen": popen,
    "committed": committed,
}

if __name__ == "__main__":
    print(BASELINES[sys.argv[1]](*sys.argv[2:]))
