"""How up to date the rows of a projection are when they are read: one that is slightly behind catches up first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from esctl.errors import HandlerError, UnavailableError
from esctl.log import EventLog
from esctl.projections import runs, status, versions

FEW_EVENTS = 10_000  # a reader processes at most so many; a run does the rest
LOCK_SECONDS = 0.5  # a reader waits so long for the lock


class Freshness(NamedTuple):
    """How many events the rows lack, their position, and whether the model has handlers for them.

    `failures` stopped the projection; `hindered` is the error that kept it from catching up.
    """

    behind: int
    position: int
    has_handlers: bool
    failures: list[HandlerError]
    hindered: UnavailableError | None


def opened(opening: Callable[[bool], EventLog]) -> EventLog:
    """Open a log by `opening`: for writing (True), so that projections can catch up, else for reading."""
    try:
        return opening(True)
    except UnavailableError:
        return opening(False)


def _to_its_end(advancing: Iterator[int]) -> None:
    for _ in advancing:
        pass


def freshen(
    log: EventLog,
    name: str,
    *,
    always: bool = False,
    advance: Callable[[Iterator[int]], None] = _to_its_end,
) -> Freshness:
    """Let a projection catch up if it lacks fewer than FEW_EVENTS, or `always`.

    `advance` consumes the numbers of positions, to show progress. If the log cannot be written, the rows stay as they
    are; with `always` UnavailableError is raised. Raises NotFoundError, and HandlerError if a reducer is needed.
    """
    done, hindered = runs.Run(), None
    try:
        if versions.current(log) is None:
            versions.synced(log)
        version = versions.live(log, name)
        if always and not version.compiled.on:
            raise versions.needs_reducer(name)
        if version.compiled.on and (always or status.lag(log, version) < FEW_EVENTS):
            advance(runs.run(log, [name], done))
    except UnavailableError as error:
        if always:
            raise
        hindered = error
    version = versions.live(log, name)
    return Freshness(status.lag(log, version), version.position, bool(version.compiled.on), done.failures, hindered)
