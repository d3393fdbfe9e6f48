"""Parses words of a command line: `key=text`, `key:=json`, and expectations. Loads neither re nor msgspec."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.errors import RefusedError, UsageError
from esctl.events.event import Expect, parse_expect
from esctl.events.json import quoted
from esctl.events.keys import check_keys
from esctl.store.json import is_json

_MAX_PLAIN_BYTES = 1024 * 1024


def item(text: str) -> tuple[str, str] | None:
    """Parse `key=text` or `key:=json` into a key and its JSON text; None if it is neither.

    Raises RefusedError if the text after `:=` is not JSON, or has a key twice in an object.
    """
    key, equals, value = text.partition("=")
    as_json = key.endswith(":")
    key = key.removesuffix(":")
    if not equals or not key or ":" in key or any(character.isspace() for character in key):
        return None
    return key, _checked_json(text, key, value) if as_json else quoted(value)


def _checked_json(text: str, key: str, value: str) -> str:
    try:
        if is_plain(value):
            check_keys(value.encode(), "it")
            return value.strip(" ")
        from esctl.events.lines import payload_of  # noqa: PLC0415 - loads msgspec, for JSON that SQLite cannot check

        return bytes(payload_of(value.encode(), "it")).decode()
    except (RefusedError, UnicodeEncodeError) as error:
        why = f"{error.what}: {error.why}" if isinstance(error, RefusedError) else "it is not valid UTF-8"
        raise RefusedError(
            f"{text[:80]!r} has no JSON after :=", why=f"{why}; {key}={value[:40]} means a text"
        ) from error


def is_plain(text: str) -> bool:
    """Whether SQLite alone can accept this text as JSON: one line, no escaped surrogates, not too large."""
    return (
        len(text) <= _MAX_PLAIN_BYTES
        and text.isprintable()
        and "\\ud" not in text
        and "\\uD" not in text
        and is_json(text)
    )


def items(texts: Iterable[str], option: str) -> dict[str, str]:
    """Parse several `key=text` or `key:=json` into JSON texts by key. A key may be given once."""
    texts_by_key: dict[str, str] = {}
    for text in texts:
        if (pair := item(text)) is None:
            raise UsageError(f"{option} is {text[:80]!r}", why="expected: key=text or key:=json")
        if pair[0] in texts_by_key:
            raise UsageError(f"{option} gives the key {pair[0]!r} twice", why="an object has each key once")
        texts_by_key[pair[0]] = pair[1]
    return texts_by_key


def as_object(texts_by_key: dict[str, str]) -> str:
    """The JSON object with these keys and JSON texts."""
    return "{" + ",".join(f"{quoted(key)}:{value}" for key, value in texts_by_key.items()) + "}"


def expectation(text: str | None) -> Expect | None:
    """Parse the value of `--expect`: any, none, exists or a version."""
    expect = None if text is None else parse_expect(text)
    if text is not None and expect is None:
        raise UsageError(f"--expect is {text!r}", why="expected: any, none, exists or a version such as 7")
    return expect


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str, option: str) -> float:
    """The seconds of a length of time: `90`, `1.5s`, `5m`, `2h`, `1d`. Raises UsageError."""
    number = text.rstrip("".join(_UNITS))
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < 10**10:
        raise UsageError(f"{option} is {text[:40]!r}", why="expected a length of time: 90 (seconds), 5m, 2h, 1d")
    return seconds
