"""Reject SQL that reads the clock or the time zone: by its tokens before it runs, by its arguments when it runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import apsw

from esctl.errors import MisfitError
from esctl.sql.tokens import GAP, words_of
from esctl.sql.utc import UTC

# SQLite rejects a date function that reads the clock only when it runs; a check on a sample misses untaken branches.
DATES = ("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff")


_CLOCK_WORDS = ("now", "localtime", "utc", "subsec", "subsecond")


def reads_clock(sql: str) -> bool:
    """Whether SQL visibly calls a date function for the time or the time zone; `without_clock` stops hidden calls."""
    words = [word.lower() for word in words_of(sql)]
    literals = {word.strip("'").strip() for word in words if word.startswith("'")}
    for index, (word, following) in enumerate(pairwise(words)):
        if (word, following) == (UTC, "(") and words[index + 2 : index + 3] == ["'now'"]:  # else it gives NULL
            return True
        if word in DATES and following == "(":
            inside = _arguments(words[index + 2 :])
            commas = inside.count(",")
            if not inside or literals & set(_CLOCK_WORDS) or (word == "strftime" and not commas):
                return True
    return False


def _arguments(words: list[str]) -> list[str]:
    """The words up to the closing bracket, without nested brackets."""
    depth, inside = 1, []
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            break
        inside.append(word)
    return [word for word in inside if word not in "()"]


_NAMES_DATES = rf"\b(?:{'|'.join(DATES)})[\"`\]]?{GAP}\("


def names_dates(sql: str) -> bool:
    """Whether an expression calls a date function by name, which could read the clock."""
    lower = sql.lower()
    if not any(name in lower for name in DATES):  # nearly all SQL; `re` would slow a cold start
        return False
    import re  # noqa: PLC0415

    return re.search(_NAMES_DATES, sql, re.IGNORECASE | re.DOTALL) is not None


def _as_text(value: object) -> str:
    """A value as SQLite's date functions read it: they treat a blob as text, and end text at a NUL."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.partition("\0")[0].strip().lower()


def without_clock(connection: apsw.Connection) -> None:
    """Make a connection's date functions refuse to read the clock or the time zone, at a Python call each."""
    real = apsw.Connection(":memory:")

    def shadow(name: str) -> Callable[..., object]:
        def function(*values: object) -> object:
            words = [_as_text(value) for value in values]
            moment = words[1:] if name == "strftime" else words
            if not moment or moment[0] in ("subsec", "subsecond") or {"now", "localtime", "utc"} & set(words):
                raise MisfitError(
                    f"an expression of the model fails on an event: {name}() would read the clock or the time zone",
                    why="a definition must give the same result at any time",
                    fix="esctl upcast check",
                )
            return real.execute(f"select {name}({', '.join('?' * len(values))})", values).get

        return function

    for name in DATES:
        connection.create_scalar_function(name, shadow(name), -1, deterministic=True)
