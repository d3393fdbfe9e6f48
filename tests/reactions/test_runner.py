"""The loop: order, retries, what becomes of a failed event, and what is saved."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import ConflictError, HandlerError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.reactions import admin
from esctl.reactions.definition import EXEC, Definition
from esctl.reactions.results import AGAIN, PARK
from esctl.reactions.runner import Runner, Settings, Stop, Summary
from esctl.store.reactions import LOST, PARKED, RETRYING, STOPPED
from tests.logs import event, fresh, put
from tests.reactions.conftest import QUICK, Run, Scripted, letters, row

PARKING = QUICK._replace(on_error="park")


def runner(
    log: EventLog, handlers: Any, settings: Settings = QUICK, said: list[str] | None = None, **filters: Any
) -> Runner:
    """Takes the reaction `r`, as a new process would."""
    definition = Definition(EXEC, "x", **filters)
    one, definition = admin.declare(log, "r", definition, start="beginning", changed=True)
    with admin.held(log, one, 0.0) as held:
        return Runner(log, held, definition, handlers, settings, tell=(said if said is not None else []).append)


def ran(log: EventLog, handlers: Any, settings: Settings = QUICK, **filters: Any) -> Summary:
    return runner(log, handlers, settings, **filters).run(Stop())


def test_each_event_is_handled_once_and_in_order(streams: EventLog) -> None:
    handlers = Scripted({})
    summary = ran(streams, handlers)
    assert handlers.started == list(range(1, 10))
    assert summary.record() == {
        "reaction": "r", "position": 9, "handled": 9, "failed": 0, "parked": 0, "skipped": 0, "appended": 0
    }  # fmt: skip
    assert (row(streams).position, row(streams).hash, row(streams).handled) == (9, streams.head().hash, 9)
    assert handlers.ended
    again = Scripted({})
    assert ran(streams, again).handled == 0
    assert again.started == []


def test_events_behind_the_head_at_the_start_are_not_waited_for(streams: EventLog) -> None:
    handlers = Scripted({})
    handlers.output = lambda _: b""
    one = runner(streams, handlers)
    put(streams, event("a"))
    assert one.run(Stop()).position == 9


def test_a_filter_moves_the_place_beyond_what_it_leaves_out(streams: EventLog) -> None:
    handlers = Scripted({})
    assert ran(streams, handlers, stream="b").position == 9
    assert handlers.started == [2, 5, 8]


def test_a_failed_event_is_tried_again_before_later_ones_of_its_stream(streams: EventLog) -> None:
    handlers = Scripted({2: [1, AGAIN], 5: [1]})
    summary = ran(streams, handlers, QUICK._replace(retries=2))
    assert (summary.handled, summary.failed) == (9, 3)
    assert [n for n in handlers.started if n in (2, 5, 8)] == [2, 2, 2, 5, 5, 8]
    assert letters(streams) == []


def test_while_one_waits_for_its_next_try_other_streams_go_on(streams: EventLog) -> None:
    handlers = Scripted({1: [1]})
    ran(streams, handlers, QUICK._replace(retries=1, backoff=0.3))
    assert handlers.started[-3:] == [1, 4, 7]


def test_the_reaction_stops_at_an_event_that_failed_for_the_last_time(streams: EventLog) -> None:
    handlers = Scripted({2: [3, 3]})
    with pytest.raises(HandlerError, match=r"stopped at #2 T in b: the handler failed with status 3") as failed:
        ran(streams, handlers, QUICK._replace(retries=1, backoff=0.2))
    assert failed.value.fix == "esctl dead-letter show r '#2'"
    assert 5 not in handlers.started
    assert letters(streams) == [("b", 2, STOPPED)]
    assert row(streams).position == 1
    done = [n for low, high in json.loads(row(streams).done) for n in range(low, high + 1)]
    assert set(done) == set(handlers.started) - {1, 2}
    again = Scripted({})
    assert ran(streams, again).position == 9
    assert sorted(again.started) == sorted({*range(1, 10)} - {*handlers.started} | {2})
    assert letters(streams) == []


def test_a_parked_event_keeps_only_its_stream_waiting(streams: EventLog) -> None:
    handlers = Scripted({2: [1]})
    summary = ran(streams, handlers, PARKING)
    assert (summary.position, summary.parked, summary.handled) == (9, 1, 6)
    assert handlers.started == [1, 2, 3, 4, 6, 7, 9]
    assert letters(streams) == [("b", 2, PARKED)]
    put(streams, event("b"), event("a"))
    later = Scripted({})
    ran(streams, later)
    assert later.started == [11]


def test_65_parks_at_once_whatever_was_chosen(streams: EventLog) -> None:
    handlers = Scripted({2: [PARK]})
    assert ran(streams, handlers, QUICK._replace(retries=5)).parked == 1
    assert handlers.started.count(2) == 1


def test_an_event_can_be_skipped(streams: EventLog) -> None:
    handlers = Scripted({2: [1]})
    summary = ran(streams, handlers, QUICK._replace(on_error="skip"))
    assert (summary.position, summary.skipped, summary.handled) == (9, 1, 8)
    assert handlers.started == list(range(1, 10))
    assert letters(streams) == []
    assert row(streams).error == "#2 T in b: failed with status 1"


def due(log: EventLog, state: str) -> None:
    with log.transaction():
        for letter in log.store.reactions().letters():
            log.store.reactions().put(letter._replace(state=state))


def test_a_letter_that_is_tried_again_is_followed_by_what_waited(streams: EventLog) -> None:
    ran(streams, Scripted({2: [1]}), PARKING)
    put(streams, event("b"))
    due(streams, "retry")
    handlers = Scripted({})
    assert ran(streams, handlers).handled == 4
    assert handlers.started == [2, 5, 8, 10]
    assert letters(streams) == []
    put(streams, event("b"))
    assert ran(streams, handlers).handled == 1


def test_a_letter_that_is_given_up_lets_what_waited_go_on(streams: EventLog) -> None:
    ran(streams, Scripted({2: [1]}), PARKING)
    due(streams, "skip")
    handlers = Scripted({})
    ran(streams, handlers)
    assert handlers.started == [5, 8]
    assert letters(streams) == []


def test_what_waits_behind_a_letter_may_fail_in_its_turn(streams: EventLog) -> None:
    ran(streams, Scripted({2: [1]}), PARKING)
    due(streams, "retry")
    handlers = Scripted({5: [1, 1]})
    ran(streams, handlers, PARKING._replace(retries=1))
    assert handlers.started == [2, 5, 5]
    assert letters(streams) == [("b", 5, PARKED)]


def test_independent_events_do_not_wait_behind_a_parked_one(streams: EventLog) -> None:
    handlers = Scripted({2: [1], 5: [1]})
    summary = ran(streams, handlers, PARKING, independent=True)
    assert (summary.handled, summary.parked) == (7, 2)
    assert letters(streams) == [("b", 2, PARKED), ("b", 5, PARKED)]
    due(streams, "retry")
    again = Scripted({})
    ran(streams, again, independent=True)
    assert sorted(again.started) == [2, 5]
    assert letters(streams) == []


def test_events_with_a_key_in_common_wait_for_each_other(streams: EventLog) -> None:
    handlers = Scripted({1: [1]}, at_once=9)
    ran(streams, handlers, PARKING, key="data ->> 'n'")
    assert handlers.started.count(1) == 1
    assert not {2, 3} & set(handlers.started)
    assert letters(streams) == [("a", 1, PARKED)]
    due(streams, "retry")
    ran(streams, again := Scripted({}), key="data ->> 'n'")
    assert again.started == [1, 2, 3]


def test_several_handlers_run_at_a_time(streams: EventLog) -> None:
    most = 0

    class Counting(Scripted):
        def start(self, item: Any) -> None:
            nonlocal most
            super().start(item)
            most = max(most, self.running)

    assert ran(streams, Counting({}, at_once=3)).handled == 9
    assert most == 3


def test_when_all_fails_it_stops_for_a_while(streams: EventLog) -> None:
    handlers = Scripted({n: [1, 1, 1] for n in range(1, 10)})
    with pytest.raises(HandlerError, match="2 events failed one after the other"):
        ran(streams, handlers, QUICK._replace(breaker=2, retries=3, backoff=60))
    assert handlers.started == [1, 2]
    assert (row(streams).failing, row(streams).closed_until is not None) == (2, True)
    assert letters(streams) == [("a", 1, RETRYING), ("b", 2, RETRYING)]
    later = Scripted({})  # another run lets one through at once
    assert ran(streams, later, QUICK._replace(breaker=2)).handled == 9
    assert (row(streams).failing, row(streams).closed_until) == (0, None)


def test_attempts_are_counted_on_after_a_stop(streams: EventLog) -> None:
    stop = Stop()

    class Stopping(Scripted):
        def start(self, item: Any) -> None:
            super().start(item)
            stop.asked = 1

    runner(streams, Stopping({1: [1]}), QUICK._replace(retries=3, backoff=60)).run(stop)
    (letter,) = streams.store.reactions().letters()
    assert (letter.state, letter.attempts, letter.next_try is not None) == (RETRYING, 1, True)
    seen = []

    class Seeing(Scripted):
        def start(self, item: Any) -> None:
            seen.append((item.position, item.attempts))
            super().start(item)

    with pytest.raises(HandlerError):
        ran(streams, Seeing({1: [1, 1, 1]}), QUICK._replace(retries=3))
    assert [attempts for position, attempts in seen if position == 1] == [1, 2, 3]


def test_a_stop_starts_nothing_more_and_saves_what_is_done(streams: EventLog) -> None:
    stop = Stop()

    class Stopping(Scripted):
        def start(self, item: Any) -> None:
            super().start(item)
            if item.position == 4:
                stop.asked = 1

    handlers = Stopping({})
    assert runner(streams, handlers).run(stop).position == 4
    assert row(streams).lease is None
    assert ran(streams, Scripted({})).handled == 5


def test_a_second_stop_does_not_wait_for_handlers(streams: EventLog) -> None:
    stop = Stop()

    class Hanging(Scripted):
        def wait(self, _: float) -> list[Any]:
            stop.asked += 1
            return []

    handlers = Hanging({})
    assert runner(streams, handlers).run(stop).position == 0
    assert handlers.ended


def test_a_paused_reaction_starts_nothing_more(streams: EventLog, log_path: Path) -> None:
    class Pausing(Scripted):
        def start(self, item: Any) -> None:
            super().start(item)
            if item.position == 2:
                with EventLog(log_path, write=True) as other:
                    admin.set_paused(other, "r", paused=True)

    summary = ran(streams, Pausing({}))
    assert 2 <= summary.position < 9
    assert row(streams).paused == 1


def test_who_has_lost_the_reaction_does_nothing_more(streams: EventLog, log_path: Path) -> None:
    class Losing(Scripted):
        def start(self, item: Any) -> None:
            super().start(item)
            if item.position == 3:
                with EventLog(log_path, write=True) as other, other.transaction():
                    one = row(other)
                    other.store.reactions().replace(one._replace(token="other"))

    handlers = Losing({})
    handlers.output = lambda item: json.dumps({"type": f"U{item.position}"}).encode()
    with pytest.raises(ConflictError, match="lost") as lost:
        ran(streams, handlers, append=True, types=("T",))
    assert lost.value.code == LOST
    assert row(streams).position < 3
    assert all(sealed.event.type != "U3" for sealed in streams.read(Query()))


def test_a_process_that_was_halted_beyond_its_lease_asks_first(
    streams: EventLog, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = Scripted({})
    one = runner(streams, handlers)
    streams.store.changed()
    with EventLog(log_path, write=True) as other, other.transaction():
        other.store.reactions().replace(row(other)._replace(token="other"))
    monkeypatch.setattr(streams.store, "changed", lambda: False)  # as if the look had been just before
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    with pytest.raises(ConflictError, match="lost"):
        one.run(Stop())
    assert handlers.started == []


# What handlers print


def test_what_handlers_print_is_appended_with_their_place(streams: EventLog) -> None:
    handlers = Scripted({})
    handlers.output = lambda item: json.dumps({"type": "U", "data": item.position}).encode()
    summary = ran(streams, handlers, append=True, types=("T",))
    assert (summary.appended, summary.position) == (9, 9)
    made = [json.loads(sealed.event.data) for sealed in streams.read(Query(types=("U",)))]
    assert sorted(made) == list(range(1, 10))
    assert ran(streams, handlers, append=True, types=("T",)).appended == 0


def test_a_handler_whose_events_are_refused_has_failed(streams: EventLog) -> None:
    handlers = Scripted({})
    handlers.output = lambda item: (
        b'{"type":"U","expect":"none"}' if item.position == 2 else b'{"type":"U","stream":"x"}'
    )
    said: list[str] = []
    one = runner(streams, handlers, PARKING, said, append=True, types=("T",))
    summary = one.run(Stop())
    assert (summary.appended, summary.parked, summary.handled) == (6, 1, 6)
    assert letters(streams) == [("b", 2, PARKED)]
    assert "printed what is refused: stream b is at version 3, expected none" in said[0]


def test_what_cannot_be_parsed_is_a_failure_too(streams: EventLog) -> None:
    handlers = Scripted({})
    handlers.output = lambda _: b"no json"
    with pytest.raises(HandlerError, match="printed what is refused"):
        ran(streams, handlers, append=True, types=("T",))
    assert streams.head().position == 9


@pytest.mark.parametrize("on_error", ["stop", "park", "skip"])
def test_an_event_that_would_cause_itself_is_not_tried_again(streams: EventLog, on_error: str) -> None:
    handlers = Scripted({})
    handlers.output = lambda item: json.dumps({"type": "T" if item.position == 2 else "U"}).encode()
    one = runner(streams, handlers, Settings(5, 10.0, on_error), append=True, types=("T",))
    if on_error == "stop":
        with pytest.raises(HandlerError, match="that the reaction itself is for") as failed:
            one.run(Stop())
        assert "it was tried once" in failed.value.why
    else:
        one.run(Stop())
    assert handlers.started.count(2) == 1
    assert one.summary.failed == 1
    assert letters(streams) == {"stop": [("b", 2, STOPPED)], "park": [("b", 2, PARKED)], "skip": []}[on_error]


# Laws


@given(
    st.lists(st.sampled_from("abcd"), max_size=25),
    st.dictionaries(st.integers(1, 25), st.lists(st.sampled_from([1, AGAIN, PARK]), max_size=3), max_size=8),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from(["park", "skip", "stop"]),
)
def test_whatever_fails_each_event_is_handled_parked_or_skipped_and_streams_stay_in_order(
    names: list[str], failing: dict[int, list[int]], at_once: int, independent: bool, on_error: str
) -> None:
    with fresh() as log:
        put(log, *(event(name) for name in names))
        handlers = Scripted(failing, at_once)
        settings = QUICK._replace(retries=1, on_error=on_error)
        for _ in range(100):
            try:
                ran(log, handlers, settings, independent=independent)
            except HandlerError:
                continue
            if not letters(log):
                break
            due(log, "retry")
        assert letters(log) == []
        finished = list(dict.fromkeys(reversed(handlers.started)))[::-1]  # each where it was tried last
        assert sorted(finished) == list(range(1, len(names) + 1))
        assert row(log).position == len(names)
        if not independent:
            for name in set(names):
                mine = [n for n in finished if names[n - 1] == name]
                assert mine == sorted(mine)


def test_the_rate_is_events_a_second(run: Run, streams: EventLog) -> None:
    run("true")
    assert row(streams).rate == 0.0


def test_what_is_done_is_saved_whatever_ends_it(streams: EventLog) -> None:
    class Breaking(Scripted):
        def start(self, item: Any) -> None:
            if item.position == 4:
                raise KeyboardInterrupt
            super().start(item)

    handlers = Breaking({})
    with pytest.raises(KeyboardInterrupt):
        ran(streams, handlers)
    assert (row(streams).position, handlers.ended) == (3, True)
