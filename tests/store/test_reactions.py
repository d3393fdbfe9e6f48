"""Reactions as rows: their places, their letters, and who may change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.errors import ConflictError
from esctl.log import EventLog
from esctl.store.reactions import LOST, PARKED, RETRY, RETRYING, Letter, Reaction, new
from tests.logs import event, put


def letter(position: int, state: str = PARKED, name: str = "r", stream: str = "s") -> Letter:
    return Letter(name, 1, stream, position, stream, state, 3, 1, "failed", "oops", "2026", None)


def stored(log: EventLog, *reactions: Reaction) -> None:
    with log.transaction():
        log.store.reactions().create(reactions)


def one(name: str = "r", **values: object) -> Reaction:
    return new(name, "{}", "log", 0, b"h")._replace(**{"saved": "2026", **values})  # type: ignore[arg-type]


@pytest.fixture
def three(log: EventLog) -> EventLog:
    put(log, *(event("s") for _ in range(3)))
    return log


def test_a_reaction_is_read_as_it_was_stored(log: EventLog) -> None:
    row = one(part=2, parts=3, token="t", rate=1.5, done="[[3,4]]", hash=b"\0\xff")
    stored(log, row, one("a"), one())
    assert log.store.reactions().all() == [one("a"), one(), row]
    assert log.store.reactions().all("r") == [one(), row]
    assert log.store.reactions().all("x") == []
    assert log.store.reactions().exist()


def test_what_is_saved_is_how_far_it_has_come_and_not_what_others_change(log: EventLog) -> None:
    stored(log, one(token="t"))
    with log.transaction():
        log.store.reactions().save(one(token="t", position=7, hash=b"7", handled=5, paused=1, definition="x"))
    (found,) = log.store.reactions().all()
    assert (found.position, found.hash, found.handled, found.paused, found.definition) == (7, b"7", 5, 0, "{}")


@pytest.mark.parametrize("token", [None, "other"])
def test_who_has_another_token_has_lost_the_reaction(log: EventLog, token: str | None) -> None:
    stored(log, one(token=token))
    with pytest.raises(ConflictError, match="lost the reaction r") as lost, log.transaction():
        log.store.reactions().save(one(token="t", position=7))
    assert lost.value.code == LOST
    assert log.store.reactions().all()[0].position == 0


def test_who_has_a_dropped_reaction_has_lost_it(log: EventLog) -> None:
    with pytest.raises(ConflictError, match="lost"), log.transaction():
        log.store.reactions().save(one(token="t"))


def test_letters_are_read_by_reaction_and_state(three: EventLog) -> None:
    store = three.store.reactions()
    with three.transaction():
        for each in (letter(3), letter(1, RETRYING), letter(2, name="q")):
            store.put(each)
    assert [(found.name, found.position) for found in store.letters()] == [("q", 2), ("r", 1), ("r", 3)]
    assert store.letters("r", 1, (PARKED,)) == [letter(3)]
    with three.transaction():
        store.put(letter(3, RETRY))
        store.remove("r", 1, "s", 1)
    assert store.letters("r") == [letter(3, RETRY)]


def test_deleting_a_reaction_deletes_its_letters(three: EventLog) -> None:
    store = three.store.reactions()
    stored(three, one(), one("q"))
    with three.transaction():
        store.put(letter(1))
        store.put(letter(1, name="q"))
        store.delete("r")
    assert [row.name for row in store.all()] == ["q"]
    assert [found.name for found in store.letters()] == ["q"]
    with three.transaction():
        store.clear()
    assert not store.exist()
    assert store.letters() == []


def test_what_handlers_wrote_of_events_is_forgotten(three: EventLog) -> None:
    store = three.store.reactions()
    stored(three, one(failed=2, error="#2 quotes it"), one("q", failed=3, error="#3"))
    with three.transaction():
        store.put(letter(2))
        store.put(letter(3))
        store.forget([1, 2])
    assert [(row.name, row.error) for row in store.all()] == [("q", "#3"), ("r", None)]
    assert [(found.error, found.stderr) for found in store.letters()] == [(None, None), ("failed", "oops")]


def test_pausing_all_ends_every_lease(log: EventLog) -> None:
    stored(log, one(token="t", holder="h 1", lease="2099", running=3))
    with log.transaction():
        log.store.reactions().pause_all()
    (found,) = log.store.reactions().all()
    assert (found.paused, found.token, found.holder, found.lease, found.running) == (1, None, None, None, 0)


def test_changes_of_a_transaction_that_is_not_kept_are_undone(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        with log.transaction(keep=False):
            log.store.reactions().create([one()])
        assert log.store.reactions().all() == []
