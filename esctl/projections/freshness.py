"""How current the rows of a projection are when somebody wants to see them: who is not far behind catches up first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from esctl.errors import HandlerError, UnavailableError
from esctl.log import EventLog
from esctl.projections import runs, status, versions

FEW_EVENTS = 10_000  # that a reader catches up by; more are left to a run
LOCK_SECONDS = 0.5  # that a reader waits for a lock, to catch up


class Freshness(NamedTuple):
    """How many events the rows lack, up to where they are, whether the model has handlers for them; the failures that
    stopped the projection, and what kept it from catching up.
    """

    behind: int
    position: int
    has_handlers: bool
    failures: list[HandlerError]
    hindered: UnavailableError | None


def opened(opening: Callable[[bool], EventLog]) -> EventLog:
    """A log as `opening` opens it: for writing (True), so that projections can catch up, or else for reading."""
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
    """Have a projection catch up where fewer than FEW_EVENTS are missing, or `always`.

    `advance` takes the numbers of positions to their end, to show progress. What cannot be written leaves the rows as
    they are, but with `always` raises UnavailableError. Raises NotFoundError, and HandlerError where a reducer is
    needed.
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
