"""New logs appear whole or not at all; older ones are brought up to date after a copy."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from esctl.errors import EsctlError, NotFoundError, StorageVersionError, UnavailableError, UsageError, VerificationError
from esctl.events.chain import genesis
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import migrations
from esctl.store.format import APPLICATION_ID, STORAGE_VERSION
from esctl.store.store import Store
from esctl.upkeep.verify import verify
from tests.conftest import writer_of
from tests.logs import alter
from tests.store.paths import a_dangling_link, a_file, a_folder, empty_file, names, text_file
from tests.store.unprivileged import unprivileged

DATA = Path(__file__).parent.parent / "data"


def ask(path: Path, *queries: str) -> list[Any]:
    """What the standard library's SQLite says of a file that nobody has open; changes are kept."""
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = [connection.execute(query).fetchone() for query in queries]
    return [row and row[0] for row in rows]


# Creating


def test_a_new_log_is_empty_and_whole(tmp_path: Path) -> None:
    log_id = migrations.create(tmp_path / "log.db")
    with EventLog(tmp_path / "log.db") as log:
        assert log.log_id == log_id
        assert log.head()[:2] == (0, genesis(log_id))
        assert list(log.read(Query(system=True))) == []
        assert verify(log, full=True).ok


def test_a_new_log_is_one_file(tmp_path: Path) -> None:
    migrations.create(tmp_path / "log.db")
    assert names(tmp_path) == ["log.db"]


def test_every_log_has_an_id_of_its_own(tmp_path: Path) -> None:
    made = [migrations.create(tmp_path / f"{n}.db") for n in range(3)]
    assert len({str(uuid.UUID(log_id)) for log_id in made}) == 3


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("page_size", migrations.PAGE_SIZE), ("auto_vacuum", 2), ("encoding", "UTF-8"),
     ("application_id", APPLICATION_ID), ("user_version", STORAGE_VERSION), ("integrity_check", "ok")],
)  # fmt: skip
def test_a_new_logs_file_is_set_up(log_path: Path, pragma: str, value: object) -> None:
    assert ask(log_path, f"pragma {pragma}") == [value]


@pytest.mark.parametrize(
    "table",
    [
        "events",
        "streams",
        "types",
        "head",
        "snapshots",
        "segments",
        "erased",
        "projections",
        "reactions",
        "dead_letters",
    ],
)
def test_every_table_is_strict(log_path: Path, table: str) -> None:
    assert ask(log_path, f"select strict from pragma_table_list where name = '{table}'") == [1]


def test_a_new_log_needs_no_migration(log_path: Path) -> None:
    assert migrations.pending(log_path) == []


def a_log(path: Path) -> None:
    migrations.create(path)


def identity(path: Path) -> tuple[int, ...]:
    """Which file it is and when it was changed; not when it was read, which reading it here changes."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


@pytest.mark.parametrize("make", [a_file, a_log, a_folder, a_dangling_link])
def test_creating_never_overwrites(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "log.db"
    make(path)
    before = identity(path), path.read_bytes() if path.is_file() else b""
    with pytest.raises(UsageError, match="exists already"):
        migrations.create(path)
    assert names(tmp_path) == ["log.db"]
    assert (identity(path), path.read_bytes() if path.is_file() else b"") == before


def test_no_file_gets_the_name_of_a_log_in_memory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file can be a log named :memory:"):
        migrations.create(tmp_path / ":memory:")
    assert names(tmp_path) == []


def test_creating_where_there_is_no_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot write"):
        migrations.create(tmp_path / "none" / "log.db")
    assert names(tmp_path) == []


IMPORTS = """
from esctl.errors import UnavailableError
from esctl.store import migrations
"""
CREATE = """
try:
    migrations.create(path)
except UnavailableError as error:
    print("unavailable:", error.why)
"""


def test_creating_in_a_folder_that_one_may_not_write_is_unavailable() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        try:
            assert unprivileged(folder / "log.db", IMPORTS, CREATE) == "unavailable: Permission denied\n"
        finally:
            folder.chmod(0o700)
        assert names(folder) == []


LOGS = 40
RACE = """
import json, sys, time
from pathlib import Path
from esctl.errors import UsageError
from esctl.store import migrations

folder, count, start = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
made = []
for n in range(count):
    while time.time() < start + n * 0.02:
        pass
    try:
        made.append(migrations.create(folder / f"{n}.db"))
    except UsageError:
        made.append(None)
print(json.dumps(made))
"""


def test_of_two_that_create_a_log_at_once_one_wins_and_nobody_sees_half_of_it(tmp_path: Path) -> None:
    start = time.time() + 1
    command = [sys.executable, "-c", RACE, str(tmp_path), str(LOGS), str(start)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    seen = []
    for n in range(LOGS):
        while not (tmp_path / f"{n}.db").exists():
            assert time.time() < start + 60
        with closing(Store(tmp_path / f"{n}.db")) as store:
            seen.append(store.log_id)
    results = [json.loads(racer.communicate()[0]) for racer in racers]
    for log_id, one, other in zip(seen, *results, strict=True):
        assert {one, other} == {None, log_id}
    assert names(tmp_path) == sorted(f"{n}.db" for n in range(LOGS))


# Migrating


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A log of storage version 0: the mark of a log, and no tables yet."""
    path = tmp_path / "log.db"
    ask(path, "pragma journal_mode = wal", f"pragma application_id = {APPLICATION_ID}")
    path.chmod(0o600)
    return path


