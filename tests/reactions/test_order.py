"""The order of events, and what of them is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.reactions import order
from esctl.reactions.items import Item, Line
from esctl.reactions.order import Lanes, Window


def item(position: int, key: str = "a", part: int = 0, size: int = 1) -> Item:
    return Item(b"x" * size, Line(position, key, 1, f"id{position}", "T", 1, "", "", part=part), key)


def taken(lanes: Lanes) -> Iterator[Item]:
    while (found := lanes.take()) is not None:
        yield found


# What is done


def test_all_that_was_read_is_done_up_to_the_first_event_that_is_not() -> None:
    window = Window(10)
    items = [item(12), item(15), item(17)]
    assert window.add(items, 20) == items
    assert (window.prefix, window.reached, window.beyond()) == (11, 20, [])
    window.done(items[1])
    assert (window.prefix, window.beyond()) == (11, [(15, 15)])
    window.done(items[0])
    assert (window.prefix, window.beyond()) == (16, [])
    window.done(items[2])
    assert (window.prefix, window.beyond(), window.is_empty) == (20, [], True)


def test_what_an_earlier_run_did_beyond_its_position_is_not_done_again() -> None:
    window = Window(10, [[12, 13], [15, 15]])
    assert window.beyond() == [(12, 13), (15, 15)]
    fresh = window.add([item(n) for n in (11, 12, 13, 14, 15)], 15)
    assert [one.position for one in fresh] == [11, 14]
    assert window.beyond() == [(12, 13), (15, 15)]
    window.done(fresh[0])
    assert (window.prefix, window.beyond()) == (13, [(15, 15)])
    window.done(fresh[1])
    assert (window.prefix, window.beyond()) == (15, [])


def test_an_event_that_is_read_as_several_is_done_with_the_last_of_them() -> None:
    window = Window(0)
    parts = window.add([item(3, part=1), item(3, part=2)], 4)
    window.done(parts[0])
    assert window.prefix == 2
    window.done(parts[1])
    assert window.prefix == 4


@pytest.mark.parametrize(("events", "size"), [(order.EVENTS, 1), (1, order.BYTES)])
def test_a_window_is_full_by_events_or_by_bytes(events: int, size: int) -> None:
    window = Window(0)
    items = window.add([item(n + 1, size=size) for n in range(events)], events)
    assert window.is_full
    for one in items[: order.AT_ONCE]:
        window.done(one)
    assert not window.is_full


@given(st.lists(st.integers(1, 60), unique=True).map(sorted), st.randoms())
def test_the_prefix_and_what_is_done_beyond_it_are_what_is_done(found: list[int], chance: object) -> None:
    window = Window(0)
    items = window.add([item(position) for position in found], 60)
    left = [*items]
    chance.shuffle(left)  # type: ignore[attr-defined]
    done: set[int] = set()
    while left:
        one = left.pop()
        window.done(one)
        done.add(one.position)
        beyond = {n for low, high in window.beyond() for n in range(low, high + 1)}
        assert {n for n in found if n <= window.prefix} | beyond == done
        again = Window(window.prefix, window.beyond())
        rest = [item(position) for position in found if position > window.prefix]
        assert {one.position for one in again.add(rest, 60)} == set(found) - done


# Who is next


def test_of_a_lane_only_the_first_is_handled_until_it_is_done() -> None:
    lanes = Lanes()
    for one in (item(1, "a"), item(2, "b"), item(3, "a")):
        lanes.add(one)
    first, second = taken(lanes)
    assert (first.position, second.position) == (1, 2)
    lanes.free("b")
    assert not lanes.is_ready
    lanes.free("a")
    (third,) = taken(lanes)
    assert third.position == 3


def test_an_event_that_is_tried_again_stays_before_those_behind_it() -> None:
    lanes = Lanes()
    lanes.add(item(1, "a"))
    lanes.add(item(2, "a"))
    (first,) = taken(lanes)
    lanes.again(first, 5.0)
    assert (lanes.next_due, [*lanes.waiting], lanes.is_ready) == (5.0, [first], False)
    lanes.due(4.9)
    assert not lanes.is_ready
    lanes.due(5.0)
    assert lanes.take() is first
    lanes.put_back(first)
    assert lanes.take() is first


def test_a_lane_that_does_not_fit_lets_others_pass() -> None:
    lanes = Lanes()
    for one in (item(1, "a"), item(2, "b")):
        lanes.add(one)
    found = lanes.take(lambda key: key == "b")
    assert found is not None
    assert found.position == 2
    assert lanes.take(lambda key: key == "b") is None
    assert lanes.is_ready


def test_what_waits_in_a_lane_can_be_taken_out_of_it() -> None:
    lanes = Lanes()
    for n in range(1, 4):
        lanes.add(item(n, "a"))
    (first,) = taken(lanes)
    assert [one.position for one in lanes.clear("a")] == [2, 3]
    assert lanes.has(first.key)
    lanes.free("a")
    assert not lanes.has("a")
    assert not lanes.is_ready


@given(st.lists(st.sampled_from("abc"), max_size=40), st.randoms())
def test_whatever_happens_events_of_a_key_are_handled_in_order_and_one_at_a_time(
    keys: list[str], chance: object
) -> None:
    lanes, handled, running = Lanes(), list[Item](), list[Item]()
    for n, key in enumerate(keys, 1):
        lanes.add(item(n, key))
    while len(handled) < len(keys):
        running += taken(lanes)
        assert len({one.key for one in running}) == len(running)
        chance.shuffle(running)  # type: ignore[attr-defined]
        one = running.pop()
        if chance.random() < 0.3:  # type: ignore[attr-defined]
            lanes.again(one, 1.0)
            lanes.due(1.0)
        else:
            handled.append(one)
            lanes.free(one.key)
    for key in "abc":
        mine = [one.position for one in handled if one.key == key]
        assert mine == sorted(mine)
