"""Moments as people type them: clock times, days, weeks, months, and so long ago. All but the last are local."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from esctl.errors import RefusedError
from esctl.events.times import canonical, local, utc_text

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII).fullmatch
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII).fullmatch
_SPAN = re.compile(r"(\d{1,7}) ?([a-z]+?)s?(?=\d| \d|$)", re.ASCII).match
_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day"), timedelta(days=1)),
    **dict.fromkeys(("w", "week"), timedelta(weeks=1)),
}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAYS = {name: number for number, day in enumerate(_DAYS) for name in (day, day[:3])}
_HOURS = {"midnight": time(0), "noon": time(12)}

Period = tuple[datetime, datetime | None]
"""The local midnights that a period begins with and ends before; None: the calendar ends with it."""


def typed(text: str) -> str:
    """A moment given for an event (`--time`) in the log's form: a time with a zone, `@…`, `now`, or so long ago.

    Raises RefusedError for anything else: which day is meant depends on where one is.
    """
    try:
        moment = relative(text)
    except OverflowError:
        moment = None
    try:
        return utc_text(moment) if moment else canonical(text)
    except RefusedError as error:
        raise RefusedError(error.what, why=f"{error.why}; --time also takes now and 2h ago") from error


def relative(text: str) -> datetime | None:
    """A moment relative to now: `now`, `2h`, `1d12h`, `-2h`, `3 days ago`."""
    if text == "now":
        return datetime.now(UTC)
    total, at = timedelta(), 0
    spans = text[1:] if text.startswith("-") else text.removesuffix(" ago")
    while match := _SPAN(spans, at):
        if match[2] not in _UNITS:
            return None
        total += int(match[1]) * _UNITS[match[2]]
        if match.end() == len(spans):
            return datetime.now(UTC) - total
        at = match.end() + (spans[match.end()] == " ")
    return None


def usual(text: str, *, upper: bool) -> datetime | None:
    """A clock time today; the first or the last moment of a local day; or a moment relative to now."""
    if _CLOCK(text):
        return _at(_today(), text, upper=upper)
    if (_DATE(text) or text in ("today", "yesterday")) and (day := _day(text)):
        return _bound((day, _after(day, 1)), upper=upper)
    return relative(text)


def other(text: str, *, upper: bool) -> datetime | None:
    """The same for `noon`, `yesterday 10:00`, `monday`, `last week`, `2026-03`. Text may be in any case."""
    text = text.lower()
    if text in _HOURS:
        return _at(_today(), text, upper=upper)
    name, _, clock = text.rpartition(" ")
    if (clock in _HOURS or _CLOCK(clock)) and (day := _day(name)):
        return _at(day, clock, upper=upper)
    if day := _day(text):
        return _bound((day, _after(day, 1)), upper=upper)
    period = _period(text)
    return period and _bound(period, upper=upper)


def _today() -> datetime:
    return datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ005 - local days


def _at(day: datetime, clock: str, *, upper: bool) -> datetime:
    """The moment of a clock time on a local day."""
    return local(datetime.combine(day, _HOURS.get(clock) or time.fromisoformat(clock)), upper=upper)


def _day(text: str) -> datetime | None:
    """The midnight of a local day: a date, `today`, `yesterday`, the latest `monday`, or one before today."""
    if _DATE(text):
        return datetime.fromisoformat(text)
    today = _today()
    if text in ("today", "yesterday"):
        return today - timedelta(days=text == "yesterday")
    name = text.removeprefix("last ")
    if name not in _WEEKDAYS:
        return None
    back = (today.weekday() - _WEEKDAYS[name]) % 7
    return today - timedelta(days=back or (7 if name != text else 0))


def _period(text: str) -> Period | None:
    """A month (`2026-03`), or this or last week, month or year."""
    if match := _MONTH(text):
        return _months(int(match[1]), int(match[2]), 1)
    which, _, unit = text.partition(" ")
    if which not in ("this", "last"):
        return None
    back, today = int(which == "last"), _today()
    if unit == "week":
        monday = today - timedelta(days=today.weekday() + 7 * back)
        return monday, _after(monday, 7)
    if unit == "month":
        return _months(today.year - (back and today.month == 1), (today.month - back) or 12, 1)
    return _months(today.year - back, 1, 12) if unit == "year" else None


def _months(year: int, month: int, number: int) -> Period:
    """So many months from this one on. Raises ValueError for a month that does not exist."""
    later = year * 12 + month - 1 + number
    end = None if later >= date.max.year * 12 + 12 else datetime(later // 12, later % 12 + 1, 1)  # noqa: DTZ001
    return datetime(year, month, 1), end  # noqa: DTZ001


def _after(day: datetime, days: int) -> datetime | None:
    """The midnight so many days later."""
    return None if (date.max - day.date()).days < days else day + timedelta(days=days)


def _bound(period: Period, *, upper: bool) -> datetime:
    """The first or the last moment of a local period."""
    first, end = period
    if not upper:
        return local(first, upper=False)
    if end is None:
        return datetime.combine(date.max, time.max, UTC)
    return local(end, upper=False) - timedelta(microseconds=1)
