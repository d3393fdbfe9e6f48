"""Two commands in one file, step by step: one stops before each of its steps, and the other runs there.

A step is an SQL statement, or the opening or linking of a segment's file. So every way is tried in which the whole of
one command can come between two steps of another, and none of it is left to luck.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw

from esctl.log import EventLog

_stopping: list[Callable[[], object]] = []  # audit hooks cannot be removed

# A model that has all that checks look at.
MODEL = """
[event.T]
erasable = true
[aggregate.s]
streams = "s-*"
[aggregate.s.on.T]
add = { n = 1, sum = "$.n" }
[projection.totals]
table = "create table totals(k text primary key, n integer not null)"
[projection.totals.on]
T = "insert into totals values (new.stream, 1) on conflict(k) do update set n = n + 1"
"""


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _stopping and event in ("open", "os.link") and ".ndjson.zst" in str(arguments[0]):
        _stopping[-1]()


sys.addaudithook(_audit)


@contextmanager
def stopped(log: EventLog, number: int, other: Callable[[], None]) -> Iterator[list[int]]:
    """Run `other` before the step of this number (from 1) of what the block does with a log; gives the steps so far."""
    steps = [0]

    def step(_: str = "") -> None:
        steps[0] += 1
        if steps[0] == number:
            other()

    log.store.statements.trace(step)
    _stopping.append(step)
    try:
        yield steps
    finally:
        _stopping.pop()
        log.store.statements.trace(lambda _: None)


@contextmanager
def stopped_command(number: int, other: Callable[[], None]) -> Iterator[list[int]]:
    """The same for a command that the block runs, whatever it opens."""
    steps, busy = [0], False

    def step(*_: object) -> bool:
        nonlocal busy
        if not busy:
            steps[0] += 1
            if steps[0] == number:
                busy = True
                other()
                busy = False
        return True

    def traced(connection: apsw.Connection) -> None:
        if not busy:
            connection.exec_trace = step

    apsw.connection_hooks.append(traced)
    _stopping.append(step)
    try:
        yield steps
    finally:
        _stopping.pop()
        apsw.connection_hooks.remove(traced)


def interleaved(one: Callable[[int], int]) -> int:
    """Call `one` with the number of each step at which the other command is to run; it gives how many steps it took.
    Returns the number of the last.
    """
    number = 1
    while number <= one(number):
        number += 1
    return number - 1
