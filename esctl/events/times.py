"""Parse RFC 3339 times into UTC text with microseconds, and parse points in a log."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from esctl.errors import RefusedError, UsageError
from esctl.events.event import whole_number

NO_SUCH_MOMENT = "no such moment"  # the code of an error: the text has the form of a time, but no such day exists

# The form of nearly every time in real input. Days 29 to 31 go to the full parser, which knows the months' lengths.
is_canonical = re.compile(
    r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII
).fullmatch
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
).fullmatch
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch


def canonical(text: str) -> str:
    """Convert an RFC 3339 time in any zone to the log's form, cut to microseconds.

    Raises RefusedError for anything else, also for a time without a zone: a log has no local time.
    """
    if is_canonical(text):
        return text
    if not (match := _RFC3339(text)) or not match[4]:
        raise RefusedError(
            f"the time {text[:60]!r} is not RFC 3339 with a zone", why="write 2026-01-31T09:30:00Z or …+01:00"
        )
    return utc_text(_moment(match))


def _moment(match: re.Match[str]) -> datetime:
    """The moment of an RFC 3339 match; without a zone, it is local time."""
    date, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in ("Z", "z") else zone or ""
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{(fraction or '0')[:6]:0<6}{zone}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"the time {match[0]!r} does not exist", why=str(error)) from error


def age(text: str) -> int:
    """Whole seconds since a time of the log; 0 for a future one."""
    return max(0, int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()))


def utc_text(moment: datetime) -> str:
    """A moment (an aware datetime) in the log's form."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class Point:
    """A point in a log: exactly one of `time` (UTC text), `position` and `version` is set."""

    __slots__ = ("position", "time", "version")

    def __init__(self, *, time: str | None = None, position: int | None = None, version: int | None = None) -> None:
        self.time, self.position, self.version = time, position, version


_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII).fullmatch
_UNIX = re.compile(r"@(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII).fullmatch
_AGO = re.compile(r"(\d{1,7}) ?([a-z]+?)s?(?: ago)?", re.ASCII).fullmatch
_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day"), timedelta(days=1)),
    **dict.fromkeys(("w", "week"), timedelta(weeks=1)),
}


def parse_point(text: str, *, upper: bool, mark: Callable[[str], int | None] = lambda _: None) -> Point:
    """Parse a point: a time in any form of `esctl help time`, `#120` (position), `v7` (version of a stream) or a mark.

    A bare date is a whole local day: its first moment as a lower bound, its last as an `upper` one, since bounds
    are inclusive. A time without a zone is local. `mark` returns the position of a mark by name (None: no such mark);
    it is called last. Raises UsageError for anything else.
    """
    if text[:1] in ("#", "v") and (number := whole_number(text[1:])) is not None:
        return Point(position=number) if text[0] == "#" else Point(version=number)
    try:
        if moment := _exact(text) or _day(text, upper=upper) or _relative(text):
            return Point(time=utc_text(moment))
    except (RefusedError, ValueError, OverflowError) as error:
        raise UsageError(
            f"the point {text!r} does not exist", why=str(error), fix="esctl help time", code=NO_SUCH_MOMENT
        ) from error
    if (position := mark(text)) is not None:
        return Point(position=position)
    raise UsageError(
        f"{text[:60]!r} is not a point in a log",
        why="a point is a time (2026-01-31T09:30:00Z, 2026-01-31, 2h), #120 (a position), v7 (a version) or a mark",
        fix="esctl help time",
    )


def _exact(text: str) -> datetime | None:
    """A complete moment: RFC 3339, seconds since 1970 (`@…`), or a clock time today."""
    if match := _RFC3339(text):
        return _moment(match)
    if match := _UNIX(text):
        return datetime.fromtimestamp(int(match[1]), UTC) + timedelta(microseconds=int(f"{match[2] or '0':0<6.6}"))
    if match := _CLOCK(text):
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        today = datetime.now()  # noqa: DTZ005 - a local clock time, with the UTC offset in force then
        return today.replace(hour=hour, minute=minute, second=second, microsecond=0).astimezone(UTC)
    return None


def _day(text: str, *, upper: bool) -> datetime | None:
    """The first or the last moment of a local day."""
    today = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ005 - local days
    named = {"today": today, "yesterday": today - timedelta(days=1)}
    if text not in named and not _DATE(text):
        return None
    day = named[text] if text in named else datetime.fromisoformat(text)
    if not upper:
        return _midnight(day)
    if day.date() == date.max:
        return datetime.combine(date.max, time.max, UTC)
    return _midnight(day + timedelta(days=1)) - timedelta(microseconds=1)


def _midnight(day: datetime) -> datetime:
    """The first moment of a local day. Where clocks change at midnight, midnight occurs twice or not at all."""
    moments = [day.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = [moment for moment in moments if moment.astimezone().replace(tzinfo=None) == day]
    return min(real) if real else max(moments)


def _relative(text: str) -> datetime | None:
    """A moment relative to now: `now`, `2h`, `3 days ago`."""
    if text == "now":
        return datetime.now(UTC)
    if (match := _AGO(text)) and (match[2] in _UNITS):
        return datetime.now(UTC) - int(match[1]) * _UNITS[match[2]]
    return None
