"""The storage schema and its changes, for `init` and `migrate` only.

sqlite-utils needs the interpreter's `sqlite3`. That only writes databases in memory and new files of ours, which this
process has not open through apsw: two SQLite libraries in one process drop each other's POSIX locks. A log that is
there may be a stranger's, and `sqlite3` may be old enough to delete any file that a journal beside it names. So such a
log is migrated by apsw, with the statements that sqlite-utils ran on an empty log in memory.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from itertools import count, islice, takewhile
from pathlib import Path

import apsw
from sqlite_utils import Database, Migrations  # noqa: TID253 - this is its home

from esctl.errors import UnavailableError, UsageError, VerificationError
from esctl.events.chain import created_digest, genesis
from esctl.events.event import now
from esctl.store import links, reactions, summaries
from esctl.store.copying import copy_to, journal_of
from esctl.store.drafts import complete
from esctl.store.errors import BUSY, Translated
from esctl.store.files import BYTES_PER_READ, draft_of
from esctl.store.format import APPLICATION_ID, MEMORY, NEXT_BLOCK, STORAGE_VERSION
from esctl.store.opening import SETTINGS, OpenFile, connect, run, version_of
from esctl.store.schema import ALL, Rows, digests, read, refuse_differences, refuse_strangers, rows_of
from esctl.store.windows import Reading

# Measured on 1,000,000 events of 380 bytes with random ids, rates against 4096: appending 1.2 times as fast at 8192
# and 1.4 at 16384, replay 1.05 and 1.1; but a small log, a WAL and a cold append grow with the page.
PAGE_SIZE = 8192
HEADER_BYTES = 100  # of an SQLite file; 18-19: WAL mode; 24-27, 40-43 and 92-99 count changes

migrations = Migrations("esctl")


@migrations()
def m001_events(db: Database) -> None:
    """The log: streams and types as numbers, everything else as readable text; one row describes the head."""
    for statement in (
        # The head, and what readers need to choose their statements: no payload has more
        # than `largest` bytes, and unless `quoting` is 1 no name contains a quote or a backslash.
        """create table head (
             one integer primary key check (one = 1),
             log_id text not null, created text not null,
             position integer not null, hash blob not null, recorded text not null,
             largest integer not null, quoting integer not null
           ) strict""",
        "create table streams (stream_id integer primary key, name text not null unique) strict",
        "create table types (type_id integer primary key, name text not null unique) strict",
        # data, meta and salt are null if the payload was erased.
        """create table events (
             position integer primary key,
             stream_id integer not null references streams, version integer not null,
             id text not null unique, type_id integer not null references types, schema integer not null,
             time text not null, recorded text not null,
             data text, meta text, salt blob, hash blob not null,
             unique (stream_id, version)
           ) strict""",
        """create view log as
             select e.position, s.name as stream, e.version, e.id, t.name as type, e.schema, e.time, e.recorded,
                    e.data, e.meta
             from events e join streams s on s.stream_id = e.stream_id join types t on t.type_id = e.type_id""",
    ):
        db.execute(statement)


@migrations()
def m002_model(db: Database) -> None:
    """The position of the log's model, and saved states."""
    for statement in (
        # The position of the newest event with a model; 0 if there is none.
        "alter table head add column model integer not null default 0",
        # `latest` is the greatest time of the folded events, `anchor` the hash of the last of them;
        # `fold` and `upcasts` are fingerprints of their definitions, `hash` covers all other columns.
        """create table snapshots (
             stream_id integer not null references streams, aggregate text not null, version integer not null,
             position integer not null, time text not null, latest text not null,
             fold text not null, upcasts text not null, anchor blob not null, state text not null, hash blob not null,
             taken text not null,
             primary key (stream_id, aggregate, version)
           ) strict""",
    ):
        db.execute(statement)


