"""Named tuples without `typing`: what they share with NamedTuple."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import NamedTuple

import pytest

from esctl.events.event import Event, Part, Receipt
from esctl.events.record import Record


class Ours(Record):
    """Two fields that must be given, and two that need not be."""

    a: int
    b: str
    c: tuple[int, ...] = ()
    d: str | None = None


class Theirs(NamedTuple):
    """The same as a NamedTuple."""

    a: int
    b: str
    c: tuple[int, ...] = ()
    d: str | None = None


Makes = Callable[[type[Ours] | type[Theirs]], Ours | Theirs]


@pytest.mark.parametrize(
    "make",
    [
        lambda of: of(1, "x"),
        lambda of: of(1, "x", (2,), "y"),
        lambda of: of(1, b="x"),
        lambda of: of(b="x", a=1, d="y"),
        lambda of: of._make((1, "x", (), None)),
        lambda of: of(1, "x")._replace(b="z", d="y"),
    ],
)
def test_a_record_is_made_as_a_named_tuple_is(make: Makes) -> None:
    ours, theirs = make(Ours), make(Theirs)
    assert (tuple(ours), ours._asdict()) == (tuple(theirs), theirs._asdict())
    assert [getattr(ours, name) for name in ours._fields] == list(theirs)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")


@pytest.mark.parametrize(
    "make",
    [
        lambda of: of(),
        lambda of: of(1),
        lambda of: of(1, "x", (), None, 5),
        lambda of: of(1, "x", a=2),
        lambda of: of(1, "x", e=2),
    ],
)
def test_what_a_named_tuple_does_not_take_a_record_does_not_take(make: Makes) -> None:
    for of in (Ours, Theirs):
        with pytest.raises(TypeError):
            make(of)


def test_no_other_field_is_replaced() -> None:
    with pytest.raises(TypeError, match="no field e"):
        Ours(1, "x")._replace(e=2)  # type: ignore[call-arg]


def test_a_record_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Ours(1, "x").a = 2  # type: ignore[misc]


def test_a_record_takes_no_more_room_than_a_tuple() -> None:
    assert not hasattr(Receipt(1, "s", 1, "e", False), "__dict__")


def test_a_record_comes_back_from_a_pickle() -> None:
    ours = Ours(1, "x", (2,))
    back = pickle.loads(pickle.dumps(ours))
    assert (type(back), back) == (Ours, ours)


def test_what_is_replaced_in_a_part_leaves_a_part() -> None:
    event = Event(1, "s", 1, "e", "T", 1, "", "", "{}", "{}")
    assert type(Part._make(event)._replace(data="[]")) is Part
