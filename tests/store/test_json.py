"""What is JSON is what SQLite's parser takes for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.store.json import values
from esctl.store.store import Store


def strict(text: str) -> bool:
    """Whether Python's parser takes a text, without the words that it takes beyond RFC 8259."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@settings(max_examples=300)
@given(text=st.text(alphabet="{}[]\",:0123eE+-. \\/bfnrtua\t\n\r\x00\x1fé😀'N") | st.text(max_size=6).map(json.dumps))
def test_is_json_is_strict(mixed: Store, text: str) -> None:
    assert mixed.is_json(text) == strict(text)


@pytest.mark.parametrize(
    ("text", "valid"),
    [("{}", True), (' [1, "a"] ', True), ("0", True), ('"\x7f"', True), ("", False), (" ", False), ("{}{}", False),
     ("{a:1}", False), ("{'a':1}", False), ("[1,]", False), ('{"a":1,}', False), ("NaN", False), ("Infinity", False),
     ("-Infinity", False), ("01", False), (".5", False), ("5.", False), ("+1", False), ("0x1", False), ('"\t"', False),
     ('"\\x41"', False), ("// a\n1", False), ("/* a */ 1", False), ("\ufeff1", False), ("\xa01", False),
     ("1\x00", False), ("[" * 1000 + "]" * 1000, True), ("[" * 1001 + "]" * 1001, False),
     ('{"a":' * 1000 + "1" + "}" * 1000, True), ('{"a":' * 1001 + "1" + "}" * 1001, False)],
)  # fmt: skip
def test_is_json_knows_the_edges(store: Store, text: str, valid: bool) -> None:
    assert store.is_json(text) is valid


SCALARS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), SCALARS))
def test_values_of_an_object_are_those_of_its_keys_and_none_where_there_is_no_key(held: dict[str, object]) -> None:
    text = json.dumps(held)
    assert values(text, *held, "Missing") == [*held.values(), None]


def test_what_is_nested_comes_as_json() -> None:
    assert values('{"a": [1, {"b": 2}], "c": {"d": null}}', "a", "c") == ['[1,{"b":2}]', '{"d":null}']