def test_a_log_with_two_names_is_not_migrated(unfinished: Path) -> None:
    unfinished.with_name("link.db").hardlink_to(unfinished)
    with pytest.raises(UnavailableError, match="has 2 names"):
        migrations.migrate(unfinished)
    assert names(unfinished.parent) == ["link.db", "log.db"]


def test_a_log_without_tables_needs_every_migration(unfinished: Path) -> None:
    steps = ["m001_events", "m002_model", "m003_archive", "m004_projections", "m005_summaries_and_reactions"]
    steps.append("m006_links")
    assert migrations.pending(unfinished) == steps


def test_asking_what_is_pending_changes_nothing(unfinished: Path) -> None:
    before = unfinished.read_bytes()
    migrations.pending(unfinished)
    assert unfinished.read_bytes() == before
    assert names(unfinished.parent) == ["log.db"]


def test_migrating_stamps_the_storage_version(unfinished: Path) -> None:
    migrations.migrate(unfinished)
    assert ask(unfinished, "pragma user_version", "pragma integrity_check") == [STORAGE_VERSION, "ok"]
    assert migrations.pending(unfinished) == []


def test_a_migrated_log_can_be_used_and_is_whole(unfinished: Path) -> None:
    migrations.migrate(unfinished)
    with EventLog(unfinished, write=True) as log:
        assert uuid.UUID(log.log_id)
        with log.transaction():
            writer_of(log).append([NewEvent("order-1", "OrderPlaced", "id-1", None, 1, "{}", "{}", None)])
        assert verify(log, full=True).ok


def test_migrating_keeps_a_copy_of_what_was(unfinished: Path) -> None:
    copy = migrations.migrate(unfinished)
    assert copy == unfinished.with_name("log.db.v0.bak")
    assert names(unfinished.parent) == ["log.db", "log.db.v0.bak"]
    assert copy.stat().st_mode & 0o777 == 0o600
    asked = ask(copy, "pragma application_id", "pragma user_version", "select count(*) from sqlite_schema")
    assert asked == [APPLICATION_ID, 0, 0]


def test_another_file_that_has_the_name_of_the_copy_is_kept_and_the_copy_gets_the_next(unfinished: Path) -> None:
    for name in ("log.db.v0.bak", "log.db.v0.1.bak"):
        unfinished.with_name(name).write_text("kept")
    assert migrations.migrate(unfinished) == unfinished.with_name("log.db.v0.2.bak")
    assert {unfinished.with_name(name).read_text() for name in ("log.db.v0.bak", "log.db.v0.1.bak")} == {"kept"}
    assert migrations.pending(unfinished) == []


def test_a_link_to_the_log_is_no_copy_of_it(unfinished: Path) -> None:
    os.symlink(unfinished, unfinished.with_name("log.db.v0.bak"))
    assert migrations.migrate(unfinished) == unfinished.with_name("log.db.v0.1.bak")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("by", ["cp", "run"])
def test_an_equal_copy_that_a_killed_run_left_is_taken(tmp_path: Path, version: int, by: str) -> None:
    log = tmp_path / "log.db"
    shutil.copy(DATA / f"storage-{version}.db", log)
    if by == "cp":
        copy = Path(shutil.copy(log, f"{log}.v{version}.bak"))
    else:
        copy = migrations.migrate(log)
        shutil.copy(DATA / f"storage-{version}.db", log)  # as if the run had been killed after its copy
    inode = copy.stat().st_ino
    assert migrations.migrate(log) == copy
    assert copy.stat().st_ino == inode
    assert names(tmp_path) == ["log.db", copy.name]
    assert migrations.pending(log) == []


def test_an_equal_copy_that_was_there_stays_if_migrating_fails(tmp_path: Path) -> None:
    log = Path(shutil.copy(DATA / "storage-3.db", tmp_path / "log.db"))
    copy = Path(shutil.copy(log, f"{log}.v3.bak"))
    alter(log, "alter table _sqlite_migrations rename column applied_at to mine")
    shutil.copy(log, copy)
    with pytest.raises(VerificationError) as caught:
        migrations.migrate(log)
    assert "applied_at" in caught.value.why
    assert copy.exists()


# A stranger's log


