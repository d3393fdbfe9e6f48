"""Keys that occur twice in a JSON object, against Python's own parser."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.keys import check_keys, repeated
from esctl.events.lines import payload_of

KEYS = st.sampled_from(
    ['"a"', '"b"', r'"\u0061"', r'"a\\"', r'"a\""', '""', '"é"', r'"\u00e9"', '"a:"', '"{"', r'"\\"']
)
SCALARS = st.sampled_from(
    ["1", "1.0", "1e999", "18446744073709551616", "null", r'"\"a\":1"', '"}"', '":"', r'"\u003a"']
)
BLANKS = st.sampled_from(["", "", " ", "\t", "  "])


def arrays(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(children, max_size=3).map(lambda found: f"[{','.join(found)}]")


def objects(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.builds(lambda key, blank, value: f"{blank}{key}{blank}:{blank}{value}{blank}", KEYS, BLANKS, children)
    return st.lists(pairs, max_size=3).map(lambda found: "{" + ",".join(found) + "}")


TEXTS = st.recursive(SCALARS, lambda children: arrays(children) | objects(children), max_leaves=8)


def has_a_key_twice(text: str) -> bool:
    """Whether Python's parser sees a key twice in an object."""
    found: list[bool] = []
    json.loads(text, object_pairs_hook=lambda pairs: found.append(len(dict(pairs)) < len(pairs)))
    return any(found)


@given(TEXTS)
def test_a_repeated_key_is_found_wherever_pythons_parser_sees_it_twice(text: str) -> None:
    assert (repeated(text.encode()) is not None) == has_a_key_twice(text)


@given(TEXTS)
@example('{"a":1,"a" :2}')
@example('{"a":1,"a":2,"b":"\\u003a"}')
@example('{"a":1e999,"a":1}')
def test_the_quick_comparison_refuses_exactly_the_same(text: str) -> None:
    refused = pytest.raises(RefusedError, match=r"^the key .* occurs twice in an object of it$")
    with refused if has_a_key_twice(text) else nullcontext():
        payload_of(text.encode(), "it")


@given(TEXTS.filter(has_a_key_twice))
def test_the_byte_is_that_of_the_quote_before_the_second_key(text: str) -> None:
    found = repeated(text.encode())
    assert found is not None
    key, byte = found
    rest = text.encode()[byte - 1 :]
    assert json.JSONDecoder().raw_decode(rest.decode())[0] == key


def test_the_error_names_the_key_and_where_it_is() -> None:
    with pytest.raises(RefusedError, match=r"^the key 'amount' occurs twice in an object of meta$") as caught:
        check_keys(b'{"amount":1,"amount":2}', "meta")
    assert caught.value.details == {"byte": 13, "key": "amount"}


def test_a_text_with_very_many_escaped_quotes_takes_no_longer_than_its_length_asks() -> None:
    text = ('{"a": "' + r"\"x" * 1_000_000 + '"}').encode()
    began = time.monotonic()
    assert repeated(text) is None
    assert time.monotonic() - began < 20  # it takes 0.2 s; if each quote read all before it, more than a minute
