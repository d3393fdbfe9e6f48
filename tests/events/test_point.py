"""Points in a log, as a user types them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from esctl.errors import UsageError
from esctl.events.point import Point, parse_point
from esctl.events.times import utc_text

Zone = Callable[[str], None]


def parts(point: Point) -> tuple[str | None, int | None, int | None]:
    return point.time, point.position, point.version


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    ("text", "position", "version"),
    [
        ("#120", 120, None),
        ("#0", 0, None),
        ("#007", 7, None),
        ("#" + "9" * 18, 10**18 - 1, None),
        ("v7", None, 7),
        ("v0", None, 0),
    ],
)
def test_a_position_or_a_version_is_a_point(text: str, position: int | None, version: int | None, upper: bool) -> None:
    assert parts(parse_point(text, upper=upper)) == (None, position, version)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31 09:30:00z", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31T09:30:00.1234567+01:00", "2026-01-31T08:30:00.123456Z"),
        ("2026-01-31T09:30:00.5-23:59", "2026-02-01T09:29:00.500000Z"),
    ],
)
def test_a_time_with_a_zone_is_a_point_wherever_it_is_read(text: str, expected: str, upper: bool, zone: Zone) -> None:
    zone("Asia/Kolkata")
    assert parts(parse_point(text, upper=upper)) == (expected, None, None)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("UTC", "2026-01-31T09:30:00", "2026-01-31T09:30:00.000000Z"),
        ("Europe/Berlin", "2026-01-31T09:30:00", "2026-01-31T08:30:00.000000Z"),
        ("Europe/Berlin", "2026-07-31 09:30:00.25", "2026-07-31T07:30:00.250000Z"),
        ("Asia/Kolkata", "2026-01-31T09:30:00", "2026-01-31T04:00:00.000000Z"),
        ("America/New_York", "2026-01-31T20:30:00", "2026-02-01T01:30:00.000000Z"),
    ],
)
def test_a_time_without_a_zone_is_local(name: str, text: str, expected: str, zone: Zone) -> None:
    zone(name)
    assert parts(parse_point(text, upper=False)) == (expected, None, None)


@pytest.mark.parametrize(
    ("name", "day", "first", "last"),
    [
        ("UTC", "2026-01-31", "2026-01-31T00:00:00.000000Z", "2026-01-31T23:59:59.999999Z"),
        ("UTC", "2024-02-29", "2024-02-29T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z"),
        ("Asia/Kolkata", "2026-01-31", "2026-01-30T18:30:00.000000Z", "2026-01-31T18:29:59.999999Z"),
        ("Europe/Berlin", "2026-01-31", "2026-01-30T23:00:00.000000Z", "2026-01-31T22:59:59.999999Z"),
        ("Europe/Berlin", "2026-07-31", "2026-07-30T22:00:00.000000Z", "2026-07-31T21:59:59.999999Z"),
        # the day of 23 hours, and the one of 25
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00.000000Z", "2026-03-29T21:59:59.999999Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00.000000Z", "2026-10-25T22:59:59.999999Z"),
        # the day that had no midnight, and the one before
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00.000000Z", "2018-11-05T01:59:59.999999Z"),
        ("America/Sao_Paulo", "2018-11-03", "2018-11-03T03:00:00.000000Z", "2018-11-04T02:59:59.999999Z"),
    ],
)
def test_a_date_is_the_whole_local_day(name: str, day: str, first: str, last: str, zone: Zone) -> None:
    zone(name)
    assert (parse_point(day, upper=False).time, parse_point(day, upper=True).time) == (first, last)


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe"]
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the zone stays the same
@given(day=st.dates(date(1980, 1, 1), date(2036, 12, 31)))
@example(day=date(2018, 11, 3))  # the clocks of São Paulo, Havana and Beirut skip the midnight after it
@example(day=date(2018, 3, 10))
@example(day=date(2022, 3, 26))
@example(day=date(2018, 2, 17))  # … and have this last hour, or the first of the day after, twice
@example(day=date(2018, 11, 4))
def test_days_follow_each_other_without_gap_or_overlap(name: str, day: date, zone: Zone) -> None:
    zone(name)
    following = day + timedelta(days=1)
    midnight = datetime.combine(following, clock(), ZoneInfo(name)).astimezone(UTC)
    assert parse_point(following.isoformat(), upper=False).time == utc_text(midnight)
    assert parse_point(day.isoformat(), upper=True).time == utc_text(midnight - timedelta(microseconds=1))


def moment_of(text: str, *, upper: bool = False) -> datetime:
    time_ = parse_point(text, upper=upper).time
    assert time_ is not None
    return datetime.strptime(time_, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("now", timedelta()),
        ("0s", timedelta()),
        ("90 seconds ago", timedelta(seconds=90)),
        ("90 sec", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("15 min ago", timedelta(minutes=15)),
        ("1 minute ago", timedelta(minutes=1)),
        ("2h", timedelta(hours=2)),
        ("36 hours", timedelta(hours=36)),
        ("3 days ago", timedelta(days=3)),
        ("3d ago", timedelta(days=3)),
        ("2 weeks ago", timedelta(weeks=2)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_so_long_before_now_is_a_point(text: str, ago: timedelta, upper: bool) -> None:
    before = datetime.now(UTC)
    assert before <= moment_of(text, upper=upper) + ago <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@0", "1970-01-01T00:00:00.000000Z"),
        ("@1700000000", "2023-11-14T22:13:20.000000Z"),
        ("@1700000000.5", "2023-11-14T22:13:20.500000Z"),
        ("@1700000000.000001999", "2023-11-14T22:13:20.000001Z"),
    ],
)
def test_seconds_since_1970_are_a_point_wherever_they_are_read(text: str, expected: str, zone: Zone) -> None:
    zone("Asia/Kolkata")
    assert parts(parse_point(text, upper=True)) == (expected, None, None)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(("word", "back"), [("today", 0), ("yesterday", 1)])
def test_today_and_yesterday_are_their_dates(word: str, back: int, upper: bool, zone: Zone) -> None:
    zone("Asia/Kolkata")
    while True:  # again, should midnight have come in between
        today = date.today()  # noqa: DTZ011 - the local one
        point = parse_point(word, upper=upper)
        if today == date.today():  # noqa: DTZ011
            break
    assert parts(point) == parts(parse_point((today - timedelta(days=back)).isoformat(), upper=upper))


@pytest.mark.parametrize("text", ["00:00", "09:30", "23:59:59"])
def test_an_hour_is_one_of_the_local_day(text: str, zone: Zone) -> None:
    zone("Asia/Kolkata")
    local = moment_of(text).astimezone()
    assert f"{local:%H:%M:%S}".removesuffix("" if text.count(":") > 1 else ":00") == text
    assert abs(local.date() - date.today()) <= timedelta(days=1)  # noqa: DTZ011 - midnight may come in between


def test_an_hour_on_the_other_side_of_a_change_of_the_clocks_has_the_offset_it_had(zone: Zone) -> None:
    now = datetime.now(UTC)
    late = now.hour >= 12
    change, hour, expected = (3, "01:00", 2) if late else (20, "22:00", 21)
    today = now.timetuple().tm_yday - 1
    names = "STD1DST" if late else "STD0DST"  # the offset now is 0, so that the local day is today
    zone(f"{names},{today}/{change},{(today + 100) % 365}/3")
    assert moment_of(hour) == now.replace(hour=expected, minute=0, second=0, microsecond=0)


def test_a_mark_is_a_position_and_only_asked_for_where_nothing_else_is_meant() -> None:
    asked = []

    def mark(name: str) -> int | None:
        asked.append(name)
        return {"release": 12, "now": 13, "#5": 14, "v5": 15, "2026-01-31": 16}.get(name)

    assert parts(parse_point("release", upper=True, mark=mark)) == (None, 12, None)
    for text in ("now", "#5", "v5", "2026-01-31"):
        assert parse_point(text, upper=True, mark=mark).position in (None, 5)
    with pytest.raises(UsageError):
        parse_point("other", upper=True, mark=mark)
    assert asked == ["release", "other"]


NO_POINTS = [
    "24:00",
    "9:30",
    "09:60",
    "09:30:60",
    "٠٩:30",
    "@",
    "@-1",
    "@1e9",
    "@999999999999",
    "2 fortnights",
    "2x",
    "h",
    "1.5h",
    "2h ago ago",
    "9999999 weeks ago",
    "tomorrow",
    "",
    " ",
    "garbage",
    "#",
    "#x",
    "#-1",
    "#1.5",
    "# 1",
    "#" + "9" * 19,
    "#٣",
    "v",
    "vx",
    "v-1",
    "v1.5",
    "V7",
    "120",
    "2026-13-01",
    "2026-02-30",
    "0000-01-01",
    "2026-1-1",
    "2026-W01-1",
    "2026-031",
    "20260131",
    "2026-01-31T24:00:00Z",
    "2026-02-30T09:30:00Z",
    "2026-01-31T09:30:00+24:00",
    "2026-01-31T09:30:00+05:60",
    "2026-01-31T09:30:00Z\n",
    "2026-01-31\n",
    "\uff12\uff10\uff12\uff16-01-31",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
]


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("text", NO_POINTS)
def test_garbage_is_not_a_point(text: str, upper: bool) -> None:
    with pytest.raises(UsageError, match=r"is not a point in a log|^the point .* does not exist"):
        parse_point(text, upper=upper)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2003", "a number alone is none: #2003 is a position, v2003 a version, 2003-01 a month"),
        ("400", "a number alone is none: #400 is a position, v400 a version"),
    ],
)
def test_a_number_alone_is_not_a_point_and_the_error_says_what_it_may_mean(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_point(text, upper=False)
    assert caught.value.why == hint


@pytest.mark.parametrize(("name", "text"), [("Asia/Tokyo", "0001-01-01"), ("America/New_York", "9999-12-31T23:00:00")])
def test_a_local_moment_beyond_the_calendar_is_not_a_point(name: str, text: str, zone: Zone) -> None:
    zone(name)
    with pytest.raises(UsageError, match="does not exist"):
        parse_point(text, upper=False)


def test_the_last_day_of_the_calendar_is_a_point_as_an_upper_bound(zone: Zone) -> None:
    zone("UTC")
    assert parse_point("9999-12-31", upper=True).time == "9999-12-31T23:59:59.999999Z"


@given(st.text(max_size=30))
def test_any_text_is_a_point_or_a_usage_error(text: str) -> None:
    try:
        point = parse_point(text, upper=True)
    except UsageError:
        return
    assert sum(part is not None for part in parts(point)) == 1


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"),
        ("2026-10-25 02:59:59.5", "2026-10-25T00:59:59.500000Z", "2026-10-25T01:59:59.500000Z"),
        ("2026-10-25T01:59", "2026-10-24T23:59:00.000000Z", "2026-10-24T23:59:00.000000Z"),
        ("2026-10-25T03:00:00", "2026-10-25T02:00:00.000000Z", "2026-10-25T02:00:00.000000Z"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00.000000Z", "2026-03-29T01:30:00.000000Z"),  # skipped
    ],
)
def test_a_local_hour_that_comes_twice_begins_with_the_first_and_ends_with_the_second(
    text: str, first: str, last: str, zone: Zone
) -> None:
    zone("Europe/Berlin")
    assert (parse_point(text, upper=False).time, parse_point(text, upper=True).time) == (first, last)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the zone stays the same
@given(moment=st.datetimes(datetime(1980, 1, 1), datetime(2036, 12, 31)))  # noqa: DTZ001
@example(moment=datetime(2026, 10, 25, 0, 30))  # noqa: DTZ001
@example(moment=datetime(2026, 10, 25, 1, 30))  # noqa: DTZ001
@example(moment=datetime(2026, 4, 4, 15, 15))  # noqa: DTZ001 - Lord Howe: half an hour twice
def test_what_a_local_clock_shows_lies_between_its_bounds(name: str, moment: datetime, zone: Zone) -> None:
    zone(name)
    shown = f"{moment.replace(tzinfo=UTC).astimezone(ZoneInfo(name)):%Y-%m-%dT%H:%M:%S.%f}"
    low, high = (parse_point(shown, upper=upper).time for upper in (False, True))
    assert low is not None
    assert high is not None
    assert low <= utc_text(moment.replace(tzinfo=UTC)) <= high
