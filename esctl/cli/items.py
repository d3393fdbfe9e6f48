"""What a command line says in a word: `key=text` and `key:=json`, and expectations. Loads neither re nor msgspec."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.errors import RefusedError, UsageError
from esctl.events.event import Expect, parse_expect
from esctl.events.json import quoted
from esctl.store.json import is_json

_MAX_PLAIN_BYTES = 1024 * 1024


def item(text: str) -> tuple[str, str] | None:
    """Read `key=text` or `key:=json` as a key and its JSON text; None if it is neither.

    Raises RefusedError where what stands after `:=` is not JSON.
    """
    key, equals, value = text.partition("=")
    as_json = key.endswith(":")
    key = key.removesuffix(":")
    if not equals or not key or ":" in key or any(character.isspace() for character in key):
        return None
    return key, _checked(text, key, value) if as_json else quoted(value)


def _checked(text: str, key: str, value: str) -> str:
    if is_plain(value):
        return value.strip(" ")
    from esctl.events.lines import payload_of  # noqa: PLC0415 - msgspec, for what SQLite does not judge, and to say what is wrong

    try:
        return bytes(payload_of(value.encode(), "it")).decode()
    except (RefusedError, UnicodeEncodeError) as error:
        why = f"{error.what}: {error.why}" if isinstance(error, RefusedError) else "it is not valid UTF-8"
        raise RefusedError(
            f"{text[:80]!r} does not hold JSON after :=", why=f"{why}; {key}={value[:40]} means a text"
        ) from error


def is_plain(text: str) -> bool:
    """Whether a text is JSON that needs no second look: one line, no escaped surrogates, not too large for that."""
    return (
        len(text) <= _MAX_PLAIN_BYTES
        and text.isprintable()
        and "\\ud" not in text
        and "\\uD" not in text
        and is_json(text)
    )


def items(texts: Iterable[str], option: str) -> dict[str, str]:
    """Read several `key=text` or `key:=json` as JSON texts by key; the last of a key wins."""
    made: dict[str, str] = {}
    for text in texts:
        if (pair := item(text)) is None:
            raise UsageError(f"{option} {text[:80]!r}", why="it is key=text or key:=json")
        made[pair[0]] = pair[1]
    return made


def as_object(made: dict[str, str]) -> str:
    """The JSON object of keys and JSON texts."""
    return "{" + ",".join(f"{quoted(key)}:{value}" for key, value in made.items()) + "}"


def expectation(text: str | None) -> Expect | None:
    """Read `--expect`: any, none, exists or a version."""
    expect = None if text is None else parse_expect(text)
    if text is not None and expect is None:
        raise UsageError(f"--expect is {text!r}", why="it is any, none, exists or a version such as 7")
    return expect
