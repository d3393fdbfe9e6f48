"""Runs projections with a progress bar and prints their receipts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esctl.log import EventLog
from esctl.output import progress, render
from esctl.projections import runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared


def run(log: EventLog, names: Sequence[str], reducer: str | None = None) -> runs.Run:
    """Run projections once, with a progress bar if it takes long."""
    done = runs.Run()
    if reducer is not None:
        from esctl.projections import reducers  # noqa: PLC0415 - only --reducer needs it

        advancing = reducers.run(log, names[0], reducer, done)
    else:
        advancing = runs.run(log, names, done)
    watch(advancing, "projecting", runs.ahead(log, names))
    return done


def watch(advancing: Iterable[int], label: str, total: int) -> None:
    """Consume a run to its end, with a progress bar if it takes long."""
    for _ in progress.watched(advancing, label, total, lambda read: read):
        pass


def catch_up(shared: Shared, log: EventLog, name: str, number: int) -> None:
    """Bring one version up to the head and print its receipt."""
    before = log.store.projections().version(number)
    total = log.head().position - (before.position if before else 0)
    watch(runs.catch_up(log, number), f"building {name}", total)
    after = log.store.projections().version(number)
    if before is not None and after is not None:
        render.acknowledge(runs.record_of(before, after), shared.rendering)
