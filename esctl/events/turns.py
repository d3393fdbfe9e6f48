"""Threads that share a log take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable

from esctl.errors import UsageError


class Turns:
    """A block that one thread at a time is in, for as long as the log is open."""

    def __init__(self, again: str) -> None:
        """`again` says how to get an open log when this one is closed."""
        self.lock = threading.RLock()
        self.ended = False
        self._again = again

    def __enter__(self) -> None:
        self.lock.acquire()
        if self.ended:
            self.lock.release()
            raise self.refusal()

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def refusal(self) -> UsageError:
        """The error for a turn after the last one."""
        return UsageError("the log is closed", why=self._again)

    def end(self, close: Callable[[], None]) -> None:
        """Close the log after the last turn."""
        with self.lock:
            self.ended = True
            close()
