"""SQLite's errors as esctl's."""

from __future__ import annotations

import time

import apsw

from esctl.errors import (
    EsctlError,
    HandlerError,
    MisfitError,
    StorageVersionError,
    UnavailableError,
    VerificationError,
    word,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    Kind = TypeVar("Kind", bound=type)


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
        return VerificationError(
            f"{path} is damaged", why=f"{why}; restore a backup", fix=f"esctl verify --log {word(path)}"
        )
    for kinds, translated, what, advice in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translated(what.format(path=path), why=f"{why}{advice}")
    return EsctlError(f"SQLite failed on {path}", why=f"{type(error).__name__}: {why}")


class OverrunError(HandlerError):
    """An expression of a model was stopped; `did` says why: it ran too long, or needed too much memory."""

    def __init__(self, did: str, **more: Any) -> None:
        super().__init__(f"an expression of the model {did}", **more)
        self.did = did


class Patience:
    """A block in which a statement with a model's expressions may run for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadline: float | None = None

    def __enter__(self) -> None:
        self._deadline = time.monotonic() + self.seconds

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._deadline = None
        if isinstance(error, apsw.InterruptError):
            raise OverrunError(
                f"ran for more than {self.seconds:g} seconds and was stopped",
                why="it may never end; mend it, or give it more time",
                again="--timeout 60",
            ) from error
        if isinstance(error, apsw.NoMemError | MemoryError):
            raise OverrunError("needs too much memory and was stopped") from error
        if isinstance(error, apsw.SQLError | apsw.TooBigError) and not any(sign in str(error) for sign in _DAMAGE):
            raise MisfitError(
                f"an expression of the model fails on an event: {error}", fix="esctl upcast check"
            ) from error

    def over(self) -> bool:
        """Whether the time is up. SQLite asks regularly, which also lets Python handle Ctrl-C."""
        return self._deadline is not None and time.monotonic() > self._deadline
