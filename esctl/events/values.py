"""Python's values as JSON, without loss, and points given as Python's values; for the Python API."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from esctl.errors import ArgumentError, RefusedError
from esctl.events.json import Deeper, one_line
from esctl.events.lines import payload_of
from esctl.events.times import utc_text

Point = str | int | date
"""A point as text, as a position, or as a day or moment; a `datetime` is a `date` too."""


class Json:
    """A JSON text, as a payload or a value within one. It is stored as it is: `1.10` stays `1.10`."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ArgumentError(f"Json takes a text, not {type(text).__name__}")
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Json({self.text!r})"


_RARE = (Json, Decimal, date, UUID)


class _RareError(Exception):
    """The value has parts that Python's own encoder does not know."""


def _unknown(value: object) -> object:
    if isinstance(value, _RARE):
        raise _RareError
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# Not msgspec, which would write NaN and the infinities, which JSON lacks, as null.
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_unknown).encode


def encoded(value: Any) -> bytes:
    """A value as JSON in UTF-8: a Decimal as a number with its digits, a `datetime` as the log writes times, a `date`
    and a UUID as text, a `Json` as it is. Raises RefusedError for what JSON cannot hold.
    """
    try:
        with Deeper():
            try:
                return _encode(value).encode()
            except _RareError:
                return _with_rare(value).encode()
    except (ValueError, TypeError, RecursionError) as error:  # also UnicodeEncodeError, for half a surrogate pair
        raise RefusedError("the event cannot be written as JSON", why=str(error)) from error


def _with_rare(value: Any) -> str:
    if isinstance(value, dict):
        members = [f"{_encode({key: 0})[1:-2]}{_with_rare(inner)}" for key, inner in value.items()]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_with_rare(inner) for inner in value]) + "]"
    if isinstance(value, _RARE):
        return _rare(value)
    return _encode(value)


def _rare(value: Json | Decimal | date | UUID) -> str:
    if isinstance(value, Json):
        return one_line(bytes(payload_of(value.text.encode(), "the Json text")).decode())
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is no number in JSON")
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no zone, and a log has no local time")
        return f'"{utc_text(value)}"'
    return f'"{value}"'


def point_of(point: Point) -> str:
    """A point as users type it. A `datetime` without a zone is local time, as a text without one is."""
    if isinstance(point, datetime):
        return utc_text(point)
    if isinstance(point, date):
        return point.isoformat()
    if isinstance(point, int) and not isinstance(point, bool):
        return f"#{point}"
    if isinstance(point, str):
        return point
    raise ArgumentError(
        f"{type(point).__name__} is not a point", why="a point is a text, a position, a datetime or a date"
    )
