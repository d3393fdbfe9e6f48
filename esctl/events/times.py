"""Parse times, in RFC 3339 and in what tools print, into UTC text with microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from esctl.errors import RefusedError

# The form of nearly every time in real input. February 29 goes to the full parser, which knows the leap years.
CANONICAL = (
    r"(?!0000)\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z"
)
is_canonical = re.compile(CANONICAL, re.ASCII).fullmatch
# RFC 3339 and what tools print: no seconds, a comma, a blank before the zone, +0100, +01, UTC.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d)(?::([0-5]\d|60)(?:[.,](\d+))?)?"
    r"(?: ?([Zz]|UTC|GMT|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?",
    re.ASCII,
).fullmatch
_UNIX = re.compile(r"@(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII).fullmatch


def canonical(text: str) -> str:
    """Convert a time with a zone in any spelling, or seconds since 1970 (`@…`), to the log's form, cut to microseconds.

    Raises RefusedError for anything else, also for a time without a zone: a log has no local time.
    """
    if is_canonical(text):
        return text
    match = _TIME(text)
    if match and match[5]:
        return utc_text(_moment(match))
    if moment := unix(text):
        return utc_text(moment)
    raise RefusedError(
        f"the time {text[:60]!r} {'has no zone' if match else 'is not RFC 3339 with a zone'}",
        why="write 2026-01-31T09:30:00Z or …+01:00",
    )


def utc(text: str) -> str | None:
    """The same for SQL: a time without a zone is UTC, as in SQLite; None for what is not a time."""
    if is_canonical(text):
        return text
    try:
        if match := _TIME(text):
            return utc_text(_moment(match, zone="+00:00"))
        moment = unix(text)
    except RefusedError:
        return None
    return None if moment is None else utc_text(moment)


def moment_of(text: str, *, upper: bool) -> datetime | None:
    """The moment of a complete time; without a zone, it is local: as an `upper` bound, the last such moment."""
    match = _TIME(text)
    return _moment(match, upper=upper) if match else unix(text)


def _moment(match: re.Match[str], *, upper: bool = False, zone: str = "") -> datetime:
    """The moment of a time; without a zone, it is in `zone`, or else local: as an `upper` bound, the last such moment.

    A leap second is the last microsecond of its minute, since clocks and days have no room for it.
    """
    date, clock, second, fraction, own = match.groups()
    leap = second == "60"
    second, fraction = ("59", "999999") if leap else (second or "00", f"{fraction or '0':0<6.6}")
    zone = zone if own is None else "+00:00" if own[0].isalpha() else own
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}:{second}.{fraction}{zone}")
        moment = moment.astimezone(UTC) if zone else local(moment, upper=upper)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"the time {match[0]!r} does not exist", why=str(error)) from error
    if leap and (moment.hour, moment.minute) != (23, 59):
        raise RefusedError(f"the time {match[0]!r} does not exist", why="only 23:59:60 UTC can be a leap second")
    return moment


def local(clock: datetime, *, upper: bool) -> datetime:
    """The moment at which local clocks show a time: the first, or as an `upper` bound the last, if it occurs twice.

    If clocks skip it, the moment that they would have shown it without the change.
    """
    moments = [clock.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = [moment for moment in moments if moment.astimezone().replace(tzinfo=None) == clock]
    return (max if upper else min)(real) if real else max(moments)


def unix(text: str) -> datetime | None:
    """The moment of seconds since 1970 (`@1700000000.5`)."""
    if not (match := _UNIX(text)):
        return None
    try:
        return datetime.fromtimestamp(int(match[1]), UTC) + timedelta(microseconds=int(f"{match[2] or '0':0<6.6}"))
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"the time {text!r} does not exist", why=str(error)) from error


def age(text: str) -> int:
    """Whole seconds since a time of the log; 0 for a future one."""
    return max(0, int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()))


def utc_text(moment: datetime) -> str:
    """A moment (an aware datetime) in the log's form."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def clock_text(seconds: float) -> str:
    """Seconds since 1970 in the log's form."""
    return utc_text(datetime.fromtimestamp(seconds, UTC))
