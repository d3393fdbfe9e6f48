"""Items and expectations."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.cli.items import as_object, expectation, is_plain, item, items
from esctl.errors import RefusedError, UsageError
from esctl.events.event import Expect


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a=b", "a", '"b"'),
        ("a=", "a", '""'),
        ("a=5", "a", '"5"'),
        ("a==", "a", '"="'),
        ("a=b=c", "a", '"b=c"'),
        ("a=:b", "a", '":b"'),
        ("a= b ", "a", '" b "'),
        ("a=b\nc", "a", '"b\\nc"'),
        ('a="', "a", '"\\""'),
        ("a.b[0]=x", "a.b[0]", '"x"'),
        ("é=ü", "é", '"ü"'),
        ("a:=5", "a", "5"),
        ("a:=1.10", "a", "1.10"),
        ("a:=123456789012345678901234567890", "a", "123456789012345678901234567890"),
        ("a:=null", "a", "null"),
        ('a:={"b": [1, 2]}', "a", '{"b": [1, 2]}'),
        ('a:="b=c"', "a", '"b=c"'),
        ('a:= "b" ', "a", '"b"'),
    ],
)
def test_an_item_is_a_key_and_text_or_json(text: str, key: str, value: str) -> None:
    pair = item(text)
    assert pair is not None
    assert pair == (key, value)


@pytest.mark.parametrize(
    "text", ["", "a", "=b", ":=5", "=", "a b=c", " a=b", "a\n=b", "a:b=c", "a:5", "a::=5", "{}", '{"a":"b=c"}', "@file"]
)
def test_what_is_not_an_item_is_none(text: str) -> None:
    assert item(text) is None


@pytest.mark.parametrize("value", ["", "x", "01", "{", "[1,]", "NaN", "'a'", "1 2", '"\\ud800"', "\udcff", "["])
def test_what_follows_colon_equals_has_to_be_json(value: str) -> None:
    with pytest.raises(RefusedError, match="has no JSON after"):
        item(f"a:={value}")


@given(st.text("ab[]{}\"\\'=:\n é", min_size=1))
def test_any_text_is_the_value_of_an_item(text: str) -> None:
    pair = item(f"key={text}")
    assert pair is not None
    assert (pair[0], json.loads(pair[1])) == ("key", text)


@pytest.mark.parametrize("levels", [900, 1000])
def test_a_deep_value_of_an_item_is_taken(levels: int) -> None:
    text = "[" * levels + "]" * levels
    pair = item(f"a:={text}")
    assert pair is not None
    assert pair[1] == text


@pytest.mark.parametrize("levels", [10_000, 100_000])
@pytest.mark.parametrize("closing", ["", "]"])
def test_a_value_of_an_item_that_is_too_deep_is_refused(levels: int, closing: str) -> None:
    with pytest.raises(RefusedError):
        item(f"a:={'[' * levels}{closing * levels}")


def test_items_keep_their_order() -> None:
    made = items(["b=1", "a:=2"], "--meta")
    assert list(made.items()) == [("b", '"1"'), ("a", "2")]
    assert as_object(made) == '{"b":"1","a":2}'


def test_a_key_is_given_once() -> None:
    with pytest.raises(UsageError, match=r"^--meta gives the key 'a' twice$"):
        items(["a=1", "b:=2", "a:=3"], "--meta")


def test_a_key_that_occurs_twice_in_the_json_of_an_item_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        items(['a:={"b":1,"b":2}'], "--meta")
    assert "the key 'b' occurs twice" in caught.value.why


def test_what_is_not_an_item_is_refused_with_its_option() -> None:
    with pytest.raises(UsageError, match=r"^--meta is 'actor'$"):
        items(["a=b", "actor"], "--meta")


# Expectations


@pytest.mark.parametrize(
    ("text", "expect"),
    [(None, None), ("any", "any"), ("none", "none"), ("exists", "exists"), ("0", 0), ("7", 7), ("007", 7)],
)
def test_an_expectation_is_read(text: str | None, expect: Expect | None) -> None:
    assert expectation(text) == expect


@pytest.mark.parametrize("text", ["", "-1", "1.5", "v7", "some", "ANY", " 1", "9" * 19])
def test_no_expectation_is_a_wrong_command_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--expect is "):
        expectation(text)


@pytest.mark.parametrize("text", ["{}", "[1, 2]", '"é"', "1.10", "null"])
def test_json_on_one_line_is_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize("text", ["", "{", "[NaN]", r'"\ud800"', "[1,\n2]", "\udcff", '"' + "x" * 2**20 + '"'])
def test_what_needs_a_second_look_is_not_plain(text: str) -> None:
    assert not is_plain(text)
