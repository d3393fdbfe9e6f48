"""What tests do to a log: append events to it, apply a model, or change its file behind its back."""

from __future__ import annotations

from esctl.events.event import NewEvent, Receipt, new_ids
from esctl.evolution.plan import Draft, apply
from esctl.log import EventLog
from esctl.model.checks import checked
from tests.conftest import writer_of

IDS = new_ids()


def put(log: EventLog, *events: NewEvent) -> list[Receipt]:
    """Append events in one transaction."""
    with log.transaction():
        return writer_of(log).append(events)


def hold(log: EventLog, text: str) -> None:
    """Apply a model."""
    model, problems = checked(text, {})
    assert problems == []
    apply(log, Draft(text, {}, model), log.definitions.position)
