"""The first event of each stream that its aggregate cannot fold is found, also if SQLite does not say which it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import MisfitError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.evolution.unfoldable import unfoldable
from esctl.log import EventLog
from esctl.states import folding
from tests.logs import IDS, fresh, hold, put

ADDED = '[aggregate.a]\nstreams = "a-*"\non.T = { add = { n = "$.v" } }\n'
COMPUTED = '[aggregate.a]\nstreams = "a-*"\non.T = { compute = { n = "json(new.data ->> \'v\')" } }\n'


def event(stream: str, value: str) -> NewEvent:
    return NewEvent(stream, "T", next(IDS), None, 0, f'{{"v":{value}}}', "{}", None)


@pytest.mark.parametrize("model", [ADDED, COMPUTED])
def test_streams_of_no_misfit_are_passed_over(log: EventLog, model: str) -> None:
    put(log, event("a-1", "1"), event("b-1", '"x"'))
    hold(log, model)
    assert list(unfoldable(log)) == []


@pytest.mark.parametrize("model", [ADDED, COMPUTED])
def test_a_misfit_is_named_with_its_aggregate(log: EventLog, model: str) -> None:
    put(log, event("a-1", "1"), event("a-1", '"x"'), event("a-1", '"y"'))
    hold(log, model)
    ((position, reason),) = unfoldable(log)
    assert (position, reason.startswith("aggregate.a cannot fold it: ")) == (2, True)


def test_an_event_that_no_upcast_fits_is_named_once_a_stream(log: EventLog) -> None:
    put(log, event("a-1", "1"), event("a-1", '"x"'), event("a-1", '"y"'), event("a-2", '"z"'), event("b-1", '"x"'))
    hold(log, '[[event.T.upcast]]\nfrom = 1\nconvert = { v = "number" }\n' + ADDED)
    assert [position for position, _ in unfoldable(log)] == [2, 4]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("12"), st.sampled_from(["1", '"x"'])), max_size=9))
def test_what_is_named_is_the_first_event_of_a_stream_up_to_which_it_cannot_be_folded(
    made: list[tuple[str, str]],
) -> None:
    with fresh() as log:
        receipts = put(log, *(event(f"a-{stream}", value) for stream, value in made))
        hold(log, COMPUTED)
        named = {position for position, _ in unfoldable(log)}
        first = set()
        for stream in {receipt.stream for receipt in receipts}:
            for receipt in (one for one in receipts if one.stream == stream):
                try:
                    folding.state(log, Query(stream=stream, until_version=receipt.version))
                except MisfitError:
                    first.add(receipt.position)
                    break
        assert named == first


ENDLESS = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"


def test_a_fold_that_runs_too_long_ends_the_search_in_its_aggregate(log: EventLog) -> None:
    put(log, event("a-1", "1"), event("a-1", "2"), event("a-2", "1"), event("b-1", '"x"'))
    other = ADDED.replace("aggregate.a", "aggregate.b").replace("a-*", "b-*")
    hold(log, f'[aggregate.a]\nstreams = "a-*"\non.T = {{ compute = {{ n = "({ENDLESS})" }} }}\n' + other)
    log.store.statements.limit(0.2)
    found = dict(unfoldable(log))
    assert list(found) == [2, 4]
    assert found[2].endswith("the streams after a-1 were not folded")
