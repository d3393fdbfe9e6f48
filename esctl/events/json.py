"""Text made safe for a terminal, and values as JSON text."""

from __future__ import annotations

import sys

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional controls.
_ACTING = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F)]
_ACTING += range(0x2066, 0x206A)
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _ACTING}
_VISIBLE |= {10: "\\n", 13: "\\r", 9: "\\t"}


class Json(str):
    """A JSON text among values that are printed: it stands for itself."""

    __slots__ = ()


class Deeper:
    """A block with room for JSON that is nested as deeply as a log may hold it: Python's own limit is about that, less
    the frames that are in use.
    """

    _LEVELS = 3000

    def __enter__(self) -> None:
        sys.setrecursionlimit(sys.getrecursionlimit() + self._LEVELS)

    def __exit__(self, *_: object) -> None:
        sys.setrecursionlimit(sys.getrecursionlimit() - self._LEVELS)


_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)}
_ESCAPES |= {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quoted(text: str) -> str:
    """A text as a JSON string."""
    return f'"{text.translate(_ESCAPES)}"'


def clean(text: str) -> str:
    """Text with every character that a terminal acts on spelled out."""
    return text.translate(_VISIBLE)
