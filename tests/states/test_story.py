"""The story of a stream is told from its states, however much of it is asked for, and however it is begun."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from esctl.errors import MisfitError, NotFoundError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding, snapshot_care
from esctl.states.story import Entry, Story, between
from tests.logs import day, event, hold, put

MODEL = """
[aggregate.account]
streams = "account-*"
initial = { balance = 0 }
on.Paid.add = { balance = "$.amount" }
on.Drawn.add = { balance = "$.amount" }

[aggregate.account.accept]
Drawn = "state ->> 'balance' + new.data ->> 'amount' >= 0"
"""


def told(log: EventLog, aggregate: str | None = None, **filters: Any) -> list[Entry]:
    with closing(Story(log, Query(stream="account-1", **filters), aggregate)) as story:
        return list(story.entries())


@pytest.fixture
def account(log: EventLog) -> EventLog:
    """Paid and drawn, of another stream between them, out of order in time; the rules came later."""
    put(log, event("account-1", "Paid", {"amount": 10}, time=day(1)), event("account-2", "Paid", {"amount": 1}))
    put(log, event("account-1", "Drawn", {"amount": -25}, time=day(4)))
    put(log, event("account-1", "Noted", {"amount": 9}, time=day(3)))
    put(log, event("account-1", "Paid", {"amount": 5}, time=day(9)))
    hold(log, MODEL)
    return log


def test_an_entry_has_the_state_before_and_after_and_what_differs(account: EventLog) -> None:
    entries = told(account)
    states = [state.state for state in folding.each(account, Query(stream="account-1"))]
    assert [entry.state for entry in entries] == states
    assert [entry.before for entry in entries] == ['{"balance":0}', *states[:-1]]
    assert [[(c.path, c.before, c.after) for c in entry.changes] for entry in entries] == [
        [("balance", "0", "10")], [("balance", "10", "-15")], [], [("balance", "-15", "-10")]
    ]  # fmt: skip


def test_an_event_that_the_rules_refuse_in_the_state_before_it_is_told_as_refused(account: EventLog) -> None:
    assert [entry.refused for entry in told(account)] == [False, True, False, False]


def test_the_rules_are_asked_about_the_state_before_an_event_not_after_it(account: EventLog) -> None:
    put(account, event("account-1", "Paid", {"amount": 20}), event("account-1", "Drawn", {"amount": -6}))
    assert [(entry.state, entry.refused) for entry in told(account, last=1)] == [('{"balance":4}', False)]


def test_elapsed_is_the_time_since_the_streams_event_before_even_if_that_is_not_shown(account: EventLog) -> None:
    days = [None, 3, -1, 6]
    seconds = [None if n is None else n * 86400 for n in days]
    assert [entry.elapsed for entry in told(account)] == seconds
    assert [entry.elapsed for entry in told(account, last=2)] == seconds[2:]


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ({"limit": 2}, [1, 2]),
        ({"limit": 0}, []),
        ({"last": 1}, [4]),
        ({"last": 9}, [1, 2, 3, 4]),
        ({"since_version": 3}, [3, 4]),
        ({"since_version": 2, "until_version": 3}, [2, 3]),
        ({"since": 4, "limit": 1}, [3]),
        ({"since_time": day(4)}, [2, 4]),
        ({"until_version": 2}, [1, 2]),
        ({"until": 2}, [1]),
        ({"since_version": 9}, []),
    ],
)  # fmt: skip
def test_a_part_of_a_story_is_told_as_in_the_whole(
    account: EventLog, filters: dict[str, Any], shown: list[int]
) -> None:
    whole = told(account)
    assert told(account, **filters) == [whole[version - 1] for version in shown]


def test_a_story_that_begins_behind_a_snapshot_is_told_as_in_the_whole(account: EventLog) -> None:
    assert snapshot_care.take(account, "account-1") is not None
    put(account, event("account-1", "Paid", {"amount": 20}, time=day(10)), event("account-1", "Noted"))
    whole = told(account)
    for last in (1, 2, 3, 6):
        assert told(account, last=last) == whole[-last:]


def test_at_a_time_later_events_are_left_out_as_in_a_state(account: EventLog) -> None:
    entries = told(account, until_time=day(3))
    assert [entry.event.version for entry in entries] == [1, 3]
    assert entries[-1].state == folding.state(account, Query(stream="account-1", until_time=day(3))).state


def test_without_an_aggregate_it_tells_what_changed_in_the_merged_payloads(log: EventLog) -> None:
    put(log, event("account-1", "A", {"a": 1, "b": 2}), event("account-1", "B", {"b": 3}))
    assert [[c.path for c in entry.changes] for entry in told(log)] == [["a", "b"], ["b"]]
    assert not any(entry.refused for entry in told(log))


def test_a_story_longer_than_a_portion_has_no_seam(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    put(log, *(event("account-1", "T", {"n": n}) for n in range(50)))
    whole = told(log)
    monkeypatch.setattr("esctl.states.story.VERSIONS", 7)
    assert told(log) == whole
    assert [json.loads(entry.state)["n"] for entry in whole] == list(range(50))


def test_asked_again_it_tells_the_events_that_came_since(account: EventLog) -> None:
    with closing(Story(account, Query(stream="account-1", last=1))) as story:
        assert [entry.event.version for entry in story.entries()] == [4]
        assert list(story.entries()) == []
        put(account, event("account-1", "Paid", {"amount": 20}, time=day(10)))
        entries = list(story.entries())
    assert [(entry.event.version, entry.elapsed, entry.state) for entry in entries] == [(5, 86400, '{"balance":10}')]


def test_events_before_one_that_cannot_be_folded_are_told_first(log: EventLog) -> None:
    put(log, event("account-1", "Paid", {"amount": 1}), event("account-1", "Paid", {"amount": "much"}))
    hold(log, MODEL)
    with closing(Story(log, Query(stream="account-1"))) as story:
        entries = story.entries()
        assert next(entries).state == '{"balance":1}'
        with pytest.raises(MisfitError) as caught:
            next(entries)
    assert caught.value.details["position"] == 2


def test_a_stream_that_is_not_there_is_not_found(account: EventLog) -> None:
    with pytest.raises(NotFoundError):
        Story(account, Query(stream="account-9"))


def test_between_two_times_are_seconds_to_the_microsecond() -> None:
    assert between("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:01.000003Z") == 1.000002
    assert between(None, day(1)) is None
