"""Python's values as JSON, and points given as Python's values."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import ArgumentError, RefusedError
from esctl.events.json import MAX_DEPTH
from esctl.events.values import Json, Point, encoded, point_of

MOMENT = datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1)))
LOCAL = datetime(2026, 1, 31, 18, 30)  # noqa: DTZ001 - that it has no zone is what is tested
AN_ID = UUID("01a22849-a133-7000-a9c2-85dbf69f77cd")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), "1.10"),
        (Decimal("-0.00"), "-0.00"),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("12345678901234567890.12345678901234567890"), "12345678901234567890.12345678901234567890"),
        (MOMENT, '"2026-01-31T09:30:00.000000Z"'),
        (date(2026, 1, 31), '"2026-01-31"'),
        (AN_ID, f'"{AN_ID}"'),
        (Json(' {"a" : 1.10}\n'), '{"a" : 1.10}'),
        (Json("[1,\n2]"), "[1, 2]"),
        ({"a": [Decimal("1.0"), {"ä\n": Json("2.0")}], 3: (1, None, True, 0.5, "é")},
         '{"a":[1.0,{"ä\\n":2.0}],"3":[1,null,true,0.5,"é"]}'),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_written_without_loss(value: Any, text: str) -> None:
    assert encoded(value).decode() == text


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_read_as_the_same_number(number: Decimal) -> None:
    read = json.loads(encoded([number]), parse_float=Decimal, parse_int=Decimal)[0]
    assert read.as_tuple() == number.as_tuple()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab\n"ä', max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN)
def test_a_rare_value_beside_others_does_not_change_how_they_are_written(value: Any) -> None:
    assert encoded([value, AN_ID]) == b'[%s,"%s"]' % (encoded(value), str(AN_ID).encode())


def circle() -> list[Any]:
    made: list[Any] = [AN_ID]
    made.append(made)
    return made


def nested(levels: int) -> Any:
    value: Any = Decimal("1.0")
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"), Decimal("-Infinity"), Decimal("sNaN"), LOCAL, Json(""), Json("1,2"), Json("{"),
        Json('1,"type":"X"'), Json("NaN"), Json("\ud800"), {AN_ID: 1}, {"a": {1, 2}, "b": AN_ID}, [float("nan"), AN_ID],
        ["\ud800", AN_ID], b"bytes", circle(), time.gmtime,
    ],
    ids=str,
)  # fmt: skip
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(RefusedError):
        encoded({"data": value})


def test_a_rare_value_may_be_as_deep_as_a_log_holds_it() -> None:
    with pytest.raises(RefusedError):
        encoded(nested(20_000))
    assert encoded(nested(MAX_DEPTH)) == b"[" * MAX_DEPTH + b"1.0" + b"]" * MAX_DEPTH


def test_json_is_made_of_text_only() -> None:
    with pytest.raises(ArgumentError, match="Json takes a text, not dict"):
        Json({"a": 1})  # type: ignore[arg-type]
    assert Json("1") == Json("1") != Json("1.0")
    assert len({Json("1"), Json("1")}) == 1
    assert repr(Json("1")) == "Json('1')"


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose local time is nine hours ahead."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("point", "text"),
    [
        ("v3", "v3"),
        (7, "#7"),
        (MOMENT, "2026-01-31T09:30:00.000000Z"),
        (MOMENT.astimezone(UTC), "2026-01-31T09:30:00.000000Z"),
        (LOCAL, "2026-01-31T09:30:00.000000Z"),
        (date(2026, 1, 31), "2026-01-31"),
    ],
)
@pytest.mark.usefixtures("tokyo")
def test_a_point_is_text_a_position_a_moment_or_a_day(point: Point, text: str) -> None:
    assert point_of(point) == text


@pytest.mark.parametrize("point", [True, 1.5, None, AN_ID, b"v1"])
def test_anything_else_is_no_point(point: Any) -> None:
    with pytest.raises(ArgumentError, match="is not a point"):
        point_of(point)
    with pytest.raises(TypeError):
        point_of(point)
