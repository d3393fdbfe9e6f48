"""When a failed event is tried again, and when nothing is tried any more for a while."""

from __future__ import annotations

import random
from collections.abc import Callable

MAX_PAUSE_SECONDS = 600.0
BREAK_SECONDS = 10.0  # the first time; twice as long after each event that fails then
MAX_BREAK_SECONDS = 300.0


def pause(attempt: int, backoff: float, chance: Callable[[], float] = random.random) -> float:
    """How many seconds to wait after the failed attempt of this number: any time up to the backoff, which doubles.

    Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return chance() * min(MAX_PAUSE_SECONDS, backoff * 2.0 ** min(attempt - 1, 40))


class Breaker:
    """Stops a reaction for a while after so many different events failed one after the other: what it needs is down.

    Then it lets one event through. If that is handled, all go on; otherwise it waits twice as long. All times are in
    seconds since 1970, so that another process can go on.
    """

    def __init__(self, limit: int, failing: int = 0, until: float | None = None) -> None:
        """Without a `limit` it never stops anything."""
        self.limit, self.failing, self.until = limit, failing, until
        self._events: set[tuple[int, int]] = set()

    def success(self) -> None:
        """An event was handled."""
        self.failing, self.until = 0, None
        self._events.clear()

    def failure(self, event: tuple[int, int], now: float, chance: Callable[[], float] = random.random) -> None:
        """An event failed. The same event counts once, unless it was the one that was let through; those that were
        handled already when all was stopped do not count.
        """
        if now < self.until if self.until is not None else event in self._events:
            return
        self._events.add(event)
        self.failing += 1
        if self.limit and self.failing >= self.limit:
            longest = BREAK_SECONDS * 2.0 ** min(self.failing - self.limit, 40)
            self.until = now + min(MAX_BREAK_SECONDS, longest) * (0.5 + chance() / 2)

    def allows(self, now: float, running: int) -> bool:
        """Whether an event may be handled, while so many others are: when it has stopped all, one after its time."""
        return self.until is None or (now >= self.until and not running)
