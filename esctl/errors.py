"""Every error a command can end with, and its exit code."""

from __future__ import annotations


def word(value: object) -> str:
    """A value as one word of a command line, for a `fix`."""
    import shlex  # noqa: PLC0415 - only an error needs it

    return shlex.quote(str(value))


class EsctlError(Exception):
    """A failure: what and where, why, and the command to run next.

    `fix` is a command line that a shell takes as it stands, or empty. `again` stands in its place where the same
    command line is to be run once more, with the words in `again` added (`--yes`; empty: none): only the command line
    knows what it was. It is None where that would not help, or would store events twice. What a person has to do first
    stands in `why`. `details` are plain values (numbers, text) that a program may want; they are printed by
    `--error-format json`. `code` is for callers that have to tell one failure from another: no message's text is.
    """

    exit_code = 1
    kind = "failure"

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", again: str | None = None, code: str = "", **details: object
    ) -> None:
        assert not fix or again is None, "one command is to be run next"
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.again = again
        self.code = code
        self.details = details


class UsageError(EsctlError):
    """The command line or the configuration is wrong."""

    exit_code = 2
    kind = "usage"


class NotFoundError(EsctlError):
    """A log, stream or event is not there."""

    exit_code = 3
    kind = "not-found"


class ConflictError(EsctlError):
    """Somebody else was faster, or an id came back with other content; nothing of the batch was written."""

    exit_code = 4
    kind = "conflict"


class RefusedError(EsctlError):
    """The input is not acceptable: not JSON, a bad name, too large; nothing of the batch was written."""

    exit_code = 5
    kind = "refused"


class VerificationError(EsctlError):
    """The log is not what it was when its events were acknowledged."""

    exit_code = 6
    kind = "verification"


class MisfitError(VerificationError):
    """A stored event does not fit the log's model: an operation cannot be done on it; `position` names it."""

    kind = "misfit"

    def at(self, position: int) -> MisfitError:
        """The same, naming an event that SQLite did not name."""
        if "position" not in self.details:
            self.what = self.what.replace("an event", f"the event at position {position}")
            self.details["position"] = position
        return self


class StorageVersionError(EsctlError):
    """The file needs `esctl migrate`, is newer than this esctl, or is not a log."""

    exit_code = 7
    kind = "storage-version"


class UnavailableError(EsctlError):
    """Busy, full, read-only or out of reach; trying again may help."""

    exit_code = 8
    kind = "unavailable"


class SegmentError(UnavailableError):
    """A segment of the archive cannot be reached; what is not in it can still be read."""

    kind = "segment"


class HandlerError(EsctlError):
    """What a model or a user has esctl run failed: a command, or SQL that ran too long."""

    exit_code = 9
    kind = "handler"


class DifferenceError(EsctlError):
    """A difference was found, or nothing matched where something had to."""

    exit_code = 10
    kind = "difference"


class Stopped(BaseException):
    """A signal asked the run to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
