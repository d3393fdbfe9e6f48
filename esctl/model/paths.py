"""Paths of fields as models write them: names with dots, indexes in brackets, names in double quotes.

`shipping.city` is a field within an object, `items[0].qty` a field of the first element of an array, `items[#-1]` its
last element, `"http.method"` (with the quotes) a field whose name has a dot.
"""

from __future__ import annotations

import json

from esctl.sql.quoting import text

Parts = tuple[str | int, ...]
"""The steps of a path: names, and indexes; a negative index counts from the end of an array."""

_QUOTED = "a name with a dot or a bracket has quotes of its own"
HINT = f"""a name, or names with dots: shipping.city, items[0].qty; {_QUOTED}: '"http.method"'"""
SOURCE_HINT = f"""$.shipping.city, $.items[0].qty; {_QUOTED}: '$."http.method"'"""
NO_DOLLAR = "the path of a field to write does not begin with $"
NO_NAME = "an element of an array has no name; use set and remove"
NEW_HINTS = (HINT, SOURCE_HINT, NO_DOLLAR, NO_NAME)
"""Of problems that earlier releases did not see: a model that they applied stays valid, and is read as by them."""
_MAX_INDEX_DIGITS = 9


class PathError(ValueError):
    """A text is not a path; the message says why."""


def parts(field: str) -> Parts:
    """The steps of a path. Raises PathError."""
    found: list[str | int] = []
    rest = field
    while True:
        name, rest = _quoted(rest) if rest.startswith('"') else _bare(rest)
        found.append(name)
        while rest.startswith("["):
            index, closed, rest = rest[1:].partition("]")
            found.append(_index(index, closed))
        if not rest:
            return tuple(found)
        if not rest.startswith("."):
            raise PathError(f"{rest[:20]!r} follows {field[: len(field) - len(rest)]!r} without a dot")
        rest = rest[1:]


def _bare(field: str) -> tuple[str, str]:
    """A name without quotes at the beginning of a path, and what follows it."""
    end = min((at for at in (field.find("."), field.find("[")) if at >= 0), default=len(field))
    name = field[:end]
    if not name:
        raise PathError("a name in it is empty")
    if "]" in name or any(c < " " for c in name):
        raise PathError(f"{name!r} is not a name")
    return name, field[end:]


def _quoted(field: str) -> tuple[str, str]:
    """A name in double quotes at the beginning of a path, and what follows it."""
    try:
        name, end = json.JSONDecoder().raw_decode(field)
    except ValueError:
        raise PathError('a " at the beginning of a name is never closed') from None
    if not name or any(c < " " for c in name):
        raise PathError(f"{field[:end]} is not a name")
    return str(name), field[end:]


def _index(inside: str, closed: str) -> int:
    number = inside.removeprefix("#-")
    if not closed or not number.isdecimal() or not number.isascii() or len(number) > _MAX_INDEX_DIGITS:
        raise PathError(f"[{inside}{closed} is not an index such as [0] or [#-1]")
    if inside == number:
        return int(number)
    if not int(number):
        raise PathError("[#-0] is beyond the end: the last element is [#-1]")
    return -int(number)


def spelled(path: Parts) -> str:
    """A path as a model may write it."""
    made = ""
    for part in path:
        if isinstance(part, int):
            made += f"[{part}]" if part >= 0 else f"[#{part}]"
        else:
            plain = part and not part.startswith('"') and not set(part) & set(".[]")
            made += ("." if made else "") + (part if plain else json.dumps(part, ensure_ascii=False))
    return made


def sql_path(path: Parts) -> str:
    """A path as SQLite's JSON functions take it, as an SQL literal."""
    made = "$"
    for part in path:
        if isinstance(part, int):
            made += f"[{part}]" if part >= 0 else f"[#{part}]"
        else:
            made += f".{json.dumps(part, ensure_ascii=False)}"
    return text(made)


def as_before(field: str) -> str:
    """The path that earlier releases read in a text that is none now: names between dots, whatever is in them."""
    names = ("".join(c for c in name if c >= " ") for name in field.split("."))
    return spelled(tuple(filter(None, names))) or "unreadable"


def doubt(path: Parts) -> str:
    """What a path may mean beside what it says; empty if there is no doubt."""
    for at, part in enumerate(path[1:], 1):
        if isinstance(part, str) and part.isdecimal():
            element = spelled((*path[:at], int(part), *path[at + 1 :])) if len(part) <= _MAX_INDEX_DIGITS else ""
            return f"{part} is a field's name; an element of an array is {element}" if element else ""
    return ""


def source_parts(source: str) -> Parts:
    """The steps of a path of the payload (`$.items[0].qty`; `$` is the payload itself). Raises PathError."""
    return parts(source[2:]) if source != "$" else ()
