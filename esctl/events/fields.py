"""Select parts of events by name (`stream`, `data.items[0].qty`, `meta."a.b"`), and fill templates with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw

from esctl.errors import UsageError
from esctl.events.event import FIELDS, Event, part_of
from esctl.events.json import Deeper
from esctl.events.paths import HINT, Parts, PathError, listed, parts

Value = str | None
"""The JSON text of a field; None if the event has no such field."""

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode
_HOLE = re.compile(r"\{([^{}]*)\}|\{\{|\}\}|[{}]")


class Field:
    """A column of an event, or a path into its data or meta."""

    __slots__ = ("_index", "_path", "name")

    def __init__(self, name: str) -> None:
        column, path = column_and_path(name)
        if column not in (*FIELDS, "part", "erased") or (path and column not in ("data", "meta")):
            raise UsageError(
                f"there is no field {name!r}",
                why=f"fields are {', '.join(FIELDS)}, part, erased, data.KEY and meta.KEY, to any depth",
            )
        self.name = name
        self._index = FIELDS.index(str(column)) if column in FIELDS else None
        self._path = path

    def of(self, event: Event) -> Value:
        """The JSON text of this field; numbers keep their spelling."""
        if self._index is None and self.name == "erased":
            return "true" if event.data is None else None
        if self._index is None:
            part = part_of(event)
            return None if part is None else str(part)
        value = event[self._index]
        if value is None:
            return None
        if self._index < FIELDS.index("data"):
            return msgspec.json.encode(value).decode()
        return inner(str(value), self._path)


def column_and_path(name: str) -> tuple[str | int, Parts]:
    """The column that a field is in, and its path there. Raises UsageError for what is not a path."""
    try:
        column, *path = parts(name)
    except PathError as error:
        raise UsageError(f"there is no field {name!r}: {error}", why=f"a field is {HINT}") from error
    return column, tuple(path)


def inner(text: str, path: Parts) -> Value:
    """The JSON text that a path leads to in a JSON text."""
    for part in path:
        found: dict[str, str] | list[str] = members(text) if isinstance(part, str) else elements(text)
        try:
            text = found[part]  # type: ignore[index]  # a name in an object, an index in an array
        except LookupError:
            return None
    return text


def members(text: str) -> dict[str, str]:
    """The members of a JSON object, each with its JSON text; none of any other value."""
    if not text.startswith("{"):
        return {}
    with Deeper():
        return {name: bytes(raw).decode() for name, raw in _decode(text).items()}


def elements(text: str) -> list[str]:
    """The elements of a JSON array, each as its JSON text; none of any other value."""
    if not text.startswith("["):
        return []
    with Deeper():
        return [bytes(raw).decode() for raw in _decode_array(text)]


def parse_fields(text: str) -> list[Field]:
    """Parse a list of fields, `a,b,data.x`."""
    return [Field(name) for name in listed(text)]


def plain(value: Value) -> str:
    """A value for people and spreadsheets: text without quotes, empty for null and for a missing field."""
    if value is None or value == "null":
        return ""
    return str(msgspec.json.decode(value)) if value.startswith('"') else value


def record(fields: Sequence[Field], event: Event) -> bytes:
    """One line of JSON with these fields; null for a missing one."""
    parts = [f"{msgspec.json.encode(field.name).decode()}:{field.of(event) or 'null'}" for field in fields]
    return ("{" + ",".join(parts) + "}\n").encode()


def template(text: str, show: Callable[[str], str] = str) -> Callable[[Event], str]:
    r"""A function that fills `{position} {data.amount}` from an event; `{{` and `}}` are braces, `\t` and `\n` work."""
    parts: list[str | Field] = []
    end = 0
    for match in _HOLE.finditer(text):
        parts.append(_literal(show(text[end : match.start()])))
        if match[0] in ("{{", "}}"):
            parts.append(match[0][0])
        elif match[1] is None:
            raise UsageError(f"the template has a lone {match[0]!r}", why="write {{ for { and }} for }")
        else:
            parts.append(Field(match[1]))
        end = match.end()
    parts.append(_literal(show(text[end:])))
    return lambda event: "".join(part if isinstance(part, str) else show(plain(part.of(event))) for part in parts)


def _literal(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")
