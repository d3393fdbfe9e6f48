"""Times into the log's form, and points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from esctl.errors import RefusedError, UsageError
from esctl.events.times import Point, canonical, is_canonical, parse_point, utc_text

MINUTES = timedelta(minutes=1)
Zone = Callable[[str], None]


@pytest.fixture
def zone() -> Iterator[Zone]:
    """Sets the zone that is local to this process."""
    with pytest.MonkeyPatch.context() as patch:

        def local(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield local
    time.tzset()


def offset_text(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def text_of(moment: datetime, digits: str) -> str:
    """A moment of no zone up to seconds, and its fraction as it came."""
    year, month, day, hour, minute, second = moment.timetuple()[:6]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{digits and '.' + digits}"


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda m: m.replace(microsecond=0))  # noqa: DTZ001
DIGITS = st.text("0123456789", max_size=9)


@given(MOMENTS, DIGITS, st.integers(-23 * 60 - 59, 23 * 60 + 59), st.sampled_from("Tt "))
@example(datetime(2024, 2, 29), "", 60, "T")  # noqa: DTZ001
@example(datetime(2000, 1, 1), "999999999", 0, "T")  # noqa: DTZ001
def test_a_time_in_any_zone_becomes_utc_cut_to_microseconds(
    moment: datetime, digits: str, minutes: int, letter: str
) -> None:
    given_text = text_of(moment, digits).replace("T", letter) + offset_text(minutes)
    assert canonical(given_text) == text_of(moment - minutes * MINUTES, f"{digits:0<6}"[:6]) + "Z"


@given(MOMENTS, DIGITS, st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
def test_every_way_to_say_utc_is_the_same(moment: datetime, digits: str, way: str) -> None:
    text = text_of(moment, digits)
    assert canonical(text + way) == text_of(moment, f"{digits:0<6}"[:6]) + "Z"


@given(MOMENTS, DIGITS, st.integers(-1439, 1439))
def test_what_is_in_the_logs_form_stays_as_it_is(moment: datetime, digits: str, minutes: int) -> None:
    once = canonical(text_of(moment, digits) + offset_text(minutes))
    assert canonical(once) == once


@given(st.lists(MOMENTS, min_size=2, max_size=6))
def test_times_in_the_logs_form_sort_as_text(moments: list[datetime]) -> None:
    texts = [canonical(text_of(moment, "") + "Z") for moment in moments]
    assert sorted(texts) == [canonical(text_of(moment, "") + "Z") for moment in sorted(moments)]
    assert {len(text) for text in texts} == {27}


NO_TIMES = {
    "no zone": "2026-01-31T09:30:00",
    "a date": "2026-01-31",
    "month 0": "2026-00-10T09:30:00Z",
    "month 13": "2026-13-01T09:30:00Z",
    "day 0": "2026-01-00T09:30:00Z",
    "February 30": "2026-02-30T09:30:00Z",
    "February 29 of no leap year": "2026-02-29T09:30:00Z",
    "April 31": "2026-04-31T09:30:00.000000Z",
    "hour 24": "2026-01-31T24:00:00Z",
    "minute 60": "2026-01-31T09:60:00Z",
    "second 60": "2026-12-31T23:59:60Z",
    "no seconds": "2026-01-31T09:30Z",
    "week date": "2026-W01-1T09:30:00Z",
    "ordinal date": "2026-031T09:30:00Z",
    "basic format": "20260131T093000Z",
    "year 0": "0000-01-01T00:00:00Z",
    "year 0 in the log's form": "0000-01-01T00:00:00.000000Z",
    "five-digit year": "12026-01-31T09:30:00Z",
    "negative year": "-2026-01-31T09:30:00Z",
    "comma": "2026-01-31T09:30:00,5Z",
    "point without digits": "2026-01-31T09:30:00.Z",
    "zone without colon": "2026-01-31T09:30:00+0100",
    "zone of hours": "2026-01-31T09:30:00+01",
    "zone of 24 hours": "2026-01-31T09:30:00+24:00",
    "zone of 60 minutes": "2026-01-31T09:30:00+05:60",
    "zone of 99 minutes": "2026-01-31T09:30:00-00:99",
    "zone with seconds": "2026-01-31T09:30:00+01:00:00",
    "named zone": "2026-01-31T09:30:00 CET",
    "blank before": " 2026-01-31T09:30:00Z",
    "newline behind": "2026-01-31T09:30:00Z\n",
    "newline behind the log's form": "2026-01-31T09:30:00.000000Z\n",
    "digits that are not ASCII": "\uff12\uff10\uff12\uff16-01-31T09:30:00Z",
    "digits that are not ASCII in the log's form": "2026-01-15T09:30:00.00000٣Z",
    "a number": "1769851800",
    "empty": "",
    "a word": "yesterday",
    "before year 1": "0001-01-01T00:00:00+00:01",
    "after year 9999": "9999-12-31T23:59:59-00:01",
}


@pytest.mark.parametrize("text", NO_TIMES.values(), ids=NO_TIMES)
def test_what_is_not_rfc_3339_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^the time "):
        canonical(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:01:00+00:01", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:58:59-00:01", "9999-12-31T23:59:59.000000Z"),
    ],
)
def test_the_first_and_the_last_moment_are_times(text: str, expected: str) -> None:
    assert canonical(text) == expected


EDGES = st.tuples(
    st.sampled_from(["0000", "0001", "1900", "2024", "2026", "9999", "٢٠٢٦"]),
    st.sampled_from(["00", "01", "02", "04", "09", "10", "12", "13", "19", "1"]),
    st.sampled_from(["00", "01", "09", "10", "19", "20", "28", "29", "30", "31", "32"]),
    st.sampled_from(["00", "09", "19", "20", "23", "24", "30"]),
    st.sampled_from(["00", "59", "60", "5"]),
    st.sampled_from(["00", "59", "60"]),
    st.sampled_from(["000000", "999999", "00000", "0000000", ""]),
    st.sampled_from(["Z", "z", "", "+00:00", "Z\n"]),
).map(lambda p: f"{p[0]}-{p[1]}-{p[2]}T{p[3]}:{p[4]}:{p[5]}.{p[6]}{p[7]}")


@settings(max_examples=500)
@given(EDGES)
def test_what_is_taken_for_the_logs_form_is_in_it(text: str) -> None:
    if is_canonical(text):
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert text_of(moment, f"{moment.microsecond:06d}") + "Z" == text == canonical(text)
    else:
        try:
            changed = canonical(text)
        except RefusedError:
            return
        # only the last days of a month take the long way though nothing changes
        assert changed != text or text[8:10] in ("29", "30", "31")


@pytest.mark.parametrize("day", range(1, 29))
def test_most_days_of_a_month_take_the_short_way(day: int) -> None:
    assert is_canonical(f"2026-02-{day:02d}T23:59:59.123456Z")


def test_the_text_of_a_moment_is_utc_whatever_its_zone() -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert utc_text(moment) == "2026-07-01T10:00:00.000000Z"


# Points


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
    "-2h",
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
