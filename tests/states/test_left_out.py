"""A state at a time tells how many versions it leaves out before the one that it names."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.events.query import Query
from esctl.events.system import EVENT_LOST
from esctl.log import EventLog
from esctl.states.left_out import notes
from esctl.upkeep import erasure
from tests.conftest import Esctl
from tests.logs import day, event, fresh, put


def note(log: EventLog, query: Query, aggregate: str | None = None) -> str:
    return "; ".join(notes(log, query, aggregate))


def test_versions_that_happened_after_a_later_one_are_counted(shop: EventLog) -> None:
    assert note(shop, Query(stream="order-1", until_time=day(4))) == (
        f"1 version of order-1 happened after {day(4)} and is left out, but later versions are not"
    )
    at_4 = Query(stream="order-1", until_time=day(4))
    for changes in ({"until_time": None}, {"until_time": day(5)}, {"until_time": day(2)}, {"until_version": 2}):
        assert note(shop, at_4.replace(**changes)) == ""


def test_all_streams_of_an_aggregate_are_counted_together(shop: EventLog) -> None:
    put(
        shop, event("order-3", "Paid", {"amount": 1}, time=day(9)), event("order-3", "Paid", {"amount": 1}, time=day(8))
    )
    put(
        shop, event("order-3", "Paid", {"amount": 1}, time=day(1)), event("x-1", time=day(9)), event("x-1", time=day(1))
    )
    assert note(shop, Query(until_time=day(4)), "order") == (
        f"3 versions of 2 streams happened after {day(4)} and are left out, but later versions are not"
    )


def test_events_that_were_lost_by_damage_are_counted_up_to_the_end(log: EventLog) -> None:
    put(log, *(event(stream, type_) for stream in ("a", "b") for type_ in ("T", EVENT_LOST, "T", EVENT_LOST)))
    assert note(log, Query(stream="a")) == ""  # a type may have any name
    list(erasure.erase(log, [2, 4, 6], "damage"))
    assert note(log, Query(stream="a")) == "2 events of a were lost by damage"
    assert note(log, Query(stream="a", until=3)) == "1 event of a was lost by damage"
    assert note(log, Query(stream="a", until_version=1)) == ""
    assert note(log, Query()) == "3 events of 2 streams were lost by damage"
    list(creation.create(log, [(1, 5)]))
    assert note(log, Query(stream="a")) == "2 events of a were lost by damage"


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=10), st.integers(1, 9), st.data())
def test_the_number_is_what_the_version_lacks(events: list[tuple[str, int]], n: int, data: st.DataObject) -> None:
    with fresh() as log:
        put(log, event("a", time=day(5)), *(event(stream, time=day(moment)) for stream, moment in events))
        until = data.draw(st.integers(0, len(events)))
        list(creation.create(log, [(1, cut)] if (cut := data.draw(st.integers(0, len(events)))) else []))
        query = Query(stream="a", until_time=day(n), until=until)
        versions = [event.version for event, _, _ in log.read(query)]
        missing = versions[-1] - len(versions) if versions else 0
        assert note(log, query).partition(" version")[0] == (str(missing) if missing else "")


COMMANDS: list[Callable[[str], list[str]]] = [
    lambda at: ["state", "s", "--until", at],
    lambda at: ["state", "s", "--until", at, "--each"],
    lambda at: ["diff", "s", "--from", at],
    lambda at: ["bisect", "s", "--when", "version = 3", "--until", at],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_says_so_on_stderr_unless_it_is_to_be_quiet(
    esctl: Esctl, command: Callable[[str], list[str]]
) -> None:
    esctl("init")
    lines = [{"stream": "s", "type": "T", "time": day(n), "data": {"n": n}} for n in (1, 5, 3)]
    assert esctl("append", input="\n".join(map(json.dumps, lines))).returncode == 0
    said = f"note: 1 version of s happened after {day(3)} and is left out, but later versions are not\n"
    done = esctl(*command(day(3)))
    assert said in done.stderr
    assert done.stdout == esctl(*command(day(3)), "-q").stdout
    assert "note" not in esctl(*command(day(3)), "-q").stderr
    assert "note" not in esctl(*command(day(5))).stderr
