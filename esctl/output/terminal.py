"""Makes text safe for a terminal."""

from __future__ import annotations

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional controls.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F)]
_CONTROLS += range(0x2066, 0x206A)
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_VISIBLE |= {10: "\\n", 13: "\\r", 9: "\\t"}

# For whole lines, whose ends and tabs stay; in JSON a raw CR can only be a blank between tokens.
_IN_LINES = {code: shown for code, shown in _VISIBLE.items() if code not in (9, 10)}
_IN_JSON = {code: f"\\u{code:04x}" for code in _IN_LINES} | {13: " "}


def clean(text: str) -> str:
    """Replace every character that controls a terminal by a visible escape."""
    return text.translate(_VISIBLE)


def clean_lines(lines: bytes, *, json: bool) -> bytes:
    """The same for whole lines of output; with `json` the escapes are those of JSON, and it remains valid."""
    return lines.decode("utf-8", "replace").translate(_IN_JSON if json else _IN_LINES).encode()
