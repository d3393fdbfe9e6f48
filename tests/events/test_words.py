"""Moments as people type them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esctl.errors import RefusedError, UsageError
from esctl.events import words
from esctl.events.point import parse_point
from esctl.events.times import utc_text
from esctl.events.words import typed

MONDAY = date(2026, 3, 2)
NAMES = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


@pytest.fixture(autouse=True)
def berlin(zone: Callable[[str], None]) -> None:
    """The local zone is Berlin's."""
    zone("Europe/Berlin")


def on(day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a day today."""
    monkeypatch.setattr(words, "_today", lambda: datetime.combine(day, datetime.min.time()))


def bounds(text: str) -> tuple[str | None, str | None]:
    return parse_point(text, upper=False).time, parse_point(text, upper=True).time


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("monday", "2026-03-16"),
        ("Mon", "2026-03-16"),
        ("tuesday", "2026-03-17"),
        ("wednesday", "2026-03-18"),
        ("thursday", "2026-03-12"),
        ("sun", "2026-03-15"),
        ("last wednesday", "2026-03-11"),
        ("last monday", "2026-03-16"),
        ("yesterday 10:00", "2026-03-17 10:00"),
        ("yesterday 10:00:30", "2026-03-17 10:00:30"),
        ("today noon", "2026-03-18 12:00"),
        ("noon", "2026-03-18 12:00"),
        ("midnight", "2026-03-18 00:00"),
        ("monday 09:30", "2026-03-16 09:30"),
        ("2026-01-31 noon", "2026-01-31 12:00"),
        ("2026-01-31 10:00", "2026-01-31T10:00:00"),
        ("2026-01-31T10:00", "2026-01-31T10:00:00"),
    ],
)
def test_a_day_or_an_hour_may_be_named(text: str, same: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on(date(2026, 3, 18), monkeypatch)  # a Wednesday
    assert bounds(text) == bounds(same)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-03", "2026-03-01", "2026-03-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2026-12", "2026-12-01", "2026-12-31"),
        ("last month", "2025-12-01", "2025-12-31"),
        ("this month", "2026-01-01", "2026-01-31"),
        ("last week", "2026-01-05", "2026-01-11"),
        ("this week", "2026-01-12", "2026-01-18"),
        ("last year", "2025-01-01", "2025-12-31"),
        ("this year", "2026-01-01", "2026-12-31"),
    ],
)
def test_a_month_a_week_or_a_year_is_whole(text: str, first: str, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on(date(2026, 1, 14), monkeypatch)
    assert bounds(text) == (bounds(first)[0], bounds(last)[1])


def test_the_last_month_of_the_calendar_ends_with_it() -> None:
    assert parse_point("9999-12", upper=True).time == "9999-12-31T23:59:59.999999Z"


@given(st.dates(date(2000, 1, 1), date(2030, 12, 31)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_weekday_is_the_latest_of_its_name(day: date) -> None:
    with pytest.MonkeyPatch.context() as patch:
        on(day, patch)
        for number, name in enumerate(NAMES):
            days = [day - timedelta(days=back) for back in range(8)]
            latest = [str(one) for one in days if one.weekday() == number]
            assert bounds(name) == bounds(latest[0])
            assert bounds(f"last {name}") == bounds(latest[-1])


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("1d12h", timedelta(hours=36)),
        ("1d 12h", timedelta(hours=36)),
        ("1 day 12 hours ago", timedelta(hours=36)),
        ("2h30m", timedelta(minutes=150)),
        ("-2h", timedelta(hours=2)),
        ("-1d12h", timedelta(hours=36)),
    ],
)
def test_spans_may_be_added_and_have_a_sign(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC)
    point = parse_point(text, upper=True).time
    assert point is not None
    assert utc_text(before) <= utc_text(datetime.fromisoformat(point) + ago) <= utc_text(datetime.now(UTC))


@pytest.mark.parametrize(
    "text", ["2026-00", "2026-13", "0000-01", "2026-02-30 noon", "monday 24:00", "next week", "last", "last noon",
             "this monday", "-2h ago", "--2h", "1d12", "1d  2h", "2h ago 1d", "noon noon", "- 2h", "1d,2h", "last day"]
)  # fmt: skip
def test_anything_else_is_no_point(text: str) -> None:
    with pytest.raises(UsageError):
        parse_point(text, upper=True)


@pytest.mark.parametrize("name", ["monday", "2026-03", "noon", "last week", "yesterday 10:00"])
def test_a_mark_that_is_older_than_these_forms_is_still_meant(name: str) -> None:
    assert parse_point(name, upper=True, mark={name: 7}.get).position == 7


@pytest.mark.parametrize("text", ["now", "2h", "1d12h", "-2h", "3 days ago"])
def test_an_event_may_happen_so_long_ago(text: str) -> None:
    assert abs(datetime.fromisoformat(typed(text)) - datetime.fromisoformat(bounds(text)[1] or "")) < timedelta(
        minutes=1
    )


@pytest.mark.parametrize("text", ["2026-01-31 09:30:00 +0100", "@1769848200"])
def test_an_event_may_happen_at_any_time_with_a_zone(text: str) -> None:
    assert typed(text) == "2026-01-31T08:30:00.000000Z"


@pytest.mark.parametrize("text", ["2026-01-31T09:30:00", "2026-01-31", "noon", "monday", "yesterday", "9999999w"])
def test_an_event_may_not_happen_at_a_local_time(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        typed(text)
    assert refused.value.why == "write 2026-01-31T09:30:00Z or …+01:00; --time also takes now and 2h ago"
