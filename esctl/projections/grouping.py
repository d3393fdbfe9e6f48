"""Group NDJSON lines, with counts, sums and the like: a quick projection without a model."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from esctl.errors import RefusedError
from esctl.events.json import Deeper, Json
from esctl.events.paths import Parts, parts, spelled

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
# Numbers are added as decimals, exactly: 0.1 and 0.2 are 0.3. What cannot be exact is an error.
_EXACT = decimal.Context(prec=1000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.Inexact])
_MEAN = decimal.Context(prec=28, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
_LONG_DIGITS = 60  # before or after the point; longer numbers are written with an exponent
_SUGGESTED_LEVELS = 4  # how deep fields are looked for that a misspelt one may mean
_parts = lru_cache(parts)  # each field is looked up in each line
_BOM = b"\xef\xbb\xbf"
OPERATIONS = ("sum", "min", "max", "avg", "first", "last")


class Measure(NamedTuple):
    """A column of a group: an operation over a field; `count` needs no field."""

    operation: str
    field: str = ""


class _Tally:
    """The value of one measure for one group so far."""

    __slots__ = ("number", "value")

    def __init__(self) -> None:
        self.number, self.value = 0, None

    def take(self, operation: str, value: Any) -> None:
        self.number += 1
        if self.value is None or operation == "last":
            self.value = value
        elif operation in ("sum", "avg"):
            self.value = _EXACT.add(self.value, value)
        elif operation in ("min", "max"):
            self.value = (min if operation == "min" else max)(self.value, value)


def grouped(
    lines: Iterable[bytes],
    by: Sequence[str],
    measures: Sequence[Measure],
    unknown: Callable[[str, Sequence[str]], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """A record per group, in order of first appearance: the fields it is grouped by, and its measures.

    Without fields to group by, all lines form one group, even if there are none. A field that no line has is null
    everywhere, its sum too; `unknown` is called with it and with the fields of the last line. Memory grows with the
    number of groups. Raises RefusedError, with the line's number, for a line that is not a JSON object and a value that
    cannot be added.
    """
    columns = names(by, measures)
    absent = dict.fromkeys([*by, *(measure.field for measure in measures if measure.field)])
    record: dict[str, Any] = {}
    groups: dict[tuple[Any, ...], tuple[list[Any], list[_Tally]]] = {}
    if not by:
        groups[()] = [], [_Tally() for _ in measures]
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        record = _record(text, number)
        if absent:
            absent = {field: None for field in absent if not _has(record, field)}
        values = [_of(record, field) for field in by]
        key = tuple(map(_mark, values))
        if key not in groups:
            groups[key] = values, [_Tally() for _ in measures]
        for tally, measure in zip(groups[key][1], measures, strict=True):
            _take(tally, measure, record, number)
    absent = absent if record else {}
    if unknown:
        for field in absent:
            unknown(field, [*_paths(record, (), _SUGGESTED_LEVELS)])
    for values, tallies in groups.values():
        results = (None if m.field in absent else _result(m, tally) for m, tally in zip(measures, tallies, strict=True))
        row = [*map(_printable, values), *results]
        yield dict(zip(columns, row, strict=True))


def names(by: Sequence[str], measures: Sequence[Measure]) -> list[str]:
    """Column names such as `customer_id`, `count`, `sum_amount`: full paths if two would be equal, then numbered."""
    short = [last_name(field) for field in by]
    short += [f"{m.operation}_{last_name(m.field)}" if m.field else m.operation for m in measures]
    whole = [*by, *(f"{m.operation}_{m.field}" if m.field else m.operation for m in measures)]
    unique: list[str] = []
    for name, path in zip(short, whole, strict=True):
        chosen = name if short.count(name) == 1 else path
        same = sum(other.startswith(chosen) for other in unique)
        unique.append(chosen if chosen not in unique else f"{chosen}_{same + 1}")
    return unique


def _record(line: bytes, number: int) -> dict[str, Any]:
    try:
        with Deeper():
            return _decode(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            "the line is no JSON object",
            why=f"{error}; it takes the lines that replay prints",
            fix="esctl project --help",
            line=number,
        ) from error


def last_name(field: str) -> str:
    """The name of a field without the path to it; that of an element with its index: `items[0]`."""
    path = _parts(field)
    start = max(at for at, part in enumerate(path) if isinstance(part, str))
    return spelled(path[start:]) if start < len(path) - 1 else str(path[start])


def _of(record: dict[str, Any], field: str) -> Any:
    return _within(record, _parts(field))


def _within(value: Any, path: Parts) -> Any:
    for part in path:
        if not isinstance(value, dict if isinstance(part, str) else list):
            return None
        try:
            value = value[part]  # type: ignore[index]  # a name in an object, an index in an array
        except LookupError:
            return None
    return value


def _has(record: dict[str, Any], field: str) -> bool:
    *path, last = _parts(field)
    inner = _within(record, tuple(path))
    if isinstance(last, str):
        return isinstance(inner, dict) and last in inner
    return isinstance(inner, list) and -len(inner) <= last < len(inner)


def _paths(record: dict[str, Any], prefix: Parts, levels: int) -> Iterator[str]:
    """The fields of a record, to a depth of `levels`."""
    for key, value in record.items():
        if not key.isprintable() or not key:
            continue  # no path leads there
        yield spelled((*prefix, key))
        if isinstance(value, dict) and levels > 1:
            yield from _paths(value, (*prefix, key), levels - 1)


def _mark(value: Any) -> tuple[str, Any]:
    """A key that tells groups apart: 1 and 1.0 are one number, and neither equals true."""
    if isinstance(value, list | dict):
        return "json", _json(value)
    if isinstance(value, bool):
        return "bool", value
    return ("number" if isinstance(value, int | Decimal) else "other"), value


def _json(value: Any) -> str:
    with Deeper():
        return _encode(value).decode()


def _printable(value: Any) -> Any:
    """A value for output: numbers with all their digits, arrays and objects as JSON."""
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        short = isinstance(exponent, int) and exponent >= -_LONG_DIGITS and value.adjusted() <= _LONG_DIGITS
        return Json(f"{value:f}" if short else str(value))
    return Json(_json(value)) if isinstance(value, list | dict) else value


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
            f"{measure.field} has values that cannot be compared",
            why=f"{_json(value)[:60]} and {_json(tally.value)[:60]}; pick other lines with replay --where",
            line=number,
        ) from error
    except decimal.DecimalException as error:
        raise RefusedError(
            f"{measure.field} cannot be added up exactly", why="its numbers are too far apart", line=number
        ) from error


def _number(value: Any, measure: Measure, number: int) -> Decimal:
    """A number, or a text that contains one: producers write amounts either way."""
    parsed = None
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        try:
            parsed = Decimal(value)
        except decimal.InvalidOperation:
            parsed = None
    if parsed is None or not parsed.is_finite():
        raise RefusedError(
            f"{measure.field} is no number",
            why=f"it is {_json(value)[:60]}; pick other lines with replay --where",
            line=number,
        )
    return parsed


def _result(measure: Measure, tally: _Tally) -> Any:
    if measure.operation == "count":
        return tally.number
    value: Any = tally.value
    if measure.operation == "sum" and value is None:
        return 0
    if measure.operation == "sum" and value.as_tuple().exponent == 0:
        return int(value)
    if measure.operation == "avg" and value is not None:
        value = _MEAN.divide(value, Decimal(tally.number))
    return _printable(value)