@migrations()
def m003_archive(db: Database) -> None:
    """Archived events, and erased payloads."""
    for statement in (
        # How often the archive has changed, and the payload of the newest model where its event is archived, which
        # every append needs.
        "alter table head add column archived integer not null default 0",
        "alter table head add column definitions text",
        # The chain does not cover the log's creation time; this does: SHA-256 of the log's id, a line feed, `created`.
        "alter table head add column created_digest blob not null default x''",
        # The version of the stream's newest event that was ever archived: a lower bound.
        "alter table streams add column archived integer not null default 0",
        # A segment: positions first to last, the chain's hash before and after them; bytes and SHA-256 of the file that
        # it is, or would be. It is in this file (null) or in a folder; `shared`: another log uses the file, too.
        """create table segments (
             first integer primary key, last integer not null, before blob not null, after blob not null,
             bytes integer not null, raw_bytes integer not null, sha256 blob not null,
             first_recorded text not null, last_recorded text not null, location text,
             shared integer not null
           ) strict""",
        # A frame of lines; `own` counts events of the log's own streams. In this file: the frame and its salts.
        """create table frames (
             first integer primary key, last integer not null, segment integer not null, number integer not null,
             before blob not null, offset integer not null, bytes integer not null, raw_bytes integer not null,
             sha256 blob not null, own integer not null, packed blob, salts blob
           ) strict""",
        # A stream's events in a segment: its first event there (the time in microseconds since year 1), and how many
        # versions, positions and microseconds on the last one is; bytes; the numbers of the frames that have them,
        # where there are more than those two. Mostly small numbers, which SQLite keeps in fewer bytes.
        """create table archived_streams (
             segment integer not null, stream_id integer not null,
             first_version integer not null, first_position integer not null, first_time integer not null,
             versions_on integer not null, positions_on integer not null, times_on integer not null,
             bytes integer not null, frames text,
             primary key (segment, stream_id)
           ) strict, without rowid""",
        """create table archived_types (
             segment integer not null, own integer not null, type_id integer not null, schema integer not null,
             events integer not null, first_position integer not null, last_position integer not null,
             first_time text not null, last_time text not null, least_time text not null, greatest_time text not null,
             first_recorded text not null, last_recorded text not null, bytes integer not null,
             primary key (segment, own, type_id, schema)
           ) strict, without rowid""",
        # The first 6 bytes of the SHA-256 of each archived event's id, as a number.
        """create table archived_ids (
             hash integer not null, position integer not null, primary key (hash, position)
           ) strict, without rowid""",
        # Erased payloads: the digest that replaces each in the chain, and the event that says who and why.
        """create table erased (
             position integer primary key, digest blob not null, event integer not null
           ) strict""",
        # Outside files that are no longer needed, and still have to be removed.
        "create table leftovers (path text primary key) strict, without rowid",
    ):
        db.execute(statement)


@migrations()
def m004_projections(db: Database) -> None:
    """Read models: their versions, positions and failures."""
    db.execute(
        # `compiled` (JSON) is all that a version needs to continue, whatever the present model; `position` is
        # the last event in its rows; `failed` the event on which `handler` failed, and `error` the reason.
        """create table projections (
             version integer primary key, name text not null,
             state text not null check (state in ('live', 'building', 'previous', 'dropped')),
             inline integer not null, model integer not null, held integer not null, fingerprint text not null,
             reducer text, position integer not null, made text not null,
             failed integer, handler text, error text, failed_at text,
             compiled text not null,
             unique (name, state)
           ) strict"""
    )


SUMMARIZED = 5  # the storage version from which on a log has summaries
LINKED = 6  # and an index of what links events


@migrations()
def m005_summaries_and_reactions(db: Database) -> None:
    """Summaries of blocks and types; reactions and their dead letters."""
    for statement in summaries.TABLES + reactions.TABLES:
        db.execute(statement)


@migrations()
def m006_links(db: Database) -> None:
    """An index of causes, correlations and original ids."""
    for statement in links.TABLES:
        db.execute(statement)


def create(path: Path, fill: Callable[[Path], bytes] | None = None) -> str:
    """Create an empty log and return its id. The file appears complete at once, and nothing is overwritten.

    `fill` writes to it before it has its name, and returns the hash of its head.
    Raises UsageError if the name is taken or means a log in memory, UnavailableError if the folder cannot be written.
    """
    if path.name == MEMORY:
        raise UsageError(f"no file can be a log named {MEMORY}", why="it names a log in memory, which only Python has")
    with draft_of(path) as draft:
        log_id = shape(draft, path)
        complete(draft, path, fill(draft) if fill is not None else genesis(log_id))
    return log_id


