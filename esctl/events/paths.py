"""Paths of fields as users and models write them: names with dots, indexes in brackets, names in double quotes.

`shipping.city` is a field within an object, `items[0].qty` a field of the first element of an array, `items[#-1]` its
last element, `"http.method"` (with the quotes) a field whose name has a dot.
"""

from __future__ import annotations

Parts = tuple[str | int, ...]
"""The steps of a path: names, and indexes; a negative index counts from the end of an array."""

QUOTED = "a name with a dot or a bracket has quotes of its own"
HINT = f"""a name, or names with dots: shipping.city, items[0].qty; {QUOTED}: '"http.method"'"""
MAX_INDEX_DIGITS = 9
_SIGNS = frozenset(' .,[]"\\$')


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
    import json  # noqa: PLC0415 - few names have quotes

    try:
        name, end = json.JSONDecoder().raw_decode(field)
    except ValueError:
        raise PathError('a " at the beginning of a name is never closed') from None
    if not name or any(c < " " for c in name):
        raise PathError(f"{field[:end]} is not a name")
    return str(name), field[end:]


def _index(inside: str, closed: str) -> int:
    number = inside.removeprefix("#-")
    if not closed or not number.isdecimal() or not number.isascii() or len(number) > MAX_INDEX_DIGITS:
        raise PathError(f"[{inside}{closed} is not an index such as [0] or [#-1]")
    if inside == number:
        return int(number)
    if not int(number):
        raise PathError("[#-0] is beyond the end: the last element is [#-1]")
    return -int(number)


def spelled(path: Parts) -> str:
    """A path as users and models may write it."""
    import json  # noqa: PLC0415 - only a message needs it

    made = ""
    for part in path:
        if isinstance(part, int):
            made += f"[{part}]" if part >= 0 else f"[#{part}]"
        else:
            made += ("." if made else "") + (part if is_plain(part) else json.dumps(part, ensure_ascii=False))
    return made


def is_plain(name: str) -> bool:
    """Whether a name is written without quotes. It might do without in more cases: `two words`, `a"b`."""
    return bool(name) and name.isprintable() and not set(name) & _SIGNS


def listed(text: str) -> list[str]:
    """The paths of a list with commas, `a,b,data.x`, without the blanks around them."""
    found, start, quoted, escaped = list[str](), 0, False, False
    for at, c in enumerate(text):
        if quoted:
            quoted, escaped = escaped or c != '"', c == "\\" and not escaped
        elif c == '"':
            quoted = text[start:at].rstrip(" ")[-1:] in ("", ".")  # a name begins
        elif c == ",":
            found.append(text[start:at].strip())
            start = at + 1
    return [*found, text[start:].strip()]
