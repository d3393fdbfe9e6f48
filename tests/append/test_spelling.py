"""A name that is new to a log and one letter away from a known one is noted."""

from __future__ import annotations

import pytest

from esctl.append import spelling
from esctl.append.writer import Writer
from esctl.archive import creation
from esctl.events.event import NewEvent
from esctl.log import EventLog
from tests.logs import IDS, hold, put

MODEL = '[aggregate.a]\nstreams = "order-*"\non.Placed.set = { a = 1 }\n'


def event(stream: str, type_: str = "Placed") -> NewEvent:
    return NewEvent(stream, type_, next(IDS), None, 0, "{}", "{}", None)


def notes(log: EventLog, *events: NewEvent) -> list[tuple[str, str]]:
    """What a new writer notes on a transaction."""
    log.notes.clear()
    with log.transaction():
        Writer(log).append(events)
    parts = (note.partition(" is new to this log, and one letter away from ") for note in log.notes)
    return [(name, known) for name, _, known in parts]


@pytest.mark.parametrize(
    ("stream", "type_", "found"),
    [
        ("acount-3", "Placed", [("the category of streams acount", "account")]),
        ("acount", "Placed", [("the category of streams acount", "account")]),
        ("account-3", "Plaecd", [("the type Plaecd", "Placed")]),
        ("acount-3", "Place", [("the category of streams acount", "account"), ("the type Place", "Placed")]),
        ("account-3", "Placed", []),
        ("account2-3", "Placed2", []),
        ("invoice-1", "Billed", []),
    ],
)
@pytest.mark.parametrize("archived", [False, True])
def test_a_new_name_one_letter_away_from_one_of_the_log_is_noted_once(
    log: EventLog, stream: str, type_: str, found: list[tuple[str, str]], *, archived: bool
) -> None:
    put(log, event("account-1"), event("account-2"))
    if archived:
        list(creation.create(log, [(1, 2)]))
    assert notes(log, event(stream, type_)) == found
    assert notes(log, event(stream, type_), event(f"{stream}4", type_)) == []


def test_a_new_name_one_letter_away_from_one_of_the_model_is_noted(log: EventLog) -> None:
    hold(log, MODEL)
    assert notes(log, event("oder-1", "Placd")) == [
        ("the category of streams oder", "order"),
        ("the type Placd", "Placed"),
    ]


def test_of_two_names_that_are_both_new_the_later_is_noted(log: EventLog) -> None:
    assert notes(log, event("zorder-1", "Placedd"), event("order-1", "Placed")) == [
        ("the category of streams order", "zorder"),
        ("the type Placed", "Placedd"),
    ]


def test_all_known_names_that_are_near_are_named(log: EventLog) -> None:
    put(log, event("order-1", "Placed"), event("order-1", "Plasced"))
    assert notes(log, event("order-1", "Plaaced")) == [("the type Plaaced", "Placed and Plasced")]


def test_types_of_the_logs_own_events_are_not_known_names(log: EventLog) -> None:
    hold(log, MODEL)
    assert notes(log, event("order-1", "ModelAppliedd")) == []


def test_names_of_a_transaction_that_was_rolled_back_are_new_again(log: EventLog) -> None:
    put(log, event("order-1"))
    with log.transaction(keep=False):
        Writer(log).append([event("oder-1")])
    assert len(notes(log, event("oder-1"))) == 1


def test_a_log_of_very_many_categories_has_none_to_compare_with(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "MAX_NAMES", 3)
    put(log, *(event(f"{name}-1") for name in ("order", "invoice", "cart", "user")))
    assert notes(log, event("oder-1")) == []