def shape(path: Path, target: Path) -> str:
    """Turn an empty file, which shall get the name `target`, into an empty log; return its id.

    Raises UnavailableError if the file cannot be written.
    """
    log_id = str(uuid.uuid4())
    try:
        _build(path, log_id, wal=journal_of(path) == "wal")
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"cannot make {target}", why=str(error)) from error
    return log_id


def _build(path: Path, log_id: str, *, wal: bool) -> None:
    """Write the schema and the first row to an empty file; it is then closed and durable."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _prepare(connection)
        connection.execute(f"pragma journal_mode = {'wal' if wal else 'truncate'}")
        connection.execute(f"pragma synchronous = {'full' if wal else 'extra'}")
        connection.execute("pragma locking_mode = exclusive")
        connection.execute("begin immediate")  # sqlite-utils begins deferred
        _apply(connection, log_id)
        connection.execute("commit")
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    """Set what can only be set before the first table."""
    if sqlite3.sqlite_version_info < (3, 37):
        raise UnavailableError(
            "this Python's sqlite3 cannot make a log",
            why=f"strict tables need SQLite 3.37, and it has {sqlite3.sqlite_version};"
            " use a Python with a newer one for this command",
        )
    connection.execute(f"pragma page_size = {PAGE_SIZE}")
    connection.execute("pragma auto_vacuum = incremental")


def image() -> bytes:
    """The bytes of an empty log, made in memory."""
    with closing(sqlite3.connect(MEMORY, isolation_level=None)) as connection:
        _prepare(connection)
        connection.execute("begin immediate")
        _apply(connection, str(uuid.uuid4()))
        connection.execute("commit")
        return connection.serialize()


def _apply(connection: sqlite3.Connection, log_id: str) -> None:
    """Apply missing migrations in the caller's transaction, and set the storage version; `log_id` is for a new log."""
    migrations.apply(Database(connection))
    moment = now()
    connection.execute(
        "insert into head (one, log_id, created, position, hash, recorded, largest, quoting, created_digest)"
        " select 1, ?, ?, 0, ?, ?, 0, 0, ? where not exists (select 1 from head)",
        (log_id, moment, genesis(log_id), moment, created_digest(log_id, moment)),
    )
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(f"pragma user_version = {STORAGE_VERSION}")


