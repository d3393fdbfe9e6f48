"""NDJSON lines -> groups with counts, sums and the like: a projection for a quick look, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from esctl.errors import RefusedError
from esctl.text import Deeper, Json

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
OPERATIONS = ("sum", "min", "max", "avg", "first", "last")


class Measure(NamedTuple):
    """What is told of a group: an operation over a field; `count` is over none."""

    operation: str
    field: str = ""


class _Tally:
    """One measure of one group so far. Numbers are added as decimals: 0.1 and 0.2 are 0.3."""

    __slots__ = ("number", "value")

    def __init__(self) -> None:
        self.number, self.value = 0, None

    def take(self, operation: str, value: Any) -> None:
        self.number += 1
        if self.value is None or operation == "last":
            self.value = value
        elif operation in ("sum", "avg"):
            self.value += value
        elif operation in ("min", "max"):
            self.value = (min if operation == "min" else max)(self.value, value)


def grouped(lines: Iterable[bytes], by: Sequence[str], measures: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    """A record a group, in the order in which the groups came up: the fields it is grouped by, and its measures.

    Memory follows the number of groups. Raises RefusedError for a line that is no JSON object, or a value that cannot
    be added up, naming the line.
    """
    names = _names(by, measures)
    groups: dict[tuple[Any, ...], list[_Tally]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line, number)
        key = tuple(_of(record, field) for field in by)
        marks = tuple(
            msgspec.json.encode(value, enc_hook=str) if isinstance(value, list | dict) else value for value in key
        )
        tallies = groups.setdefault(tuple(zip(map(type, marks), marks, strict=True)), [])
        if not tallies:
            tallies += [_Tally() for _ in measures]
        for tally, measure in zip(tallies, measures, strict=True):
            _take(tally, measure, record, number)
    for pairs, tallies in groups.items():
        told = [_key(mark) for _, mark in pairs]
        yield dict(zip(names, [*told, *map(_said, measures, tallies)], strict=True))


def _key(mark: Any) -> Any:
    """The value of a field that groups, as it is printed."""
    if isinstance(mark, bytes):
        return Json(mark.decode())
    return Json(f"{mark:f}") if isinstance(mark, Decimal) else mark


def _record(line: bytes, number: int) -> dict[str, Any]:
    try:
        with Deeper():
            return _decode(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            "the line is no JSON object", why=str(error), fix="esctl replay … | esctl project …", line=number
        ) from error


def _of(record: dict[str, Any], field: str) -> Any:
    value: Any = record
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _take(tally: _Tally, measure: Measure, record: dict[str, Any], number: int) -> None:
    if measure.operation == "count":
        tally.number += 1
        return
    value = _of(record, measure.field)
    if value is None:
        return
    if measure.operation in ("sum", "avg"):
        value = _number(value, measure, number)
    try:
        tally.take(measure.operation, value)
    except TypeError as error:
        raise RefusedError(
            f"{measure.field} has values that cannot be compared", why=str(error), line=number
        ) from error


def _number(value: Any, measure: Measure, number: int) -> int | Decimal:
    """A number, or a text that is one: producers write amounts as either."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    try:
        made = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        made = None
    if made is None or not made.is_finite():
        raise RefusedError(
            f"{measure.field} is no number",
            why=f"it is {str(value)[:60]!r}",
            fix="pick other lines with replay --where",
            line=number,
        )
    return made


def _said(measure: Measure, tally: _Tally) -> Any:
    if measure.operation == "count":
        return tally.number
    value: Any = tally.value
    if measure.operation == "sum" and value is None:
        return 0
    if measure.operation == "avg" and value is not None:
        value = Decimal(value) / tally.number
    if isinstance(value, Decimal):
        return Json(f"{value:f}")
    return value


def _names(by: Sequence[str], measures: Sequence[Measure]) -> list[str]:
    """`customer_id`, `count`, `sum_amount`; whole paths where two would have one name."""
    short = [field.rpartition(".")[2] for field in by]
    short += [f"{m.operation}_{m.field.rpartition('.')[2]}" if m.field else m.operation for m in measures]
    whole = [*by, *(f"{m.operation}_{m.field}" if m.field else m.operation for m in measures)]
    return [name if short.count(name) == 1 else path for name, path in zip(short, whole, strict=True)]
