"""Rules: asked of every new event, in the transaction that appends it, against the state with all before it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl.append import rules
from esctl.append.expectations import RunExpectation
from esctl.errors import HandlerError, RefusedError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.evolution.plan import Draft
from esctl.log import EventLog
from esctl.model.checks import checked
from esctl.states import folding
from tests.conftest import ESCTL, Esctl, writer_of
from tests.logs import IDS, hold, put, refused

ACCOUNT = """
[aggregate.account]
streams = "account-*"
initial = { balance = 0 }
[aggregate.account.on.Paid]
add = { balance = "$.amount" }
[aggregate.account.on.Taken]
subtract = { balance = "$.amount" }
[aggregate.account.accept]
Taken = { rule = "new.data ->> 'amount' <= state ->> 'balance'", message = "no more is taken than is there" }
"""


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """A log whose accounts cannot be overdrawn."""
    with EventLog(log_path, write=True) as log:
        hold(log, ACCOUNT)
        yield log


def event(stream: str, type_: str, amount: object, *, schema: int = 0) -> NewEvent:
    return NewEvent(stream, type_, next(IDS), None, schema, json.dumps({"amount": amount}), "{}", None)


def paid(amount: object, stream: str = "account-1") -> NewEvent:
    return event(stream, "Paid", amount)


def taken(amount: object, stream: str = "account-1") -> NewEvent:
    return event(stream, "Taken", amount)


def put_in_batches(log: EventLog, *batches: list[NewEvent]) -> None:
    """Append several batches in one transaction."""
    with log.transaction():
        for batch in batches:
            writer_of(log).append(batch)


def balance(log: EventLog, stream: str = "account-1") -> object:
    return json.loads(folding.state(log, Query(stream=stream)).state)["balance"]


# What is asked


def test_an_event_that_its_state_accepts_is_stored(log: EventLog) -> None:
    put(log, paid(10))
    put(log, taken(10))
    assert balance(log) == 0


def test_an_event_that_its_state_does_not_accept_leaves_nothing_of_its_batch(log: EventLog) -> None:
    put(log, paid(10))
    refused(log, paid(5), taken(16), paid(1))
    assert balance(log) == 10


def test_a_refusal_names_the_event_its_rule_the_message_and_the_state(log: EventLog) -> None:
    put(log, paid(10))
    asked = taken(16)
    error = refused(log, paid(5), asked)
    assert error.what == "Taken in account-1 is refused: no more is taken than is there"
    assert error.details == {
        "index": 1,
        "stream": "account-1",
        "type": "Taken",
        "id": asked[2],
        "aggregate": "account",
        "rule": "new.data ->> 'amount' <= state ->> 'balance'",
        "message": "no more is taken than is there",
        "state": '{"balance":15}',
    }


def test_rules_see_the_events_before_in_the_same_batch(log: EventLog) -> None:
    put(log, paid(3), taken(2), taken(1))
    assert refused(log, paid(2), taken(1), taken(2)).details["index"] == 2


def test_every_stream_of_a_batch_is_judged_by_its_own_state(log: EventLog) -> None:
    put(log, paid(5), taken(3, "elsewhere-1"), paid(7, "account-2"), taken(7, "account-2"), taken(5))
    assert refused(log, paid(1), taken(1, "account-2")).details["stream"] == "account-2"


def test_streams_without_an_aggregate_are_not_judged(log: EventLog) -> None:
    put(log, taken(99, "elsewhere-1"))


def test_types_without_a_rule_are_accepted(log: EventLog) -> None:
    put(log, event("account-1", "Renamed", "x"))


@pytest.mark.parametrize(
    ("rule", "accepted"),
    [("1", True), ("0", False), ("null", False), ("''", False), ("'1x'", True), ("'x'", False), ("0.5", True),
     ("new.data ->> 'missing'", False), ("new.data ->> 'amount'", True), ("state ->> 'none' is null", True),
     ("1 -- said in a comment", True)],
)  # fmt: skip
def test_a_rule_holds_where_sqlite_takes_it_for_true(log: EventLog, rule: str, accepted: bool) -> None:
    hold(log, f'[aggregate.a]\nstreams = "a-*"\naccept.T = "{rule}"\n')
    if accepted:
        put(log, event("a-1", "T", 1))
    else:
        assert refused(log, event("a-1", "T", 1)).details["message"] == "the state does not accept T"


def test_a_star_is_the_rule_of_every_type_that_is_not_named(log: EventLog) -> None:
    hold(log, '[aggregate.a]\nstreams = "a-*"\naccept = { T = "1", "*" = "0" }\n')
    put(log, event("a-1", "T", 1))
    assert refused(log, event("a-1", "U", 1)).details["rule"] == "0"


def test_an_event_that_cannot_be_folded_is_refused_by_its_place(log: EventLog) -> None:
    put(log, paid(1))
    error = refused(log, paid(1), paid("much"))
    assert (error.details["index"], error.details["stream"]) == (1, "account-1")


@pytest.mark.parametrize(
    "rule", ["abs(new.data ->> 'amount') > 0", "json_extract('{}', new.data ->> 'amount') is null"]
)
def test_a_rule_that_fails_on_an_event_refuses_it(log: EventLog, rule: str) -> None:
    hold(log, f'[aggregate.a]\nstreams = "a-*"\naccept.T = "{rule}"\n')
    before = log.head()
    with pytest.raises(RefusedError) as caught:
        put(log, event("a-1", "U", 1), event("a-1", "T", -(2**63)))
    assert caught.value.details["stream"] == "a-1"
    assert log.head() == before


def test_a_rule_that_runs_away_is_stopped(log: EventLog) -> None:
    loop = "(select count(*) from json_each(?) a, json_each(?) b, json_each(?) c, json_each(?) d) > 0"
    numbers = json.dumps(list(range(300)), separators=(",", ":"))
    hold(log, f'[aggregate.a]\nstreams = "a-*"\naccept.T = """{loop.replace("?", "new.data ->> 0")}"""\n')
    log.store.statements.limit(0.2)
    before = log.head()
    with pytest.raises(HandlerError, match=r"0\.2 seconds"), log.transaction():
        writer_of(log).append([NewEvent("a-1", "T", "e-1", None, 0, json.dumps([numbers]), "{}", None)])
    assert log.head() == before


# Duplicates, expectations


def test_a_duplicate_is_not_asked_again(log: EventLog) -> None:
    put(log, paid(10))
    once = taken(10)
    first = put(log, once)
    assert put(log, once) == [(*first[0][:4], True)]
    assert balance(log) == 0


def test_new_events_among_duplicates_are_judged(log: EventLog) -> None:
    batch = [paid(10), taken(4)]
    put(log, *batch)
    put(log, *batch, taken(6))
    assert refused(log, *batch, taken(1)).details["index"] == 2


def test_a_duplicate_within_a_batch_counts_once(log: EventLog) -> None:
    put(log, paid(10))
    once = taken(6)
    put(log, once, once)
    assert balance(log) == 4


def test_rules_hold_beside_what_a_run_expects(log: EventLog) -> None:
    put(log, paid(10))
    with log.transaction():
        writer_of(log).append([taken(10)], RunExpectation(1))
    with pytest.raises(RefusedError), log.transaction():
        writer_of(log).append([taken(10)], RunExpectation(2))


# Transactions, other processes


def test_rules_see_earlier_batches_of_the_same_transaction(log: EventLog) -> None:
    put_in_batches(log, [paid(10)], [taken(4)], [taken(6)])
    with pytest.raises(RefusedError):
        put_in_batches(log, [paid(3)], [taken(3)], [taken(1)])
    assert balance(log) == 0


def test_what_was_rolled_back_is_no_part_of_any_state(log: EventLog) -> None:
    put(log, paid(10))
    with pytest.raises(RefusedError):
        put_in_batches(log, [paid(90), taken(50)], [taken(51)])
    with log.transaction(keep=False):
        writer_of(log).append([paid(90), taken(50)])
    refused(log, taken(11))
    put(log, taken(10))


def test_after_a_refusal_the_log_judges_on(log: EventLog) -> None:
    put(log, paid(10))
    refused(log, taken(11))
    put(log, taken(10))
    refused(log, taken(1))


def test_what_another_process_appended_meanwhile_counts(log: EventLog, log_path: Path) -> None:
    put(log, paid(10))
    with EventLog(log_path, write=True) as other:
        put(other, taken(8))
    refused(log, taken(3))
    put(log, taken(2))


def test_a_model_that_another_process_applied_meanwhile_holds(log: EventLog, log_path: Path) -> None:
    put(log, paid(10), taken(1))
    with EventLog(log_path, write=True) as other:
        hold(other, ACCOUNT.replace("<= state", "< state"))
    refused(log, taken(9))
    put(log, taken(8))


def test_a_model_that_was_rolled_back_is_forgotten(log: EventLog, log_path: Path) -> None:
    stricter, looser = (ACCOUNT.replace("<= state", other) for other in ("< 0 * state", "< 10 + state"))
    with log.transaction(keep=False):
        held = log.definitions
        model, _ = checked(stricter, {})
        _apply(log, Draft(stricter, {}, model))
        assert log.definitions is not held
    with EventLog(log_path, write=True) as other:
        hold(other, looser)
    put(log, taken(5))
    refused(log, taken(6))


def _apply(log: EventLog, draft: Draft) -> None:
    """Apply a draft within the open transaction."""
    from esctl.model.applied import Applied, record

    applied = Applied(2, draft.fingerprint, 0, "", None, draft.text, {}, {})
    log.apply(record(applied))


@pytest.mark.parametrize("limit", ["MAX_STATE_BYTES", "EVENTS_PER_FEED"])
def test_many_streams_are_judged_by_their_own_states(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(rules, limit, 3)
    streams = [f"account-{n}" for n in range(8)]
    for stream in streams:
        put(log, paid(10, stream))
    for _ in range(2):
        for stream in streams:
            put(log, taken(5, stream))
    for stream in streams:
        refused(log, taken(1, stream))


# Upcasts


def test_an_event_that_is_split_is_judged_as_its_parts(log: EventLog) -> None:
    split = """
