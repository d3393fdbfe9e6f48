"""Makes text safe for a terminal, and makes pages fit it."""

from __future__ import annotations

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional controls.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F)]
_CONTROLS += range(0x2066, 0x206A)
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_VISIBLE |= {10: "\\n", 13: "\\r", 9: "\\t"}

_ITEM = "* "
_NOT_TEXT = ("    ", "#", "|")  # code, titles, tables

# For whole lines, whose ends and tabs stay; in JSON a raw CR can only be a blank between tokens.
_IN_LINES = {code: shown for code, shown in _VISIBLE.items() if code not in (9, 10)}
_IN_JSON = {code: f"\\u{code:04x}" for code in _IN_LINES} | {13: " "}


def clean(text: str) -> str:
    """Replace every character that controls a terminal by a visible escape."""
    return text.translate(_VISIBLE)


def fitted(page: str, width: int) -> str:
    """A page of Markdown in lines of this width: its paragraphs, its items, and indented lines of two columns. All else
    stays as it is.
    """
    import re  # noqa: PLC0415 - for help pages only
    import textwrap  # noqa: PLC0415 - the same

    first_column = re.compile(r" {4,}\S+( \S+)* {2,}(?=[^ #])| {12,}(?=[^ #])")

    lines: list[str] = []
    block: list[str] = []
    is_code = False

    def flush() -> None:
        if max(map(len, block), default=0) > width:
            text = " ".join([block[0], *(line.strip() for line in block[1:])])
            indent = "  " * text.startswith(_ITEM)
            block[:] = textwrap.wrap(
                text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
        lines.extend(block)
        block.clear()

    for line in page.split("\n"):
        is_fence = line.startswith("```")
        is_text = not is_code and not is_fence and line.strip() != "" and not line.startswith(_NOT_TEXT)
        if not is_text or line.startswith(_ITEM):
            flush()
        if is_text:
            block.append(line)
        elif not is_code and len(line) > width and (column := first_column.match(line)) and column.end() <= width // 2:
            lines += textwrap.wrap(line, width, subsequent_indent=" " * column.end(), break_on_hyphens=False)
        else:
            lines.append(line)
        is_code ^= is_fence
    flush()
    return "\n".join(lines)


def clean_lines(lines: bytes, *, json: bool) -> bytes:
    """The same for whole lines of output; with `json` the escapes are those of JSON, and it remains valid."""
    return lines.decode("utf-8", "replace").translate(_IN_JSON if json else _IN_LINES).encode()
