"""All errors that a command can end with, and their exit codes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ending: Callable[[BaseException], None] | None = None
"""How an error or a signal ends this process at once, from any thread; None unless it is the command line's."""

deferred = 0
"""The number of a signal that came while it must not stop this process at once; 0 if there is none."""


def word(value: object) -> str:
    """A value quoted as one word of a command line, for a `fix`."""
    import shlex  # noqa: PLC0415 - only an error needs it

    return shlex.quote(str(value))


class EsctlError(Exception):
    """A failure: `what` happened and where, `why`, and the command to run next.

    `fix` is a complete shell command, or empty. `again` replaces it if the next step is to repeat the same command,
    with the words in `again` added (`--yes`; empty: none). It is None if a repetition would not help, or would store
    events twice. With `feed`, the same command reads the output of these commands instead of the file that `details`
    names, or of stdin. `why` also says what the user has to do first. `details` are plain values (numbers, text) for
    programs; `--error-format json` prints them. By `code` callers tell one failure from another, never by the message.
    """

    exit_code = 1
    kind = "failure"

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", again: str | None = None, code: str = "", **details: object
    ) -> None:
        assert not fix or again is None, "give either fix or again"
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.again = again
        self.feed = ""
        self.code = code
        self.details = details


class UsageError(EsctlError):
    """The command line or the configuration is wrong."""

    exit_code = 2
    kind = "usage"


class ArgumentError(UsageError, TypeError):
    """An argument of the Python API has a type that the method does not take."""

    kind = "argument"


class NotFoundError(EsctlError):
    """A log, stream or event does not exist."""

    exit_code = 3
    kind = "not-found"


class ConflictError(EsctlError):
    """Another writer was faster, or an id exists with other content; nothing of the batch was written."""

    exit_code = 4
    kind = "conflict"


class RefusedError(EsctlError):
    """The input is not acceptable: not JSON, a bad name, too large; nothing of the batch was written."""

    exit_code = 5
    kind = "refused"


class VerificationError(EsctlError):
    """The log was altered or damaged after its events were acknowledged."""

    exit_code = 6
    kind = "verification"


class MisfitError(VerificationError):
    """A stored event does not fit the log's model: an operation fails on it. `details` has its `position`."""

    kind = "misfit"

    def at(self, position: int) -> MisfitError:
        """The same error, with the position of the event if SQLite did not report it."""
        if "position" not in self.details:
            self.what = self.what.replace("an event", f"the event at position {position}")
            self.details["position"] = position
        return self


class StorageVersionError(EsctlError):
    """The file needs `esctl migrate`, is newer than this esctl, or is not a log."""

    exit_code = 7
    kind = "storage-version"


class UnavailableError(EsctlError):
    """The log or its file system is busy, full, read-only or unreachable; trying again may help."""

    exit_code = 8
    kind = "unavailable"


class SegmentError(UnavailableError):
    """A segment of the archive cannot be read; events outside it still can."""

    kind = "segment"


class HandlerError(EsctlError):
    """A command or SQL that a user or a model made esctl run failed, or ran too long."""

    exit_code = 9
    kind = "handler"


class DifferenceError(EsctlError):
    """A comparison found a difference, or a search found nothing."""

    exit_code = 10
    kind = "difference"


class Stopped(BaseException):
    """A signal asked the run to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
