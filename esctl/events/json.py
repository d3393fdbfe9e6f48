"""Write values as JSON, put JSON text on one line, and limit its nesting. msgspec is loaded for rare values only."""

from __future__ import annotations

import sys
from _thread import allocate_lock  # importing threading takes longer
from collections.abc import Mapping

from esctl.errors import RefusedError

MAX_DEPTH = 1000  # SQLite's limit for JSON: a deeper payload could be stored but never queried


class Json(str):
    """A JSON text that is written as it is, not as a string."""

    __slots__ = ()


class Deeper:
    """Raises Python's recursion limit within a block, so that JSON nested up to MAX_DEPTH can be decoded.

    The limit is the process's: it falls again when the last thread leaves such a block.
    """

    _LEVELS = 3000
    _lock = allocate_lock()
    _blocks = 0

    def __enter__(self) -> None:
        with Deeper._lock:
            Deeper._blocks += 1
            if Deeper._blocks == 1:
                sys.setrecursionlimit(sys.getrecursionlimit() + self._LEVELS)

    def __exit__(self, *_: object) -> None:
        with Deeper._lock:
            Deeper._blocks -= 1
            if not Deeper._blocks:
                sys.setrecursionlimit(sys.getrecursionlimit() - self._LEVELS)


_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)}
_ESCAPES |= {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quoted(text: str) -> str:
    """A text as a JSON string."""
    return f'"{text.translate(_ESCAPES)}"'


def encoded(record: Mapping[str, object]) -> bytes:
    """Compact JSON of a record, in UTF-8; what is not Unicode (a path may not be) becomes question marks."""
    return text_of(record).encode()


def text_of(value: object) -> str:
    """The JSON text of a value."""
    if isinstance(value, str) and not isinstance(value, Json):
        return quoted(value if value.isascii() else value.encode("utf-8", "replace").decode())
    if isinstance(value, Mapping):
        return "{" + ",".join([f"{quoted(str(key))}:{text_of(inner)}" for key, inner in value.items()]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(text_of, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    plain = str(value)
    if isinstance(value, int | Json) or (
        isinstance(value, float) and plain.replace("-", "").replace(".", "").isdigit()
    ):
        return plain
    import msgspec  # noqa: PLC0415 - importing it takes as long as two cold starts

    return msgspec.json.encode(value, enc_hook=repr).decode()


def same(one: str, other: str) -> bool:
    """Whether two JSON texts have the same value: blanks, order of keys, escapes and spellings of a number aside."""
    if one == other:
        return True
    import json  # noqa: PLC0415 - only an id that comes again with another text needs these
    from decimal import Decimal, DecimalException  # noqa: PLC0415

    def number(text: str) -> tuple[object]:  # a tuple equals no other JSON value; true equals 1
        try:
            return (Decimal(text),)
        except DecimalException:  # its exponent has too many digits
            return (text,)

    with Deeper():
        one_value, other_value = (json.loads(text, parse_int=number, parse_float=number) for text in (one, other))
        return bool(one_value == other_value)


def one_line(json_text: str) -> str:
    """The same JSON on one line. In JSON, CR and LF occur only between tokens, where a blank means the same."""
    return json_text.replace("\n", " ").replace("\r", " ").strip(" \t")


def nesting(json_text: str) -> int:
    """How deeply arrays and objects are nested in valid JSON text."""
    depth = deepest = 0
    in_string = escaped = False
    for c in json_text:
        if in_string:
            in_string = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            in_string = True
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
    return deepest


def check_depth(json_text: str) -> None:
    """Refuse valid JSON that is nested beyond MAX_DEPTH. Texts with too few brackets are not scanned."""
    if len(json_text) <= 2 * MAX_DEPTH or json_text.count("[") + json_text.count("{") <= MAX_DEPTH:
        return
    if nesting(json_text) > MAX_DEPTH:
        raise RefusedError("the JSON is nested too deeply", why=f"{MAX_DEPTH} levels is SQLite's limit")
