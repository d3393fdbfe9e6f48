"""Times: RFC 3339 in, UTC text with microseconds out; and what a point in a log may be."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from esctl.errors import RefusedError, UsageError
from esctl.events import whole_number

# The form in which nearly every line of a real log comes. Days 29 to 31 take the long way, where months count.
is_canonical = re.compile(
    r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII
).fullmatch
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
).fullmatch
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch


def canonical(text: str) -> str:
    """An RFC 3339 time in any zone as the log writes it, cut to microseconds.

    Raises RefusedError for anything else, a time without a zone included: a log has no place that it is local to.
    """
    if is_canonical(text):
        return text
    if not (match := _RFC3339(text)) or not match[4]:
        raise RefusedError(
            f"the time {text[:60]!r} is not RFC 3339 with a zone", why="such as 2026-01-31T09:30:00Z or …+01:00"
        )
    return utc_text(_moment(match))


def _moment(match: re.Match[str]) -> datetime:
    """The moment that an RFC 3339 match names; without a zone, as the local clock showed it."""
    date, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in ("Z", "z") else zone or ""
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{(fraction or '0')[:6]:0<6}{zone}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"the time {match[0]!r} does not exist", why=str(error)) from error


def utc_text(moment: datetime) -> str:
    """An aware moment as the log writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class Point:
    """A point in a log: exactly one of `time` (UTC text), `position` and `version` is set."""

    __slots__ = ("position", "time", "version")

    def __init__(self, *, time: str | None = None, position: int | None = None, version: int | None = None) -> None:
        self.time, self.position, self.version = time, position, version


def parse_point(text: str, *, upper: bool) -> Point:
    """Read a point: an RFC 3339 time, a date, `#120` (position) or `v7` (version of a stream).

    A bare date is a whole local day: its first moment as a lower bound, its last as an `upper` one, since bounds
    are inclusive. A time without a zone is local. Raises UsageError for anything else.
    """
    if text[:1] in ("#", "v") and (number := whole_number(text[1:])) is not None:
        return Point(position=number) if text[0] == "#" else Point(version=number)
    try:
        if match := _RFC3339(text):
            return Point(time=utc_text(_moment(match)))
        if _DATE(text):
            day = datetime.fromisoformat(text)
            if upper:
                day = day + timedelta(days=1)
            moment = day.astimezone(UTC) - timedelta(microseconds=1 if upper else 0)
            return Point(time=utc_text(moment))
    except (RefusedError, ValueError, OverflowError) as error:
        raise UsageError(f"the point {text!r} does not exist", why=str(error)) from error
    raise UsageError(
        f"{text[:60]!r} is not a point in a log",
        why="a point is a time (2026-01-31T09:30:00Z), a date (2026-01-31), #120 (a position) or v7 (a version)",
        fix="esctl help time",
    )
