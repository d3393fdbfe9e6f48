"""Times into the log's form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.point import parse_point
from esctl.events.times import canonical, is_canonical, utc, utc_text

MINUTES = timedelta(minutes=1)
Zone = Callable[[str], None]


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
    "second 61": "2026-12-31T23:59:61Z",
    "no leap second in this minute": "2026-12-31T12:30:60Z",
    "no leap second in this minute of UTC": "2026-12-31T23:59:60+01:00",
    "two blanks before the zone": "2026-01-31T09:30:00  +0100",
    "seconds beyond the calendar": "@999999999999",
    "now": "now",
    "week date": "2026-W01-1T09:30:00Z",
    "ordinal date": "2026-031T09:30:00Z",
    "basic format": "20260131T093000Z",
    "year 0": "0000-01-01T00:00:00Z",
    "year 0 in the log's form": "0000-01-01T00:00:00.000000Z",
    "five-digit year": "12026-01-31T09:30:00Z",
    "negative year": "-2026-01-31T09:30:00Z",
    "point without digits": "2026-01-31T09:30:00.Z",
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


SPELLINGS = {
    "2026-01-31T08:30:00.000000Z": [
        "2026-01-31T08:30:00Z",
        "2026-01-31T08:30:00z",
        "2026-01-31t08:30:00.0Z",
        "2026-01-31 08:30:00Z",
        "2026-01-31T08:30Z",
        "2026-01-31 08:30 UTC",
        "2026-01-31 08:30:00 GMT",
        "2026-01-31T09:30:00+01:00",
        "2026-01-31T09:30:00+0100",
        "2026-01-31 09:30:00 +0100",
        "2026-01-31 09:30:00+01",
        "2026-01-31T09:30+01:00",
        "2026-01-31T03:00:00-0530",
        "2026-01-31 08:30:00,000 +0000",
        "@1769848200",
        "@1769848200.0000009",
    ],
    "2016-12-31T23:59:59.999999Z": [
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.5Z",
        "2017-01-01T00:59:60+01:00",
        "2016-12-31 15:59:60 -0800",
        "2017-01-01T05:29:60+0530",
    ],
}


@pytest.mark.parametrize(("expected", "text"), [(e, text) for e, texts in SPELLINGS.items() for text in texts])
def test_every_spelling_of_a_moment_is_the_same_time(expected: str, text: str, zone: Zone) -> None:
    zone("Asia/Kolkata")
    assert canonical(text) == utc(text) == parse_point(text, upper=True).time == expected


SPELLED = st.tuples(
    st.sampled_from("Tt "), st.booleans(), st.sampled_from(["", " "]), st.sampled_from([":", "", "hours"])
)


@given(MOMENTS, st.text("0123456789", max_size=9), st.integers(-23 * 60 - 59, 23 * 60 + 59), SPELLED)
def test_all_spellings_of_a_moment_have_one_canonical_text(
    moment: datetime, digits: str, minutes: int, spelled: tuple[str, bool, str, str]
) -> None:
    letter, short, blank, colon = spelled
    minutes = int(minutes / 60) * 60 if colon == "hours" else minutes
    moment, digits = (moment.replace(second=0), "") if short else (moment, digits)
    clock_text = text_of(moment, digits).replace("T", letter)
    offset = offset_text(minutes)
    text = (
        (clock_text[:-3] if short else clock_text)
        + blank
        + (offset[:3] if colon == "hours" else offset.replace(":", colon))
    )
    assert canonical(text) == utc(text) == canonical(text_of(moment, digits) + offset_text(minutes))


@given(MOMENTS, DIGITS, st.sampled_from("T "))
def test_to_sql_a_time_without_a_zone_is_utc(moment: datetime, digits: str, letter: str) -> None:
    text = text_of(moment, digits)
    assert utc(text.replace("T", letter)) == canonical(text + "Z")


@pytest.mark.parametrize("text", [*NO_TIMES.values(), "now", "2026-01-31", "12:00"])
def test_to_sql_anything_else_is_null(text: str) -> None:
    assert utc(text) is None or text == NO_TIMES["no zone"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-01-31T09:30:00", "'2026-01-31T09:30:00' has no zone"),
        ("31.01.2026", "'31.01.2026' is not RFC 3339 with a zone"),
        ("2026-12-31T12:30:60Z", "'2026-12-31T12:30:60Z' does not exist: only 23:59:60 UTC can be a leap second"),
    ],
)
def test_the_reason_why_a_time_is_refused_is_true(text: str, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        canonical(text)
    assert f"{refused.value.what}: {refused.value.why}".startswith(f"the time {reason}")


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
