"""`esctl compact`: free space goes back, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from esctl.log import EventLog
from esctl.upkeep import erasure, traces
from tests.conftest import Esctl
from tests.logs import event, hold, put, run


def with_free_pages(esctl: Esctl) -> None:
    for _ in range(3):
        esctl("snapshot", "take", "s")
        esctl("append", "s", "T", json.dumps({"y": "y" * 30_000}))
    esctl("snapshot", "prune", "--keep", "0")


def test_compacting_gives_back_what_is_free_and_loses_nothing(on_200: Esctl, tmp_path: Path) -> None:
    before = on_200("replay").stdout
    with_free_pages(on_200)
    done = json.loads(on_200("compact").stdout)
    assert done["freed"] == done["before"] - done["after"] > 0
    assert (tmp_path / "esctl.db").stat().st_size == done["after"]
    assert on_200("replay", "--until", "#200").stdout == before
    assert on_200("verify").returncode == 0
    assert json.loads(on_200("compact").stdout)["freed"] == 0


def test_a_reader_in_the_middle_of_something_is_waited_for_by_nobody(on_200: Esctl, tmp_path: Path) -> None:
    with_free_pages(on_200)
    reader = sqlite3.connect(tmp_path / "esctl.db", isolation_level=None)
    reader.execute("begin")
    reader.execute("select count(*) from events").fetchone()
    done = on_200("compact", "--timeout", "0.2")
    reader.close()
    assert done.returncode == 8
    assert "the file did not shrink yet" in done.stderr
    assert on_200("compact").returncode == 0


def test_it_ends_an_erasure_that_was_stopped(on_200: Esctl, tmp_path: Path) -> None:
    path = tmp_path / "esctl.db"
    with EventLog(path, write=True) as log:
        hold(
            log,
            "[event.P]\nerasable = true\n[projection.names]\ntable = 'create table names(k text primary key, name)'\n"
            "[projection.names.on]\nP = \"insert into names values (new.stream, new.data ->> 'name')\"\n",
        )
        put(log, event("p-1", "P", {"name": "somebody-secret"}), event("p-2", "P", {"name": "somebody-else"}))
        run(log).end()
        list(erasure.erase(log, [log.head().position - 1], "stopped"))
    assert b"somebody-secret" in path.read_bytes()
    assert on_200("compact").returncode == 0
    raw = path.read_bytes()
    assert (b"somebody-secret" in raw, b"somebody-else" in raw) == (False, True)
    with EventLog(path, write=True) as log:
        assert not traces.unfinished(log)
    assert on_200("projection", "verify").returncode == 0
