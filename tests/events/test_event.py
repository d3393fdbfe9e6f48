"""Names, expectations, numbers, the clock, ids: what an event is made of."""

from __future__ import annotations

import itertools
import re
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import ConflictError, EsctlError, RefusedError
from esctl.events.event import (
    Expect,
    Receipt,
    check_expected,
    check_name,
    check_schema,
    check_stream,
    index_at,
    max_event_bytes,
    new_ids,
    now,
    parse_expect,
    whole_number,
)

GOOD_NAMES = {
    "one character": "a",
    "512 bytes": "x" * 512,
    "512 bytes of two-byte characters": "é" * 256,
    "512 bytes of four-byte characters": "😀" * 128,
    "a blank inside": "a b",
    "a no-break space inside": "a\u00a0b",
    "quotes and backslashes": "a\"b'c\\d",
    "emoji joined by a zero-width joiner": "👩\u200d🚀",
    "right after the C1 controls": "a\u00a1",
    "right before the DEL": "~",
    "a dollar inside": "a$",
}
BAD_NAMES = {
    "empty": ("", "is empty"),
    "513 bytes": ("x" * 513, "has 513 bytes"),
    "513 bytes of few characters": ("x" + "é" * 256, "has 513 bytes"),
    "516 bytes of few characters": ("😀" * 129, "has 516 bytes"),
    "NUL": ("a\0b", "holds a control character"),
    "newline": ("a\nb", "holds a control character"),
    "newline at the end": ("a\n", "holds a control character"),
    "carriage return": ("a\rb", "holds a control character"),
    "tab": ("a\tb", "holds a control character"),
    "ESC": ("a\x1b[31mb", "holds a control character"),
    "the last C0": ("a\x1fb", "holds a control character"),
    "DEL": ("a\x7fb", "holds a control character"),
    "the first C1": ("a\x80b", "holds a control character"),
    "NEL": ("a\x85b", "holds a control character"),
    "the last C1": ("a\x9fb", "holds a control character"),
    "blank before": (" a", "begins or ends with a blank"),
    "blank behind": ("a ", "begins or ends with a blank"),
    "only a blank": (" ", "begins or ends with a blank"),
    "no-break space behind": ("a\u00a0", "begins or ends with a blank"),
    "ideographic space before": ("\u3000a", "begins or ends with a blank"),
    "line separator behind": ("a\u2028", "begins or ends with a blank"),
    "a high surrogate alone": ("a\ud800", "is not valid UTF-8"),
    "a low surrogate alone": ("\udc00a", "is not valid UTF-8"),
    "what an undecodable argument becomes": ("\udcff", "is not valid UTF-8"),
}


@pytest.mark.parametrize("name", GOOD_NAMES.values(), ids=GOOD_NAMES)
def test_a_good_name_is_taken_as_stream_type_and_id(name: str) -> None:
    assert [check_name(kind, name) for kind in ("stream", "type", "id")] == [None, None, None]  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("name", "problem"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_bad_name_is_refused_and_told_what_is_wrong(name: str, problem: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_name("type", name)
    assert refused.value.what == f"the type {name[:60]!r} {problem}"


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_a_name_with_any_control_character_is_refused(code: int) -> None:
    with pytest.raises(RefusedError, match="control character"):
        check_name("id", f"a{chr(code)}b")


@given(st.text(max_size=600))
def test_a_name_is_taken_exactly_if_it_is_1_to_512_bytes_without_controls_and_outer_blanks(name: str) -> None:
    good = 1 <= len(name.encode("utf-8", "surrogatepass")) <= 512 and name == name.strip()
    good = good and not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", name)
    try:
        check_name("stream", name)
    except RefusedError:
        assert not good
    else:
        assert good


@pytest.mark.parametrize("name", ["$", "$esctl", "$ a"])
def test_the_logs_own_streams_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="is the log's own"):
        check_stream(name)


@pytest.mark.parametrize("name", [bad for bad, _ in BAD_NAMES.values()], ids=BAD_NAMES)
def test_a_bad_name_is_refused_as_a_stream(name: str) -> None:
    with pytest.raises(RefusedError, match=r"^the stream "):
        check_stream(name)


@pytest.mark.parametrize("name", ["order-1", "a$", "-$"])
def test_a_stream_with_a_dollar_elsewhere_is_taken(name: str) -> None:
    assert check_stream(name) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("schema", "good"), [(-1, False), (0, False), (1, True), (2**31 - 1, True), (2**31, False)])
def test_a_schema_is_1_to_2147483647(schema: int, good: bool) -> None:
    try:
        check_schema(schema)
    except RefusedError:
        assert not good
    else:
        assert good


# Expectations and numbers

EXPECTATIONS: list[tuple[Expect, int, bool]] = [
    ("any", 0, True),
    ("any", 7, True),
    ("none", 0, True),
    ("none", 1, False),
    ("exists", 0, False),
    ("exists", 1, True),
    ("exists", 7, True),
    (0, 0, True),
    (0, 1, False),
    (7, 7, True),
    (7, 0, False),
    (7, 6, False),
    (7, 8, False),
]


