"""Paths in models: those of a payload (`$.shipping.city`), and what earlier releases read in them."""

from __future__ import annotations

from esctl.events.paths import HINT, MAX_INDEX_DIGITS, QUOTED, Parts, parts, spelled

SOURCE_HINT = f"""$.shipping.city, $.items[0].qty; {QUOTED}: '$."http.method"'"""
NO_DOLLAR = "the path of a field to write does not begin with $"
NO_NAME = "an element of an array has no name; use set and remove"
NEW_HINTS = (HINT, SOURCE_HINT, NO_DOLLAR, NO_NAME)
"""Of problems that earlier releases did not see: a model that they applied stays valid, and is read as by them."""


def as_before(field: str) -> str:
    """The path that earlier releases read in a text that is none now: names between dots, whatever is in them."""
    names = ("".join(c for c in name if c >= " ") for name in field.split("."))
    return spelled(tuple(filter(None, names))) or "unreadable"


def doubt(path: Parts) -> str:
    """What a path may mean beside what it says; empty if there is no doubt."""
    for at, part in enumerate(path[1:], 1):
        if isinstance(part, str) and part.isdecimal():
            element = spelled((*path[:at], int(part), *path[at + 1 :])) if len(part) <= MAX_INDEX_DIGITS else ""
            return f"{part} is a field's name; an element of an array is {element}" if element else ""
    return ""


def source_parts(source: str) -> Parts:
    """The steps of a path of the payload (`$.items[0].qty`; `$` is the payload itself). Raises PathError."""
    return parts(source[2:]) if source != "$" else ()
