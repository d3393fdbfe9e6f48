"""Open and set up a connection to a log; check that it is a log of this storage version."""

from __future__ import annotations

import os

import apsw

from esctl.errors import StorageVersionError, UnavailableError, word
from esctl.events import chain
from esctl.sql import functions
from esctl.store import schema
from esctl.store.errors import Patience, Translated
from esctl.store.format import APPLICATION_ID, STORAGE_VERSION, Memory, absolute, check_there, uri_of

SETTINGS = """
pragma synchronous = full;
pragma foreign_keys = on;
pragma secure_delete = on;
pragma trusted_schema = off;
pragma cell_size_check = on;
pragma temp_store = memory;
pragma mmap_size = 0;
"""
WAL_BYTES = 64 * 1024 * 1024  # the WAL file is truncated to this size after a checkpoint
BULK_CACHE_KIB = 24 * 1024  # ids come in random order: the more of their index is cached, the faster
BULK_CHECKPOINT_PAGES = 4000  # a page that many batches touch is copied once; measured 1.15 times the rate of 1000
MAX_NUMBER = 2**53  # no archive changes so often, and what is computed from it still fits into 64 bits
MAX_PAYLOAD_BYTES = 2**32  # data and meta are two values, and SQLite takes none of 2 GiB
OPCODES_A_BREATH = 1_000_000
MAX_PATTERN_BYTES = 2000  # of LIKE and GLOB, whose time is the product of pattern and text; a quoted name fits


class OpenFile:
    """The file that a writer has open. Its path has to remain its one name: by that SQLite finds the WAL, so events
    appended to a file that was renamed, removed, replaced or linked would be lost.
    """

    def __init__(self, path: str) -> None:
        """Raises UnavailableError for a file with several names."""
        self.path, self._where = path, absolute(path)
        self._wal: tuple[int, int] | None = None
        status = os.stat(self._where)
        if status.st_nlink > 1:
            from esctl.store import files  # noqa: PLC0415 - hardly ever

            files.remove_draft_names(os.path.realpath(self._where))
        self._file = status.st_dev, status.st_ino
        self.check()

    def watch_wal(self) -> None:
        """The file's WAL, if it has one, has to remain, too."""
        self._wal = self._wal_now()

    def _wal_now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(f"{self._where}-wal")
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def check(self) -> None:
        """Raise UnavailableError unless the path is still the one name of the file."""
        try:
            status = os.stat(self._where)
        except OSError as error:
            raise self._lost("it was moved or removed") from error
        if (status.st_dev, status.st_ino) != self._file:
            raise self._lost("another file has its name now")
        if status.st_nlink > 1:
            copy = f"{self.path}.copy"
            raise UnavailableError(
                f"{self.path} has {status.st_nlink} names (hard links)",
                why="each name has a WAL of its own, so events appended by one would be lost by another;"
                " remove the other names, or use a copy",
                fix=f"esctl backup {word(copy)} --log {word(self.path)}",
            )
        if self._wal is not None and self._wal_now() != self._wal:
            raise self._lost(f"its WAL was moved, removed or replaced: {self.path}-wal")

    def place(self) -> str:
        """Where the file is: `here`, or `gone` if nothing has its path now, or `replaced` if another file has."""
        try:
            status = os.stat(self._where)
        except OSError:
            return "gone"
        return "here" if (status.st_dev, status.st_ino) == self._file else "replaced"

    def _lost(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"{self.path} is no longer the log that this command opened",
            why=f"{why}; nothing of this transaction is stored",
        )


def connect(path: str, *, write: bool) -> tuple[apsw.Connection, OpenFile | None]:
    """Connect to the file at `path`; for writing, also return what watches over the file.

    Raises NotFoundError, UsageError or UnavailableError.
    """
    uri = uri_of(path)
    if isinstance(path, Memory):
        return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI), None
    check_there(path)
    writable = os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK)
    if write and not writable:  # checked before SQLite creates files beside it
        raise UnavailableError(f"{path} is read-only", why="make the file and its folder writable")
    file = OpenFile(path) if write else None
    with Translated(path):
        if not write and not writable and not os.path.exists(f"{path}-wal"):
            # Nobody can write the file, so no WAL is needed; otherwise SQLite would require one.
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            return apsw.Connection(f"{uri}?immutable=1", flags=flags), None
        # Readers open for writing too, and then forbid it: only then are -wal and -shm removed at close.
        connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
    if file is not None:
        file.check()
    return connection, file


def set_up(
    connection: apsw.Connection, path: str, patience: Patience, *, write: bool, bulk: bool, timeout: float
) -> str:
    """Apply the settings, then check the file; returns the log's id.

    Raises StorageVersionError for another file, VerificationError for a schema that is not a log's, TypeError or
    ValueError for an impossible head.
    """
    # A statement may run for minutes; regular calls to Python let it handle Ctrl-C and check the time.
    connection.set_progress_handler(patience.over, OPCODES_A_BREATH)
    # Otherwise SQLite plans by bound values, and prepares a statement again for each new value.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.set_busy_timeout(int(timeout * 1000))
    functions.define(connection)
    connection.limit(apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN_BYTES)
    run(connection, SETTINGS)
    version = version_of(connection, path)
    if version < STORAGE_VERSION:
        raise StorageVersionError(
            f"{path} is older than this esctl",
            why=f"its storage version is {version}, this esctl needs {STORAGE_VERSION}",
            fix=f"esctl migrate --log {word(path)}",
        )
    schema.check(connection, path)
    if write:
        if connection.execute("pragma journal_mode").get not in ("wal", "memory"):  # a network file system
            run(connection, "pragma journal_mode = truncate; pragma synchronous = extra")
        run(connection, f"pragma journal_size_limit = {WAL_BYTES}")
    else:
        run(connection, "pragma query_only = on")
    if bulk:
        chain.for_many()
        run(connection, f"pragma cache_size = -{BULK_CACHE_KIB}; pragma wal_autocheckpoint = {BULK_CHECKPOINT_PAGES}")
    log_id, *numbers = connection.execute("select log_id, position, model, archived, largest from head").get
    if max(map(abs, numbers)) > MAX_NUMBER or numbers[-1] > MAX_PAYLOAD_BYTES:
        raise ValueError(f"its head has the number {max(numbers, key=abs)}")
    if not isinstance(log_id, str):
        raise TypeError("it has not one head")
    return log_id


def version_of(connection: apsw.Connection, path: str) -> int:
    """The storage version of a log. Raises StorageVersionError for another file, and for a newer log."""
    application, version = (connection.execute(f"pragma {name}").get for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        found = "some other SQLite database" if isinstance(path, Memory) or os.path.getsize(path) else "an empty file"
        raise StorageVersionError(f"{path} is not a log", why=f"it is {found}; name the log with --log")
    if version > STORAGE_VERSION:
        raise StorageVersionError(
            f"{path} is newer than this esctl",
            why=f"its storage version is {version}, this esctl knows {STORAGE_VERSION}",
            fix="pip install --upgrade esctl",
        )
    return int(version)


def run(connection: apsw.Connection, statements: str) -> None:
    """Run statements and discard their rows."""
    connection.execute(statements).fetchall()  # apsw runs the next statement only after the rows are fetched