@cache
def schema(version: int = STORAGE_VERSION) -> Rows:
    """The schema of every log of a storage version."""
    with closing(sqlite3.connect(MEMORY)) as connection:
        _upgrade(connection, version)
        return read(connection.execute(ALL))


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Apply the migrations up to a storage version to an empty database."""
    steps = [step.name for step in migrations.pending(Database(connection))]
    if version:
        migrations.apply(Database(connection), stop_before=steps[version:])


def pending(path: Path) -> list[str]:
    """The names of the migrations that a log needs, in order. Raises StorageVersionError if it is not a log,
    VerificationError if its tables are not those of its storage version.
    """
    connection, _, version = _opened(path, write=False)
    connection.close()
    with closing(sqlite3.connect(MEMORY)) as empty:
        return [step.name for step in migrations.pending(Database(empty))][version:]


def migrate(path: Path, timeout: float = 5.0) -> Path:
    """Migrate a log to this esctl's storage version, after a copy beside it; returns the copy's path.

    A copy that a killed run left is taken if it is equal; another file is kept, and the copy gets the next name. The
    migration is one transaction: other processes see the old log or the new one. Raises UnavailableError if a process
    has the log open, and as `pending`.
    """
    connection, file, version = _opened(path, timeout, write=True)
    try:
        with Translated(str(path)):
            run(connection, "pragma locking_mode = exclusive; begin exclusive; commit")  # the lock stays
            copy, was_there = _copied(connection, version, path)
            try:
                _migrate(connection, path, file, version)
            except BaseException:
                if not was_there:
                    copy.unlink()  # the log is unchanged
                raise
    except UnavailableError as error:
        if error.code != BUSY:
            raise
        raise UnavailableError(
            f"cannot migrate {path}", why=f"{error.__cause__}; stop what uses the log", again=""
        ) from error
    finally:
        connection.close()
    return copy


def _opened(path: Path, timeout: float = 5.0, *, write: bool) -> tuple[apsw.Connection, OpenFile | None, int]:
    """Connect to a log whose tables are those of its storage version; return that, too."""
    connection, file = connect(str(path), write=write)
    try:
        with Translated(str(path)):
            connection.set_busy_timeout(int(timeout * 1000))
            run(connection, SETTINGS)
            version = version_of(connection, str(path))
            rows = rows_of(connection)
            refuse_differences(rows, digests(schema(version)), str(path))
            refuse_strangers(connection, rows, str(path))
    except BaseException:
        connection.close()
        raise
    return connection, file, version


def _migrate(connection: apsw.Connection, path: Path, file: OpenFile | None, version: int) -> None:
    """Run the statements in one transaction."""
    run(connection, "begin immediate")
    try:
        for statement in _statements(version):
            run(connection, statement)
    except (apsw.SQLError, apsw.ConstraintError) as error:
        raise VerificationError(f"{path} is damaged", why=f"{error}; restore a backup") from error
    for log_id, created in connection.execute(_WITHOUT_DIGEST).fetchall():
        digest = created_digest(str(log_id), str(created))
        connection.execute("update head set created_digest = ?", (digest,)).fetchall()
    if version < LINKED:
        reading = Reading(connection, str(path))
        reading.known(connection.execute("select archived from head").get)
        if version < SUMMARIZED:
            summaries.extend(reading, 0, connection.execute("select position from head").get)
        else:
            links.extend(reading, 0, connection.execute(NEXT_BLOCK).get)
    if file is not None:
        file.check()
    run(connection, "commit")


def _statements(version: int) -> list[str]:
    """The statements that make a log of a storage version one of the present version."""
    statements: list[str] = []
    with closing(sqlite3.connect(MEMORY, isolation_level=None)) as empty:
        _upgrade(empty, version)
        empty.set_trace_callback(statements.append)
        _apply(empty, str(uuid.uuid4()))
    return [s for s in statements if s.split(None, 1)[0].lower() in _CHANGES]


_WITHOUT_DIGEST = "select log_id, created from head where created_digest = x''"
_CHANGES = {"create", "alter", "insert", "pragma"}  # the rest of what sqlite-utils runs asks, or begins


class _EqualError(Exception):
    """There is an equal copy already."""

    def __init__(self, copy: Path) -> None:
        super().__init__()
        self.copy = copy


def _copied(connection: apsw.Connection, version: int, path: Path) -> tuple[Path, bool]:
    """A copy of a log beside it, and whether it was there already."""
    name = f"{path.name}.v{version}"

    def names() -> Iterator[str]:
        yield f"{name}.bak"
        yield from (f"{name}.{number}.bak" for number in count(1))

    present = list(takewhile(os.path.lexists, map(path.with_name, names())))
    copy = path.with_name(next(islice(names(), len(present), None)))
    try:
        with draft_of(copy) as draft:
            copy_to(connection, str(path), draft)
            complete(draft, copy, connection.execute("select hash from head").get if version else None)
            _refuse_equal(draft, [other for other in present if not _is_same(other, path)])
    except _EqualError as error:
        return error.copy, True
    return copy, False


def _refuse_equal(draft: Path, present: list[Path]) -> None:
    """Raise _EqualError if one of the files that are there is equal to a draft."""
    for copy in present:
        if _equal(draft, copy):
            raise _EqualError(copy)


def _is_same(other: Path, path: Path) -> bool:
    """Whether a name leads to the log itself: a link is no copy."""
    return other.exists() and other.samefile(path)


def _equal(one: Path, other: Path) -> bool:
    """Whether two files have the same pages, whatever their headers count and whether they are in WAL mode."""
    if other.is_symlink() or not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        heads = [file.read(HEADER_BYTES) for file in (first, second)]
        if len({head[:18] + head[20:24] + head[28:40] + head[44:92] for head in heads}) > 1:
            return False
        while content := first.read(BYTES_PER_READ):
            if content != second.read(BYTES_PER_READ):
                return False
    return True
