"""Run a reaction with processes: declare it, hold its lease, and run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from esctl.errors import UsageError
from esctl.log import EventLog
from esctl.reactions import admin
from esctl.reactions.children import require
from esctl.reactions.definition import EXEC_STREAM, FUNCTION, Command, Definition
from esctl.reactions.processes import Processes
from esctl.reactions.runner import Runner, Settings, Stop, Summary
from esctl.reactions.workers import Workers

HANDLER_SECONDS = 30.0


class Wanted(NamedTuple):
    """What is to be run: the reaction, its definition (None: the one that the log has), where a new one begins, which
    part of a group, and whether another definition than before is meant; how many handlers may run at a time, and for
    how many seconds each.
    """

    name: str
    definition: Definition | None = None
    start: str | None = None
    group: tuple[int, int] = (1, 1)
    changed: bool = False
    concurrency: int = 1
    timeout: float = HANDLER_SECONDS


def react(
    log: EventLog,
    wanted: Wanted,
    settings: Settings,
    stop: Stop,
    *,
    tell: Callable[[str], None],
) -> Summary:
    """Run a reaction to its end. Raises HandlerError if a handler fails for the last time and that is to stop it."""
    one, definition = admin.declare(
        log,
        wanted.name,
        wanted.definition,
        start=wanted.start,
        group=wanted.group,
        changed=wanted.changed,
        allow_loop=settings.allow_loop,
    )
    if definition.kind == FUNCTION:
        raise UsageError(
            f"the reaction {wanted.name} calls a Python function",
            why="it is run by log.react in Python; for a command, name it with --exec, and accept that with --changed",
            fix="esctl react --help",
        )
    command = Command(definition)
    require(command.program)
    with admin.held(log, one, wanted.timeout) as reaction:
        run = Workers if definition.kind == EXEC_STREAM else Processes
        handlers = run(
            command, log.path, concurrency=wanted.concurrency, timeout=wanted.timeout, outputs=definition.append
        )
        runner = Runner(log, reaction, definition, handlers, settings, tell=tell)
        return runner.run(stop)