def hot_journal(log: Path, names: bytes) -> None:
    """Write a journal beside a log that SQLite rolls back, and that names a super-journal."""
    pages, page_size = log.stat().st_size // 4096, 4096
    nonce, first = 1, log.read_bytes()[:page_size]
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + struct.pack(">IIIII", 1, nonce, pages, 512, page_size)
    checksum = (nonce + sum(first[at] for at in range(page_size - 200, 0, -200))) & 0xFFFFFFFF
    page = struct.pack(">I", 1) + first + struct.pack(">I", checksum)
    total = sum(b if b < 128 else b - 256 for b in names) & 0xFFFFFFFF
    end = struct.pack(">I", (2**30) // page_size + 1) + names + struct.pack(">II", len(names), total) + header[:8]
    Path(f"{log}-journal").write_bytes(header.ljust(512, b"\0") + page + end)


@pytest.mark.parametrize("act", [migrations.pending, migrations.migrate])
@pytest.mark.parametrize("precious", ["text\n", ""])
def test_a_journal_beside_a_log_removes_no_other_file(
    tmp_path: Path, act: Callable[[Path], object], precious: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text(precious)
    log = tmp_path / "log.db"
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("pragma page_size = 4096")
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute("create table mine (x)")
    hot_journal(log, os.fsencode(victim))
    act(log)
    assert not Path(f"{log}-journal").exists()  # it was rolled back
    assert victim.read_text() == precious


@pytest.mark.parametrize("act", [migrations.pending, migrations.migrate])
@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("create trigger hush before insert on head begin select raise(ignore); end", "trigger hush"),
        ("create trigger hush after update on head begin delete from events; end", "trigger hush"),
        ("create trigger hush after insert on _sqlite_migrations begin delete from events; end", "trigger hush"),
        ("drop table types; create view types as select 1 as type_id, 'a' as name", "view types"),
        ("create table projections (mine)", "table projections"),
        (
            "alter table _sqlite_migrations rename to x; create view _sqlite_migrations as select 1",
            "not a table",
        ),
    ],
)
def test_a_log_with_tables_or_triggers_that_are_none_of_a_logs_is_not_migrated(
    tmp_path: Path, act: Callable[[Path], object], sql: str, name: str
) -> None:
    log = Path(shutil.copy(DATA / "storage-3.db", tmp_path / "log.db"))
    alter(log, sql)
    before = log.read_bytes()
    with pytest.raises(VerificationError) as caught:
        act(log)
    assert name in caught.value.why
    assert (log.read_bytes(), names(tmp_path)) == (before, ["log.db"])


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_migrated_log_has_the_schema_and_the_digests_of_every_log(tmp_path: Path, version: int) -> None:
    log = Path(shutil.copy(DATA / f"storage-{version}.db", tmp_path / "log.db"))
    migrations.migrate(log)
    assert ask(log, "select count(*) from _sqlite_migrations") == [STORAGE_VERSION]
    with EventLog(log) as opened:
        assert verify(opened, full=True).ok


def test_migrating_a_log_that_is_up_to_date_keeps_its_events(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append([NewEvent("order-1", "OrderPlaced", "id-1", None, 1, "{}", "{}", None)])
    with EventLog(log_path) as log:
        before = list(log.read(Query())), log.head()
    copy = migrations.migrate(log_path)
    for path in (log_path, copy):
        with EventLog(path) as log:
            assert (list(log.read(Query())), log.head()) == before


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


def refused_while_held(path: Path) -> None:
    """Try to migrate a log that another process has locked; it is free again afterwards."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError, match="cannot migrate"):
            migrations.migrate(path, timeout=0.2)
        holder.communicate()


def test_a_log_that_somebody_writes_is_left_as_it_was(unfinished: Path) -> None:
    before = unfinished.read_bytes()
    refused_while_held(unfinished)
    assert unfinished.read_bytes() == before


def test_a_log_that_somebody_wrote_can_be_migrated_once_it_is_free(unfinished: Path) -> None:
    refused_while_held(unfinished)
    migrations.migrate(unfinished)
    assert migrations.pending(unfinished) == []


def other_database(path: Path) -> None:
    ask(path, "create table t (x)")


def newer(path: Path) -> None:
    migrations.create(path)
    ask(path, f"pragma user_version = {STORAGE_VERSION + 1}")


@pytest.mark.parametrize("act", [migrations.pending, migrations.migrate])
@pytest.mark.parametrize("make", [text_file, empty_file, other_database, newer])
def test_what_is_not_a_log_is_not_migrated(
    tmp_path: Path, make: Callable[[Path], None], act: Callable[[Path], object]
) -> None:
    make(tmp_path / "log.db")
    before = (tmp_path / "log.db").read_bytes()
    with pytest.raises(StorageVersionError, match=r"is not a log|is newer than"):
        act(tmp_path / "log.db")
    assert (tmp_path / "log.db").read_bytes() == before
    assert names(tmp_path) == ["log.db"]


@pytest.mark.parametrize("act", [migrations.pending, migrations.migrate])
@pytest.mark.parametrize(
    ("make", "error"),
    [(lambda _: None, NotFoundError), (a_dangling_link, NotFoundError), (a_folder, (UsageError, StorageVersionError))],
    ids=["nothing", "dangling", "folder"],
)
def test_where_there_is_no_file_there_is_nothing_to_migrate(
    tmp_path: Path,
    make: Callable[[Path], None],
    error: type[EsctlError],
    act: Callable[[Path], object],
) -> None:
    make(tmp_path / "log.db")
    before = names(tmp_path)
    with pytest.raises(error):
        act(tmp_path / "log.db")
    assert names(tmp_path) == before
