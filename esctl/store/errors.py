"""SQLite's errors as esctl's."""

from __future__ import annotations

import time

import apsw

from esctl import errors
from esctl.errors import (
    EsctlError,
    HandlerError,
    MisfitError,
    Stopped,
    StorageVersionError,
    UnavailableError,
    VerificationError,
    word,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, TypeVar

    from esctl.store.watch import Watch

    Kind = TypeVar("Kind", bound=type)
    Row = TypeVar("Row")


class Translated:
    """A block in which SQLite's errors become esctl's; `path` is for the message."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, apsw.Error):
            raise translate(error, self.path) from error


_GENERATOR = 0x20  # the flag of generator functions; importing inspect, which names it, takes half a cold start


def translating(kind: Kind) -> Kind:
    """A class decorator: in public methods SQLite's errors become esctl's. Objects must have a `path`."""
    for name, method in list(vars(kind).items()):
        if callable(method) and not name.startswith("_"):
            setattr(kind, name, _translated(method))
    return kind


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    def each(self: Any, *args: Any, **kwargs: Any) -> Any:
        with Translated(self.path):
            yield from method(self, *args, **kwargs)

    if method.__code__.co_flags & _GENERATOR:
        return each

    def within(self: Any, *args: Any, **kwargs: Any) -> Any:
        with Translated(self.path):
            return method(self, *args, **kwargs)

    return within


BUSY = "busy"  # the code of the error for a lock that another process holds


def _busy(what: str, *, why: str) -> UnavailableError:
    return UnavailableError(what, why=why, again="--timeout 60", code=BUSY)


def _stopped(what: str, *, why: str) -> OverrunError:
    return OverrunError("took too long and was stopped", subject=what, why=why)


# By SQLite's error: esctl's error, its message, and advice.
_TRANSLATIONS: tuple[tuple[tuple[type[apsw.Error], ...], Callable[..., EsctlError], str, str], ...] = (
    (
        (apsw.BusyError, apsw.LockedError),
        _busy,
        "{path} is busy: another process writes to it",
        "",
    ),
    ((apsw.NotADBError,), StorageVersionError, "{path} is not a log", "; name the log with --log"),
    ((apsw.FullError,), UnavailableError, "no room left for {path}", "; free some space"),
    ((apsw.NoMemError,), UnavailableError, "there is not enough memory for {path}", ""),
    ((apsw.InterruptError,), _stopped, "a statement on {path}", ""),
    ((apsw.ReadOnlyError,), UnavailableError, "{path} is read-only", "; make the file and its folder writable"),
    (
        (apsw.CantOpenError, apsw.IOError, apsw.PermissionsError, apsw.AuthError),
        UnavailableError,
        "cannot use {path}",
        "; check its folder, its permissions and the free space",
    ),
)

_DAMAGE = (
    "no such table",
    "no such column",
    "unsupported file format",
    "malformed database",
    "unknown function",
)  # signs that the schema is damaged


def translate(error: apsw.Error, path: str) -> EsctlError:
    """The esctl error for one of SQLite's."""
    why = str(error) if str(error) != "not an error" else f"SQLite reports {type(error).__name__}"
    if isinstance(error, apsw.SQLError) and any(sign in why for sign in _DAMAGE):
        return VerificationError(f"{path} is damaged", why=f"{why}; restore a backup")
    if isinstance(error, apsw.CorruptError):
        return damaged(path, why)
    for kinds, translated, what, advice in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translated(what.format(path=path), why=f"{why}{advice}")
    return EsctlError(f"SQLite failed on {path}", why=f"{type(error).__name__}: {why}")


def damaged(path: str, why: str) -> VerificationError:
    """The error for a log that contains what no esctl stores."""
    return VerificationError(
        f"{path} is damaged", why=f"{why}; restore a backup", fix=f"esctl verify --log {word(path)}"
    )


def altered(path: str, what: str) -> VerificationError:
    """The error for a name or a line that has a control character, which no append stores."""
    return VerificationError(
        f"{path} was altered", why=f"{what} has a control character", fix=f"esctl verify --log {word(path)}"
    )


OPCODES_OF_SQL_FROM_OUTSIDE = 1000  # between two checks of the time: a single one of its expressions may take long
HEAP_BYTES = 1024 * 1024 * 1024  # that SQLite may use in a command
ROWS_PER_BLOCK = 256
BLOCK_SECONDS = 0.01


class OverrunError(HandlerError):
    """SQL from outside was stopped; `did` says why: it ran too long, or needed too much memory."""

    def __init__(self, did: str, *, subject: str = "an expression of the model", **more: Any) -> None:
        super().__init__(f"{subject} {did}", **more)
        self.did = did


class Patience:
    """A block in which a statement with a model's expressions may run for so many seconds. Not re-entrant.

    Its end is an error, also if SQLite hears nothing; see `esctl.store.watch`, which needs a process of its own.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.deadline: float | None = None  # for the statement that runs
        self.asked = 0.0  # when SQLite last asked
        self.stop = 0  # the signal that this process does not heed
        self.steps = Steps(self)
        self._each_step = False
        self._watch: Watch | None = None

    def often(self, connection: apsw.Connection) -> Steps:
        """Have SQLite ask often from now on; return the limit of each step."""
        connection.set_progress_handler(self.over, OPCODES_OF_SQL_FROM_OUTSIDE)
        return self.steps

    def begin(self, *, each_step: bool = False) -> None:
        """A statement begins; with `each_step`, each of its steps may take so long, and all together any time."""
        self._each_step = each_step
        self.asked = now = time.monotonic()
        self.deadline = now + self.seconds
        if self._watch is None:
            if errors.ending is None:
                return
            from esctl.store.watch import watch  # noqa: PLC0415 - only SQL from outside needs it

            self._watch = watch()
        if self._watch is not None:
            self._watch.running.append(self)
            if self._watch.idle:
                self._watch.rouse()

    def end(self) -> None:
        """The statement has ended."""
        self.deadline = None
        if self._watch is not None:
            self._watch.running.pop()

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end()
        if isinstance(error, apsw.InterruptError):
            raise self.overrun() from error
        if isinstance(error, apsw.NoMemError | MemoryError):
            raise OverrunError("needs too much memory and was stopped") from error
        if isinstance(error, apsw.SQLError | apsw.TooBigError) and not any(sign in str(error) for sign in _DAMAGE):
            raise MisfitError(
                f"an expression of the model fails on an event: {error}", fix="esctl upcast check"
            ) from error

    def over(self) -> bool:
        """Whether the time is up. SQLite asks regularly, which also lets Python handle Ctrl-C. Raises Stopped."""
        if self.deadline is None:
            return False
        if self.stop:
            raise Stopped(self.stop)
        self.asked = now = time.monotonic()
        if self._each_step:
            self.deadline = now + self.seconds
        return now > self.deadline

    def overrun(self) -> OverrunError:
        """The error for a statement that took too long."""
        did = f"ran for more than {self.seconds:g} seconds and was stopped"
        if self._each_step:
            why = "instr, replace, like and others may take hours for long texts; shorten these, or give it more time"
            return OverrunError(did, subject="one step of the SQL", why=why, again="--timeout 60")
        return OverrunError(did, why="it may never end; mend it, or give it more time", again="--timeout 60")


class Steps:
    """A block in which a statement may run for any time, but each of its steps only for a patience's seconds."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def __enter__(self) -> None:
        self._patience.begin(each_step=True)

    def __exit__(self, *_: object) -> None:
        self._patience.end()

    def rows(self, ask: Callable[[], Iterator[Row]]) -> Iterator[Row]:
        """The rows of a statement; the time in which their reader works does not count.

        They are fetched in blocks: to begin and end the limit takes as long as to fetch a row.
        """
        with self:
            rows = ask()
        ended = False
        while not ended:
            block: list[Row] = []
            failed: Exception | None = None
            with self:
                late = time.monotonic() + BLOCK_SECONDS
                try:
                    while len(block) < ROWS_PER_BLOCK and time.monotonic() < late:
                        block.append(next(rows))
                except StopIteration:
                    ended = True
                except Exception as error:  # noqa: BLE001 - raised again behind the rows before it
                    failed = error
            yield from block
            if failed is not None:
                raise failed


class Statements:
    """All statements of a connection: bounded, watched, interrupted."""

    def __init__(self, connection: apsw.Connection, patience: Patience) -> None:
        self._connection, self._patience = connection, patience

    def limit(self, seconds: float) -> None:
        """In a dedicated process: stop a statement with a model's expressions after so many seconds, or if it needs too
        much memory, with HandlerError.
        """
        self._patience.seconds = seconds
        largest: int = self._connection.execute("select largest from head").get
        self._connection.execute(f"pragma hard_heap_limit = {max(HEAP_BYTES, 16 * largest)}").fetchall()

    def stop_at(self, deadline: float) -> None:
        """Stop every statement from a time of the monotonic clock on, with OverrunError."""
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, OPCODES_OF_SQL_FROM_OUTSIDE)

    def trace(self, write_line: Callable[[str], None]) -> None:
        """Report every statement from now on, before it runs."""

        def report(_: apsw.Cursor, sql: str, __: object) -> bool:
            write_line(f"sql: {' '.join(sql.split())}")
            return True

        self._connection.exec_trace = report

    def interrupt(self) -> None:
        """From another thread: end the statement that runs."""
        self._connection.interrupt()
