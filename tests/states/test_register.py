"""A register has each change of a number, exactly, and what the number then is."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import pairwise

import pytest

from esctl.errors import NotFoundError, UsageError
from esctl.events.event import Event
from esctl.states.register import lines
from esctl.states.story import Entry


def entries(*states: str) -> Iterator[Entry]:
    for n, (before, after) in enumerate(pairwise(states), 1):
        yield Entry(Event(n, "s", n, str(n), "T", 1, "", "", "{}", "{}"), None, [], before, after, refused=False)


def register(field: str, *states: str) -> list[tuple[int, str, str]]:
    return [(line.event.position, line.amount, line.value) for line in lines(entries(*states), field)]


def test_only_events_that_change_the_number_are_in_it() -> None:
    assert register("a", '{"a":0}', '{"a":5}', '{"a":5.0,"b":1}', '{"a":3}') == [(1, "5", "5"), (3, "-2.0", "3")]


@pytest.mark.parametrize(
    ("before", "after", "amount"),
    [("0.1", "0.3", "0.2"), ("1.10", "2.2", "1.10"), ("1e300", "1e-5", None), ("12345678901234567890123", "0", None)],
)
def test_amounts_are_exact(before: str, after: str, amount: str | None) -> None:
    (found,) = register("a", f'{{"a":{before}}}', f'{{"a":{after}}}')
    assert amount is None or found[1] == amount
    with localcontext() as context:
        context.prec = 2000
        assert Decimal(before) + Decimal(found[1]) == Decimal(after)


def test_a_number_that_is_not_there_counts_as_0() -> None:
    assert register("x.y[0]", "{}", '{"x":{"y":[4]}}', '{"x":{"y":null}}') == [(1, "4", "4"), (2, "-4", "null")]


@pytest.mark.parametrize("value", ['"5"', "true", "[]", "1e99999999999999999999"])
def test_what_is_no_number_is_refused_with_its_event(value: str) -> None:
    with pytest.raises(UsageError, match="not a number at #1"):
        register("a", "{}", f'{{"a":{value}}}')


def test_a_field_that_no_state_has_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        register("b", '{"a":1}', '{"a":2}')
    assert register("b") == []


def test_what_is_not_a_path_is_refused() -> None:
    with pytest.raises(UsageError):
        register("a..b", "{}", "{}")
