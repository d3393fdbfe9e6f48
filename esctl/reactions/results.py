"""What the handler of an event answered, and what runs handlers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from esctl.reactions.items import Item

DONE, AGAIN, PARK, TIMED_OUT, MISSING = 0, 75, 65, 124, 127
"""Exit statuses of handlers with a meaning: try again later (EX_TEMPFAIL), never again (EX_DATAERR); as `timeout` and
shells say it: it took too long, there is no such program.
"""
TAIL_BYTES = 4096  # of what a handler wrote to stderr
MAX_OUTPUT = 16 * 1024 * 1024  # bytes of events that a handler may print


class Retry(Exception):  # noqa: N818 - raised to ask for something
    """Raised by a handler in Python: try the event again later."""


class Park(Exception):  # noqa: N818
    """Raised by a handler in Python: trying the event again would not help."""


class Result(NamedTuple):
    """The end of one attempt: the handler's exit status, an error (empty: done), the end of its stderr, and what it
    printed, if that was asked for. If it `counts` not, the event was not at fault: it is tried again.
    """

    item: Item
    status: int
    error: str = ""
    stderr: str = ""
    output: bytes = b""
    counts: bool = True


class Handlers(Protocol):
    """What runs the handlers of events."""

    @property
    def running(self) -> int:
        """How many events are being handled."""

    @property
    def has_room(self) -> bool:
        """Whether any event may be started now."""

    def fits(self, key: str) -> bool:
        """Whether an event with a key may be started now."""

    def start(self, item: Item) -> None:
        """Start the handler of an event."""

    def wait(self, seconds: float) -> list[Result]:
        """What has ended, at the latest after so many seconds."""

    def end(self) -> None:
        """End all handlers at once; whatever they did not finish has no result."""
