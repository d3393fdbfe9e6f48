"""SQL that would read the clock or the time zone: found before it runs, and stopped where it hides."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import apsw

from esctl.errors import MisfitError
from esctl.sql.tokens import GAP, words_of

# SQLite notices a date function that reads the clock only when it does; this is for branches that the sample misses.
DATES = ("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff")


_CLOCK_WORDS = ("now", "localtime", "utc", "subsec", "subsecond")


def reads_clock(sql: str) -> bool:
    """Whether SQL plainly asks a date function for the time or the time zone; one that hides it is stopped when run."""
    words = [word.lower() for word in words_of(sql)]
    literals = {word.strip("'").strip() for word in words if word.startswith("'")}
    for at, (word, following) in enumerate(pairwise(words)):
        if word in DATES and following == "(":
            inside = _within(words[at + 2 :])
            commas = inside.count(",")
            if not inside or literals & set(_CLOCK_WORDS) or (word == "strftime" and not commas):
                return True
    return False


def _within(words: list[str]) -> list[str]:
    """The words up to the bracket that closes, less brackets around and within them."""
    depth, inside = 1, []
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            break
        inside.append(word)
    return [word for word in inside if word not in "()"]


_NAMES_DATES = rf"\b(?:{'|'.join(DATES)})[\"`\]]?{GAP}\("


def names_dates(sql: str) -> bool:
    """Whether an expression may call a date function, which could read the clock."""
    lower = sql.lower()
    if not any(name in lower for name in DATES):  # as in most: without `re`, which a cold start would feel
        return False
    import re  # noqa: PLC0415

    return re.search(_NAMES_DATES, sql, re.IGNORECASE | re.DOTALL) is not None


def _as_text(value: object) -> str:
    """A value as the date functions read it: to them a blob is text too, and text ends at a NUL."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.partition("\0")[0].strip().lower()


def without_clock(connection: apsw.Connection) -> None:
    """Have the date functions of a connection refuse to read the clock or the time zone; costs a call each."""
    real = apsw.Connection(":memory:")

    def shadow(name: str) -> Callable[..., object]:
        def function(*values: object) -> object:
            words = [_as_text(value) for value in values]
            moment = words[1:] if name == "strftime" else words
            if not moment or moment[0] in ("subsec", "subsecond") or {"now", "localtime", "utc"} & set(words):
                raise MisfitError(
                    f"an expression of the model fails on an event: {name}() would read the clock or the time zone",
                    why="a definition gives the same result whenever it is asked",
                    fix="esctl upcast check",
                )
            return real.execute(f"select {name}({', '.join('?' * len(values))})", values).get

        return function

    for name in DATES:
        connection.create_scalar_function(name, shadow(name), -1, deterministic=True)
