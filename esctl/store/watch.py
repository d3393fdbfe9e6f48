"""A thread that ends a process of the command line when a single step of SQL from outside hears nothing any more.

SQLite asks between two steps whether to go on, and Python handles a signal between two steps. A function such as
`instr` is one step: over long texts it takes hours. It runs without the interpreter's lock, so a thread can act.
"""

from __future__ import annotations

import _thread
import os
import select
import time
from _signal import SIGINT, SIGTERM, set_wakeup_fd  # type: ignore[import-not-found]  # `signal` is slow: it makes enums

from esctl import errors
from esctl.errors import Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from esctl.store.errors import Patience

GRACE_SECONDS = 1.0  # for a statement to end by itself, after its limit or a signal
TICK_SECONDS = 0.25  # between two looks


class Watch:
    """The thread of this process. It starts with the first statement, and sleeps while none runs."""

    def __init__(self, end: Callable[[BaseException], None]) -> None:
        self.running: list[Patience] = []  # the limits of the statements that run
        self.idle = False
        self._end = end
        self._signum, self._signalled = 0, 0.0
        self._late: float | None = None  # a deadline that had passed at the last look
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self._wakes = open(writer, "wb", buffering=0)  # noqa: SIM115 - stays open
        set_wakeup_fd(writer, warn_on_full_buffer=False)  # Python writes the number of each signal
        _thread.start_new_thread(self._run, ())

    def rouse(self) -> None:
        """Look again: a statement has started."""
        self.idle = False
        self._wakes.write(b"\0")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while True:
            self.idle = True
            self.idle = not self.running  # a statement that starts in between sees that it has to rouse
            for _ in poll.poll(None if self.idle else TICK_SECONDS * 1000):
                for byte in os.read(self._reader, 100):
                    if byte in (SIGINT, SIGTERM):
                        self._signum, self._signalled = byte, time.monotonic()
            for patience in self.running[-1:]:  # the innermost
                self._look(patience, time.monotonic())

    def _look(self, patience: Patience, now: float) -> None:
        deadline = patience.deadline
        if errors.deferred and not self._signum:  # it came before this thread began to listen
            self._signum, self._signalled = errors.deferred, now
        if self._signum and now - self._signalled > GRACE_SECONDS:
            patience.stop = self._signum
            if now - max(self._signalled, patience.asked) > GRACE_SECONDS:
                self._end(Stopped(self._signum))
        if deadline is None or now < deadline + GRACE_SECONDS:
            return
        if self._late == deadline:  # at the second look: the whole process may have been halted meanwhile
            self._end(patience.overrun())
        self._late = deadline


_watch: Watch | None = None


def watch() -> Watch | None:
    """The thread of this process; None unless it is a process of the command line."""
    global _watch  # noqa: PLW0603 - there is one process
    if _watch is None and errors.ending is not None:
        _watch = Watch(errors.ending)
    return _watch
