"""JSON texts: of values, on one line, and how deeply they are nested."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.json import MAX_DEPTH, Deeper, check_depth, encoded, nesting, one_line, same
from tests.strategies import RECORDS

# Records


def plainly(value: object) -> str:
    """A value with its types and its order, which == alone would not tell apart."""
    return json.dumps(value)


@given(RECORDS)
@example({"log": '"\\'})
@example({"log": "\x7f\u2028"})
def test_a_record_is_the_json_that_it_says(record: dict[str, object]) -> None:
    shown = encoded(record)
    assert plainly(json.loads(shown)) == plainly(record)
    assert b"\n" not in shown


@pytest.mark.parametrize("value", [1.5, ["a", {"b": None}], {"c": "d"}])
def test_a_record_may_hold_more_than_plain_values(value: object) -> None:
    assert json.loads(encoded({"a": 1, "b": value})) == {"a": 1, "b": value}


# JSON text

PLAIN = st.none() | st.booleans() | st.integers() | st.text(alphabet=st.sampled_from('[]{}"\\,: a\n\ré'), max_size=8)
VALUES = st.recursive(
    PLAIN,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text('[{"\\}]', max_size=3), children),
    max_leaves=30,
)
LAYOUTS = st.sampled_from([None, 0, 1, "\t", "\r\n"])  # what json.dumps indents with


def text_of(value: object, indent: int | str | None, *, ascii_only: bool) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    return text if indent != "\r\n" else text.replace("\n", "\r\n")


@given(VALUES, LAYOUTS, st.booleans(), st.sampled_from(["", " ", "\t\n", "\r\n"]))
def test_one_line_is_the_same_json_without_line_ends(
    value: object, indent: int | str | None, ascii_only: bool, margin: str
) -> None:
    line = one_line(margin + text_of(value, indent, ascii_only=ascii_only) + margin)
    assert json.loads(line) == value
    assert "\r" not in line
    assert "\n" not in line
    assert line == line.strip()


@given(VALUES, st.booleans())
def test_text_that_is_on_one_line_already_is_kept_as_it_is(value: object, ascii_only: bool) -> None:
    text = text_of(value, None, ascii_only=ascii_only)
    assert one_line(text) == text


def depth(value: object) -> int:
    """How deeply a value is nested, the plain way."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(VALUES, LAYOUTS, st.booleans())
def test_nesting_is_the_depth_of_the_value(value: object, indent: int | str | None, ascii_only: bool) -> None:
    assert nesting(text_of(value, indent, ascii_only=ascii_only)) == depth(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 0),
        ("[]", 1),
        ("[[],[]]", 2),
        ('{"a":{"b":[]}}', 3),
        ('"[[["', 0),
        (r'["\"[[["]', 1),
        (r'["\\",[]]', 2),
        (r'["\\\"[",{}]', 2),
        (r'{"[{\\":"]}"}', 1),
    ],
)
def test_brackets_within_strings_do_not_nest(text: str, expected: int) -> None:
    assert nesting(text) == expected


@pytest.mark.parametrize(("opening", "inner", "closing"), [("[", "", "]"), ('{"a":', "1", "}"), ("[ ", "[]", " ]")])
def test_a_text_is_refused_exactly_beyond_1000_levels(opening: str, inner: str, closing: str) -> None:
    levels = MAX_DEPTH - depth(json.loads(inner or "0"))
    assert check_depth(opening * levels + inner + closing * levels) is None  # type: ignore[func-returns-value]
    with pytest.raises(RefusedError, match="nested too deeply"):
        check_depth(opening * (levels + 1) + inner + closing * (levels + 1))


def test_a_text_of_1000_levels_may_be_wide_too() -> None:
    assert check_depth("[" * 999 + "[],[]" + "]" * 999) is None  # type: ignore[func-returns-value]
    with pytest.raises(RefusedError, match="nested too deeply"):
        check_depth("[" * 999 + "[],[[]]" + "]" * 999)


def test_a_wide_text_of_many_brackets_is_not_deep() -> None:
    assert check_depth("[" + ",".join(["[]"] * 5000) + "]") is None  # type: ignore[func-returns-value]


def test_a_text_too_short_to_be_deep_and_valid_is_not_walked() -> None:
    assert check_depth("[" * 2 * MAX_DEPTH) is None  # type: ignore[func-returns-value]
    assert nesting("[" * 2 * MAX_DEPTH) == 2 * MAX_DEPTH


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a":1,"b":[1.0,true]}', '{ "b": [1, true], "a": 1e0 }'),
        ('"\\u00e9\\/"', '"é/"'),
        ("100", "1E2"),
        ("-0", "0.0"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("[" * 1000 + "1" + "]" * 1000, "[" * 1000 + "1.0" + "]" * 1000),
    ],
)
def test_spellings_of_one_value_are_the_same(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("0", "false"),
        ("1", '"1"'),
        ("[1]", "1"),
        ("null", "{}"),
        ("[1,2]", "[2,1]"),
        ("0.1", "0.1000000000000000055511"),
        ("9007199254740993", "9007199254740992"),
        ("1e99999999999999999999", "1e99999999999999999998"),
        ('{"a":null}', "{}"),
    ],
)
def test_other_values_are_not_the_same(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.fixture
def hasty() -> Iterator[None]:
    """A Python that changes between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_that_read_deep_json_do_not_lower_the_limit_for_each_other() -> None:
    before, deep = sys.getrecursionlimit(), "[" * 900 + "]" * 900

    def read() -> None:
        for _ in range(500):
            with Deeper():
                json.loads(deep)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(read) for _ in range(8)]:
            done.result()
    assert sys.getrecursionlimit() == before
