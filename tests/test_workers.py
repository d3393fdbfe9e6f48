"""Workers side by side, in short; and that the checker of their histories sees each kind of broken promise."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.long.histories import (
    Counted,
    Done,
    Erase,
    Event,
    Head,
    Proposed,
    Put,
    Receipt,
    Replay,
    State,
    Steps,
    Totals,
    _accepted,
    digest_of,
    violations,
)
from tests.runner import ROOT


def events(*ids: str, erased: str = "") -> list[Event]:
    """A log of events Added in one stream, in this order, each with its position as n."""
    payload = {id_: msgspec.Raw(b"null" if id_ == erased else b'{"n":1}') for id_ in ids}
    return [Event(n, "count-0", n, id_, "Added", payload[id_], f"h{n}", id_ == erased) for n, id_ in enumerate(ids, 1)]


def put(ids: str, at: float, *told: int, until: float = 0, **fields: Any) -> Put:
    """A transaction that was asked for at a moment, and acknowledged at these positions half a second later."""
    asked = [Proposed("count-0", "Added", id_, '{"n":1}') for id_ in ids]
    receipts = [Receipt(n, "count-0", n, id_, duplicate=False) for n, id_ in zip(told, ids, strict=False)]
    return Put(began=at, ended=until or at + 0.5, operation=ids, events=asked, receipts=receipts, **fields)


def wrong(log: list[Event], *steps: Steps) -> str:
    return "\n".join(violations(log, steps))


A, B, C = put("a", 1, 1), put("b", 2, 2), put("c", 3, 3)


def test_a_history_that_can_have_been_has_no_violation() -> None:
    log = events("a", "b", "c", "d")
    killed, refused = put("de", 4, code=-9), put("x", 4, code=8)
    assert wrong(log[:3], A, B, C, killed, refused, put("y", 2.2, code=4, expect=1, until=2.6)) == ""
    reads = (
        Head(began=2.6, ended=3.2, position=2, hash="h2"),
        Head(began=2.6, ended=3.2, position=3, hash="h3"),
        State(began=2.6, ended=2.9, stream="count-0", version=2, position=2, state={"n": 2, "sum": 2}),
        Counted(began=3.6, ended=3.9, position=3, count=3, sum=3),
        Totals(began=3.6, ended=3.9, rows={"count-0": (3, 3)}),
        Replay(began=3.6, ended=3.9, first=2, last=3, digest=digest_of(log[1:3], []), erased=[]),
    )
    assert wrong(log[:3], A, B, C, *reads) == ""
    assert wrong(log, A, B, C, put("d", 4, code=-9), *reads) == ""


def test_what_was_acknowledged_and_is_lost_is_found() -> None:
    assert "b was acknowledged and is lost" in wrong(events("a"), A, B)


def test_what_is_there_twice_is_found() -> None:
    assert "the id a is there twice" in wrong(events("a", "b", "a"), A, B)


def test_what_nobody_asked_for_is_found() -> None:
    assert "asked for by nobody" in wrong(events("a", "x"), A)


def test_another_content_is_found() -> None:
    log = events("a")
    log[0].data = msgspec.Raw(b'{"n":2}')
    assert "has another content than was acknowledged" in wrong(log, A)


def test_a_wrong_place_is_found() -> None:
    assert "a was acknowledged as" in wrong(events("b", "a"), A, put("b", 1, 1))


def test_an_event_before_one_that_was_known_when_it_was_asked_for_is_found() -> None:
    late = put("b", 2, 1)
    assert "#2 was there before it was asked for" in wrong(events("b", "a"), put("a", 1, 2), late)
    assert "#2 was there before" in wrong(events("b", "a"), put("a", 1, 2), put("b", 2, code=-9))
    assert wrong(events("b", "a"), put("a", 1, 2), put("b", 1.4, 1)) == ""  # at the same time: in either order


def test_a_gap_is_found() -> None:
    log = events("a", "b", "c")
    del log[1]
    assert "position 3 is the 2th of the log" in wrong(log, A, C)


def test_two_that_expected_the_same_version_and_both_won_are_found() -> None:
    found = wrong(events("a", "b", "c"), A, put("b", 2, 2, expect=1), put("c", 2, 3, expect=1))
    assert "version 1 of count-0 was expected, and c has version 3" in found


def test_two_that_were_both_told_to_have_stored_an_event_are_found() -> None:
    assert "both were told to have stored a" in wrong(events("a"), A, put("a", 1.2, 1))


def test_a_refusal_without_a_reason_is_found() -> None:
    assert "refused, though count-0 was at version 1" in wrong(events("a"), A, put("x", 2, code=4, expect=1))
    assert "refused, though no event Asked" in wrong(events("a"), A, put("x", 2, code=4, unless=("Asked", 0)))
    assert "no other event has one of its ids" in wrong(events("a"), A, put("x", 2, code=4))


def test_a_condition_that_did_not_hold_is_found() -> None:
    assert "though an event Added stands" in wrong(events("a", "b"), A, put("b", 2, 2, unless=("Added", 0)))


@pytest.mark.parametrize("code", [4, 5, 8])
def test_what_was_refused_and_is_there_is_found(code: int) -> None:
    assert "is there and was refused" in wrong(events("a", "x"), A, put("x", 2, code=code))


def test_an_event_against_a_rule_or_with_another_schema_version_is_found() -> None:
    text = "[event.Paid]\nschema = 2\nPaid = \"new.data ->> 'n' <= 5\""
    applied = msgspec.json.encode({"text": text, "number": 1})
    kinds = (("ModelApplied", applied, 1), ("Paid", b'{"n":5}', 2), ("Taken", b'{"n":4}', 1))
    good = [Event(n, "p", n, f"e-{n}", t, msgspec.Raw(d), f"h{n}", schema=s) for n, (t, d, s) in enumerate(kinds, 1)]
    assert list(_accepted(good)) == []
    for number, change, said in (
        (1, {"data": msgspec.Raw(b'{"n":6}')}, "6 is more than 5"),
        (1, {"schema": 1}, "has schema 1, and the model's is 2"),
        (2, {"data": msgspec.Raw(b'{"n":6}')}, "6 is more than 5"),
        (0, {"data": msgspec.Raw(msgspec.json.encode({"text": text, "number": 2}))}, "is the 1th"),
    ):
        log = [msgspec.structs.replace(e, **change) if n == number else e for n, e in enumerate(good)]
        assert said in "\n".join(_accepted(log))


def test_half_a_transaction_is_found() -> None:
    assert "1 of the 2 events of a transaction" in wrong(events("a", "x"), A, put("xy", 2, code=-9))
    assert "others stand between" in wrong(events("x", "a", "y"), put("a", 1, 2), put("xy", 1, 1, 3))


def test_an_old_read_and_one_of_the_future_are_found() -> None:
    log = events("a", "b", "c")
    assert "read up to #1; the log was between #2" in wrong(log, A, B, C, Head(began=2.6, ended=2.7, position=1))
    assert "read up to #3; the log was between #2" in wrong(log, A, B, C, Head(began=2.6, ended=2.7, position=3))
    old = State(began=2.6, ended=2.7, stream="count-0", version=1, position=1, state={"n": 1, "sum": 1})
    assert "at version 1; it was between 2 and 2" in wrong(log, A, B, C, old)
    assert "there were between 2 and 2" in wrong(log, A, B, C, Totals(began=2.6, ended=2.7, rows={"count-0": (1, 1)}))


def test_a_read_that_sees_less_than_an_earlier_read_is_found() -> None:
    slow = put("a", 1, 1, until=9)
    seen, unseen = Head(began=2, ended=3, position=1), Head(began=4, ended=5, position=0)
    assert "read up to #0; the log was between #1 and #1" in wrong(events("a"), slow, seen, unseen)


def test_a_read_of_what_never_was_is_found() -> None:
    log = events("a", "b", "c")
    digest = digest_of(log[:2], [])
    for read, said in (
        (Head(began=4, ended=5, position=3, hash="other"), "the log has another"),
        (Replay(began=4, ended=5, first=1, last=3, digest=digest, erased=[]), "as the log does not have them"),
        (Counted(began=4, ended=5, position=3, count=2, sum=3), "read 2 events up to #3"),
        (State(began=4, ended=5, stream="count-0", version=3, position=3, state={"n": 3, "sum": 4}), "version 3 has"),
        (Totals(began=4, ended=5, rows={"count-0": (3, 4)}), "after 3 events it is"),
    ):
        assert said in wrong(log, A, B, C, read)


def test_a_payload_that_comes_back_or_goes_by_itself_is_found() -> None:
    gone, there = events("a", erased="a"), events("a")
    said = put("a", 1, 1)
    said.events[0].type = "Said"
    for event in (*gone, *there):
        event.type = "Said"
    erasure = Erase(began=2, ended=2.5, ids=["a"])
    assert wrong(gone, said, erasure) == ""
    assert "nobody erased it" in wrong(gone, said)
    assert "the payload was erased, and is there" in wrong(there, said, erasure)
    before = Replay(began=1.6, ended=1.9, first=1, last=1, digest=digest_of(there, []), erased=[])
    assert wrong(gone, said, erasure, before) == ""
    after = msgspec.structs.replace(before, began=3, ended=4)
    assert "read payloads that had been erased: [1]" in wrong(gone, said, erasure, after)
    early = Replay(began=1.6, ended=1.9, first=1, last=1, digest=digest_of(there, [1]), erased=[1])
    assert "payloads were gone that are there" in wrong(there, said, early)


def test_a_command_that_fails_is_found() -> None:
    assert wrong([], Done(began=0, ended=1, operation="w:1", kind="verify", wrong="exit 6")) == "w:1 verify: exit 6"


def test_workers_side_by_side_break_no_promise() -> None:
    command = [sys.executable, "-m", "tests.long.workers", "--seconds", "3", "--workers", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert ", 0 violations" in done.stdout
