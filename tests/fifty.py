"""What tests of archives of fifty events look at: what the log says, its tables, its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from esctl.archive import listing
from esctl.events.query import Query
from esctl.log import EventLog

EVENTS = 50


def hashed(path: Path) -> bytes:
    """All that the log says, read by somebody who comes new."""
    with EventLog(path) as log:
        return b"".join(log.lines(Query(system=True), "hash"))


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What the tables hold, asked of another program's SQLite."""
    code = (
        "import sqlite3,sys,json;c=sqlite3.connect(f'file:{sys.argv[1]}?mode=ro',uri=True);"
        "print(json.dumps(c.execute(sys.argv[2]).fetchall()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), sql], capture_output=True, check=True)
    return [tuple(row) for row in json.loads(done.stdout)]


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def names(log: EventLog) -> list[str]:
    return [segment.name for segment in listing.archived(log)]
