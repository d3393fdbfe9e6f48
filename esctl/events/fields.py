"""Select parts of events by name (`stream`, `data.items[0].qty`, `meta."a.b"`), and fill templates with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw

from esctl.errors import UsageError
from esctl.events.event import FIELDS
from esctl.events.json import Deeper
from esctl.events.paths import HINT, Parts, PathError, listed, parts

Value = str | None
"""The JSON text of a field; None if the event has no such field."""

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode
_HOLE = re.compile(r"\{([^{}]*)\}|\{\{|\}\}|[{}]")


class Field:
    """A column of an event, or a path into its data or meta."""

    __slots__ = ("column", "name", "path")

    def __init__(self, name: str) -> None:
        column, path = column_and_path(name)
        if column not in (*FIELDS, "part", "erased") or (path and column not in ("data", "meta")):
            raise UsageError(
                f"there is no field {name!r}",
                why=f"fields are {', '.join(FIELDS)}, part, erased, data.KEY and meta.KEY, to any depth",
            )
        self.name, self.column, self.path = name, str(column), path


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
    if not value.startswith('"'):
        return value
    return str(msgspec.json.decode(value)) if "\\" in value else value[1:-1]


class Template:
    r"""Text with fields, `{position} {data.amount}`; `{{` and `}}` are braces, `\t` and `\n` work.

    `show` makes the values, and the text around them, fit to be printed.
    """

    def __init__(self, text: str, show: Callable[[str], str] = str) -> None:
        self.fields: list[Field] = []
        self._show = show
        self._literals: list[str] = []  # one before each field, and one behind the last
        literal, end = "", 0
        for match in _HOLE.finditer(text):
            literal += text[end : match.start()]
            end = match.end()
            if match[0] in ("{{", "}}"):
                literal += match[0][0]
            elif match[1] is None:
                raise UsageError(f"the template has a lone {match[0]!r}", why="write {{ for { and }} for }")
            else:
                self.fields.append(Field(match[1]))
                self._literals.append(_literal(show(literal)))
                literal = ""
        self._literals.append(_literal(show(literal + text[end:])))

    def filled(self, values: Sequence[Value]) -> str:
        """The text with the values of the fields."""
        parts = [self._literals[0]]
        for value, literal in zip(values, self._literals[1:], strict=False):  # without fields, values has one
            parts += self._show(plain(value)), literal
        return "".join(parts)


def _literal(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")