@pytest.mark.parametrize(("expect", "actual"), [(expect, actual) for expect, actual, met in EXPECTATIONS if met])
def test_an_expectation_that_is_met_is_no_conflict(expect: Expect, actual: int) -> None:
    assert check_expected(expect, "order-1", actual) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("expect", "actual"), [(expect, actual) for expect, actual, met in EXPECTATIONS if not met])
def test_an_expectation_that_is_not_met_is_a_conflict_that_names_both(expect: Expect, actual: int) -> None:
    with pytest.raises(ConflictError) as conflict:
        check_expected(expect, "order-1", actual)
    assert conflict.value.details == {"stream": "order-1", "expected": expect, "actual": actual}


NUMBERS = {
    "0": 0,
    "7": 7,
    "007": 7,
    "9" * 18: 10**18 - 1,
    "9" * 19: None,
    "": None,
    " 7": None,
    "7 ": None,
    "7\n": None,
    "-1": None,
    "+1": None,
    "1.0": None,
    "1e3": None,
    "1_000": None,
    "0x1": None,
    "٣": None,
    "²": None,
    "\uff17": None,
}


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_a_whole_number_is_ascii_digits_that_a_log_can_hold(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("any", "any"),
        ("none", "none"),
        ("exists", "exists"),
        ("0", 0),
        ("12", 12),
        ("ANY", None),
        ("any ", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("v7", None),
    ],
)
def test_an_expectation_is_any_none_exists_or_a_version(text: str, expect: Expect | None) -> None:
    assert parse_expect(text) == expect


# The clock and the ids


def test_now_is_the_present_moment() -> None:
    before = datetime.now(UTC)
    moment = datetime.strptime(now(), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert before - timedelta(seconds=1) <= moment <= datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_999, "1970-01-01T00:00:00.000001Z"),
        (999_999_999, "1970-01-01T00:00:00.999999Z"),
        (1_769_851_800_000_050_000, "2026-01-31T09:30:00.000050Z"),
        (1_709_164_799_999_999_999, "2024-02-28T23:59:59.999999Z"),
    ],
)
def test_now_is_utc_text_cut_to_microseconds(nanoseconds: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: nanoseconds)
    assert now() == text


def test_times_of_the_clock_sort_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [0, 1_000, 9_999_000, 10_000_000, 999_999_000, 10**9, 10**18, 2 * 10**18, 10**19]
    taken = iter(readings)
    monkeypatch.setattr("time.time_ns", lambda: next(taken))
    texts = [now() for _ in readings]
    assert texts == sorted(set(texts))
    assert {len(text) for text in texts} == {27}


def test_ids_are_uuids_of_version_7() -> None:
    for text in itertools.islice(new_ids(), 500):
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)


def test_ids_are_unique_and_sort_as_they_were_made() -> None:
    made = list(itertools.islice(new_ids(), 50_000))
    assert made == sorted(set(made))


@pytest.mark.parametrize("step", [0, -1_000_000, -3_600_000_000_000, 1])
def test_ids_sort_as_they_were_made_whatever_the_clock_does(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = itertools.count(1_769_851_800_000_000_000, step)
    monkeypatch.setattr("time.time_ns", lambda: next(readings))
    made = list(itertools.islice(new_ids(), 10_000))
    assert made == sorted(set(made))
    assert {uuid.UUID(text).version for text in made} == {7}


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(next(new_ids())).int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_two_makers_of_ids_do_not_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_769_851_800_000_000_000)
    one, other = (set(itertools.islice(new_ids(), 5_000)) for _ in range(2))
    assert not one & other


# The largest event


@pytest.mark.parametrize(
    ("text", "limit"), [("", 16 * 1024 * 1024), ("1", 1), ("67108864", 67108864), ("536870912", 536870912)]
)
def test_the_largest_event_is_as_the_environment_says(text: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_MAX_EVENT", text)
    assert max_event_bytes() == limit


def test_the_largest_event_has_16_mebibytes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESCTL_MAX_EVENT", raising=False)
    assert max_event_bytes() == 16_777_216


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "536870913", "1.5", "1e6", "16M", " 5", "x", "٣", "9" * 30, pytest.param("9" * 5000, id="5000 digits")],
)
def test_a_wrong_largest_event_is_a_wrong_configuration(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_MAX_EVENT", text)
    with pytest.raises(EsctlError, match=r"^ESCTL_MAX_EVENT is ") as wrong:
        max_event_bytes()
    assert wrong.value.exit_code == 2


def test_a_receipt_at_a_position_is_that_of_the_new_event_there() -> None:
    receipts = [Receipt(3, "s", 1, "a", True), Receipt(7, "s", 2, "b", False), Receipt(7, "s", 2, "b", True)]
    assert [index_at(receipts, position) for position in (3, 7, 8)] == [None, 1, None]
