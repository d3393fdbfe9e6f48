"""Find keys that occur twice in a JSON object: SQLite reads the first of the two values, everything else the last."""

from __future__ import annotations

from esctl.errors import RefusedError

_WHITE = (b" ", b"\t", b"\r", b"\n")


def check_keys(text: bytes, what: str = "the line") -> None:
    """Refuse valid JSON in which an object has a key twice, at any depth."""
    if found := repeated(text):
        key, byte = found
        raise RefusedError(
            f"the key {key!r} occurs twice in an object of {what}",
            why="programs disagree on which of its two values counts",
            byte=byte,
            key=key,
        )


def repeated(text: bytes) -> tuple[str, int] | None:
    r"""The first key of valid JSON that its object already has, and the byte (from 1) where it begins; or None.

    Keys are compared as they are read: `a` and `\u0061` are one key. The search goes from string to string; between
    two strings are numbers and the characters that open, close and separate.
    """
    objects: list[set[bytes]] = []
    end = 0
    while (start := text.find(b'"', end)) >= 0:
        for byte in text[end:start]:
            if byte == 0x7B:  # {
                objects.append(set())
            elif byte == 0x7D:  # }
                objects.pop()
        end = _string_end(text, start)
        if _is_key(text, end):
            key = _plain(text[start:end])
            if key in objects[-1]:
                return key.decode(), start + 1
            objects[-1].add(key)
    return None


def _string_end(text: bytes, start: int) -> int:
    """Where the string that begins at `start` has ended."""
    end = start
    escaped = True
    while escaped:
        end = text.index(b'"', end + 1)
        slashes = end
        while text[slashes - 1] == 0x5C:  # backslashes: each escapes the next one, the last of an odd number the quote
            slashes -= 1
        escaped = (end - slashes) % 2 == 1
    return end + 1


def _is_key(text: bytes, end: int) -> bool:
    """Whether a colon follows the string that ended here."""
    while text[end : end + 1] in _WHITE:
        end += 1
    return text[end : end + 1] == b":"


def _plain(quoted: bytes) -> bytes:
    """The content of a JSON string, without escapes."""
    if b"\\" not in quoted:
        return quoted[1:-1]
    import json  # noqa: PLC0415 - few keys have escapes

    content: str = json.loads(quoted)
    return content.encode()