[[event.Moved.upcast]]
from = 1
split = [ { type = "Paid", schema = 1 }, { type = "Taken", schema = 1, set = { amount = "$.fee" } } ]
"""
    hold(log, ACCOUNT + split)
    whole = NewEvent("account-1", "Moved", "m-1", None, 1, '{"amount":5,"fee":3}', "{}", None)
    put(log, whole)
    assert balance(log) == 2
    error = refused(log, NewEvent("account-1", "Moved", "m-2", None, 1, '{"amount":1,"fee":4}', "{}", None))
    assert (error.details["type"], error.details["state"]) == ("Taken", '{"balance":3}')


def test_an_event_under_an_old_name_is_judged_as_what_it_is_read_as(log: EventLog) -> None:
    renamed = '[[event.Withdrawn.upcast]]\nfrom = 1\ntype = "Taken"\nschema = 1\nrename = { sum = "amount" }\n'
    hold(log, ACCOUNT + renamed)
    put(log, paid(10))
    old = NewEvent("account-1", "Withdrawn", "w-1", None, 1, '{"sum":11}', "{}", None)
    assert refused(log, old).details["rule"] == "new.data ->> 'amount' <= state ->> 'balance'"
    put(log, NewEvent("account-1", "Withdrawn", "w-2", None, 1, '{"sum":10}', "{}", None))
    assert balance(log) == 0


def test_a_hidden_event_is_not_judged(log: EventLog) -> None:
    hold(log, ACCOUNT + "[[event.Taken.upcast]]\nfrom = 1\ndrop = true\n")
    put(log, taken(5))
    assert balance(log) == 0


# Left unasked


def test_rules_can_be_left_unasked_and_hold_again_after(log: EventLog) -> None:
    put(log, paid(1))
    writer_of(log).asks_rules = False
    put(log, taken(5))
    writer_of(log).asks_rules = True
    assert balance(log) == -4
    refused(log, taken(1))
    put(log, paid(5), taken(1))


def test_a_receipt_says_that_rules_were_left_unasked(esctl: Esctl, log: EventLog, log_path: Path) -> None:
    log.close()
    done = esctl("-l", str(log_path), "append", "account-1", "Taken", '{"amount":1}', "--no-rules")
    assert (done.returncode, json.loads(done.stdout)["rules"]) == (0, False)


# Snapshots by policy


@pytest.mark.parametrize(
    ("policy", "batches", "versions"),
    [
        ("{ every = 2 }", [1, 1, 1, 1, 1], [4, 2]),
        ("{ every = 2 }", [5, 1], [5]),
        ("{ every = 3 }", [2, 2, 2], [4]),
        ('{ on = ["Taken"] }', [1, 2], [3, 1]),
        ('{ on = ["Other"] }', [3], []),
    ],
)
def test_states_are_kept_where_the_policy_asks(
    log: EventLog, policy: str, batches: list[int], versions: list[int]
) -> None:
    hold(log, ACCOUNT.replace("initial", f"snapshot = {policy}\ninitial"))
    for size in batches:
        put(log, *(taken(0) for _ in range(size)))
    assert [row[2] for row in log.store.snapshots().of("account-1")] == versions
    found = folding.state(log, Query(stream="account-1"))
    assert (found.snapshot, found.version) == (versions[0] if versions else None, sum(batches))


def test_what_is_rolled_back_leaves_no_snapshot(log: EventLog) -> None:
    hold(log, ACCOUNT.replace("initial", "snapshot = { every = 1 }\ninitial"))
    with log.transaction(keep=False):
        writer_of(log).append([paid(1)])
    with pytest.raises(RefusedError):
        put_in_batches(log, [paid(1)], [taken(2)])
    assert list(log.store.snapshots().of()) == []


# Two processes at once

ROUNDS = 10  # of two processes each


def _race(log_path: Path, *arguments: str) -> list[tuple[int, str, str]]:
    """Run the same command twice at once; exit code, stdout and stderr of both."""
    command = [ESCTL, *arguments, "-l", str(log_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    return [(process.returncode, *output) for process, output in zip(both, outputs, strict=True)]


def test_of_two_processes_that_do_the_same_step_one_succeeds_and_the_other_learns_why(
    log: EventLog, log_path: Path
) -> None:
    put(log, *(paid(1, f"account-{n}") for n in range(ROUNDS)))
    log.close()
    for n in range(ROUNDS):
        step = ["append", f"account-{n}", "Taken", '{"amount":1}']
        expecting = ["--expect", "1"] if n % 2 else []
        told = ["--error-format", "json"] if n % 5 == 0 else []
        done = sorted(_race(log_path, *step, *expecting, *told))
        assert [code for code, _, _ in done] == [0, 4 if expecting else 5]
        assert json.loads(done[0][1]) | {"id": "", "position": 0} == {
            "position": 0, "stream": f"account-{n}", "version": 2, "id": "", "duplicate": False
        }  # fmt: skip
        assert done[1][1] == ""
        if told:
            _decidable(json.loads(done[1][2].splitlines()[-1]), f"account-{n}", expecting=bool(expecting))


def _decidable(error: dict[str, Any], stream: str, *, expecting: bool) -> None:
    """What a script has to know to go on."""
    assert error["stream"] == stream
    if expecting:
        assert (error["error"], error["exit"], error["expected"], error["actual"]) == ("conflict", 4, 1, 2)
    else:
        assert (error["error"], error["exit"], error["type"]) == ("refused", 5, "Taken")
        assert error["message"] == "no more is taken than is there"
        assert json.loads(error["state"]) == {"balance": 0}


def test_an_event_that_steps_cannot_take_is_refused_with_the_place_in_the_model(log: EventLog) -> None:
    for events in ([paid("x")], [paid(1), taken(1), paid("x"), paid(2)]):
        error = refused(log, *events)
        assert error.details["field"] == "aggregate.account.on.Paid.add.balance"
        assert error.why == "aggregate.account.on.Paid.add.balance fails on it"
