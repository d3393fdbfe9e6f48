"""Where single events are: by the time at which they were recorded, by id, by version."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.store.store import Store
from tests.stores import commit, event, new_log, replayed


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 3), max_size=8))
def test_position_at_is_the_newest_event_recorded_at_or_before(sizes: list[int]) -> None:
    with new_log() as connect:
        store = connect()
        for size in sizes:
            commit(store, *[event() for _ in range(size)])
        events = replayed(store)
        moments = {e[7] for e in events}
        just_before = {moment[:-1] for moment in moments}  # sorts directly before the moment: it lacks its last letter
        for moment in (*moments, *just_before, "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"):
            newest = max((e[0] for e in events if e[7] <= moment), default=0)
            assert store.places().position_at(moment) == newest
            assert replayed(store, as_of=moment) == [e for e in events if e[0] <= newest]


def test_position_at_of_an_empty_log_is_nought(store: Store) -> None:
    assert store.places().position_at("9999-12-31T23:59:59.999999Z") == 0


@pytest.mark.parametrize("id_", ["plain-1 0", 'quo"te-1 1', "it's-1 4"])
def test_an_event_is_found_by_its_id(mixed: Store, id_: str) -> None:
    assert mixed.places().find(id_) == next(e[0] for e in replayed(mixed) if e[3] == id_)


def test_an_id_that_no_event_has_is_found_nowhere(mixed: Store) -> None:
    assert mixed.places().find("plain-1 77") == 0


def test_a_version_is_found_by_its_position_and_the_position_by_the_version(mixed: Store) -> None:
    places = mixed.places()
    for e in replayed(mixed):
        assert places.version_until(e.stream, e.position) == e.version
        assert places.version_until(e.stream, e.position - 1) == e.version - 1
        assert (places.event_at(e.stream, e.version) or (0,))[0] == e.position
        assert places.event_at("nothing", e.version) is None
