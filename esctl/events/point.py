"""Parse points in a log, as a user types them."""

from __future__ import annotations

from collections.abc import Callable

from esctl.errors import RefusedError, UsageError
from esctl.events import words
from esctl.events.event import whole_number
from esctl.events.times import moment_of, utc_text

NO_SUCH_MOMENT = "no such moment"  # the code of an error: the text has the form of a time, but no such day exists


class Point:
    """A point in a log: exactly one of `time` (UTC text), `position` and `version` is set."""

    __slots__ = ("position", "time", "version")

    def __init__(self, *, time: str | None = None, position: int | None = None, version: int | None = None) -> None:
        self.time, self.position, self.version = time, position, version


def parse_point(text: str, *, upper: bool, mark: Callable[[str], int | None] = lambda _: None) -> Point:
    """Parse a point: a time in any form of `esctl help time`, `#120` (position), `v7` (version of a stream) or a mark.

    A date, a month and the like are a whole local period: its first moment as a lower bound, its last as an `upper`
    one, since bounds are inclusive. A time without a zone is local. `mark` returns the position of a mark by name
    (None: no such mark). Raises UsageError for anything else.
    """
    if text[:1] in ("#", "v") and (number := whole_number(text[1:])) is not None:
        return Point(position=number) if text[0] == "#" else Point(version=number)
    try:
        if moment := moment_of(text, upper=upper) or words.usual(text, upper=upper):
            return Point(time=utc_text(moment))
        if (moment := words.other(text, upper=upper)) and mark(text) is None:  # marks may be older than these forms
            return Point(time=utc_text(moment))
    except (RefusedError, ValueError, OverflowError) as error:
        raise UsageError(
            f"the point {text!r} does not exist", why=str(error), fix="esctl help time", code=NO_SUCH_MOMENT
        ) from error
    if (position := mark(text)) is not None:
        return Point(position=position)
    raise UsageError(
        f"{text[:60]!r} is not a point in a log",
        why=_hint(text),
        fix="esctl help time",
    )


def _hint(text: str) -> str:
    """What a point is, for a text that is none."""
    if text.isascii() and text.isdecimal():
        month = f", {text}-01 a month" if len(text) == len("2026") else ""
        return f"a number alone is none: #{text[:20]} is a position, v{text[:20]} a version{month}"
    times = "2026-01-31T09:30:00Z, 2026-01-31, 2026-01, 2h"
    return f"a point is a time ({times}), #120 (a position), v7 (a version) or a mark"
