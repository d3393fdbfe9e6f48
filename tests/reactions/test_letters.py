"""Letters of a running reaction."""

from __future__ import annotations

from esctl.log import EventLog
from esctl.reactions.items import Item, Line
from esctl.reactions.letters import Letters
from esctl.reactions.order import Lanes
from esctl.store.reactions import PARKED, RETRY, RETRYING, SKIP, STOPPED, Letter, new


def item(position: int, stream: str = "a", *, letter: bool = False) -> Item:
    one = Item(b"{}", Line(position, stream, 1, f"e{position}", "T", 1, "", ""), stream)
    one.letter = letter
    return one


def letter(position: int, state: str, stream: str = "a", attempts: int = 1) -> Letter:
    return Letter("r", 1, stream, position, stream, state, attempts, 1, "failed", "", "2026", None)


def opened(log: EventLog, *stored: Letter, independent: bool = False) -> Letters:
    with log.transaction():
        for one in stored:
            log.store.reactions().put(one)
    return Letters(log.store.reactions(), new("r", "", "", 0, b""), independent=independent)


def saved(log: EventLog, letters: Letters) -> list[tuple[str, int, str]]:
    with log.transaction():
        letters.save()
    return [(one.stream, one.position, one.state) for one in log.store.reactions().letters()]


def test_attempts_go_on_where_a_stop_interrupted_them(streams: EventLog) -> None:
    letters = opened(streams, letter(1, RETRYING, attempts=2), letter(2, STOPPED, "b", attempts=6))
    assert letters.tried(item(1)) == (2, 2)
    assert letters.tried(item(2, "b")) == (6, 0)  # all retries were used up: it begins anew
    assert letters.tried(item(3, "c")) == (0, 0)
    letters.drop(item(1))
    assert saved(streams, letters) == [("b", 2, STOPPED)]


def test_only_a_parked_event_blocks_its_stream(streams: EventLog) -> None:
    letters = opened(streams, letter(1, RETRYING), letter(2, PARKED, "b"), letter(3, SKIP, "c"))
    assert [letters.block(name) for name in "abc"] == [False, True, True]


def test_a_letter_moves_on_until_nothing_waits_behind_it(streams: EventLog) -> None:
    letters = opened(streams, letter(1, RETRY))
    (due,) = letters.to_read(Lanes())
    assert not letters.is_behind(due)
    letters.advance(item(1, letter=True))
    letters.advance(item(4, letter=True))
    (due,) = letters.to_read(Lanes())
    assert (due.position, letters.is_behind(due), letters.end(due, 9)) == (4, True, 9)
    assert saved(streams, letters) == [("a", 4, SKIP)]
    letters.forget(due)
    assert (saved(streams, letters), letters.block("a"), letters.are_due) == ([], False, False)


def test_an_event_behind_a_letter_that_fails_is_parked_in_its_place(streams: EventLog) -> None:
    letters = opened(streams, letter(1, RETRY))
    letters.advance(item(1, letter=True))
    letters.put(letter(4, RETRYING), item(4, letter=True))
    assert saved(streams, letters) == [("a", 4, RETRY)]
    letters.park(letter(4, ""), item(4, letter=True))
    assert (saved(streams, letters), letters.are_due, letters.block("a")) == ([("a", 4, PARKED)], False, True)


def test_what_others_ask_for_is_noticed(streams: EventLog) -> None:
    letters = opened(streams, letter(1, PARKED), letter(2, PARKED, "b"))
    assert not letters.are_due
    with streams.transaction():
        streams.store.reactions().put(letter(2, SKIP, "b"))
    letters.look()
    assert [one.stream for one in letters.to_read(Lanes())] == ["b"]


def test_independent_letters_block_nothing_and_end_by_themselves(streams: EventLog) -> None:
    letters = opened(streams, letter(1, PARKED), letter(4, RETRY), independent=True)
    assert not letters.block("a")
    (due,) = letters.to_read(Lanes())
    assert (due.position, letters.end(due, 9)) == (4, 4)
    letters.advance(item(4, letter=True))
    letters.park(letter(7, ""), item(7))
    assert saved(streams, letters) == [("a", 1, PARKED), ("a", 7, PARKED)]
