"""Input that is not one event per line: arrays are opened, and what another command has to convert is recognised."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.formats import Arrays, Line, advice
from esctl.events.lines import Defaults, parser
from tests.strategies import text

HUGE = 1 << 30
CLOUDEVENT = b'{"specversion":"1.0"}'


def opened(*lines: Line, input_: Literal["auto", "ndjson", "cloudevents"] = "cloudevents", limit: int = HUGE) -> Any:
    """The numbered lines and elements that a parser gets."""
    arrays = Arrays(limit, input_)
    return [pair for _, _, numbered in arrays.over([(1, lines)]) for pair in numbered]


value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(['"', "\\", "[", "]", "{", "},", '\\"]', ""]) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@given(
    arrays=st.lists(st.lists(st.dictionaries(text, value, max_size=3), max_size=4), min_size=1, max_size=3),
    indent=st.sampled_from([None, 0, 2]),
    size=st.integers(1, 7),
    ascii_=st.booleans(),
)
@example(arrays=[[{}], [{"a": "]"}, {}]], indent=None, size=1, ascii_=True)
def test_the_elements_of_arrays_come_one_by_one_however_the_arrays_are_written(
    arrays: list[list[dict[str, Any]]], indent: int | None, size: int, *, ascii_: bool
) -> None:
    lines = "\n".join(json.dumps(array, indent=indent, ensure_ascii=ascii_) for array in arrays).encode().split(b"\n")
    batches = [(at + 1, lines[at : at + size]) for at in range(0, len(lines), size)]
    found = [pair for _, _, numbered in Arrays(HUGE, "cloudevents").over(batches) for pair in numbered]
    assert [json.loads(element or b"") for _, element in found] == [element for array in arrays for element in array]
    for number, element in found:
        assert element is not None
        assert lines[number - 1].strip().startswith((b"[", element[:1]))  # its number is that of its first line


def test_lines_between_arrays_pass_as_they_are() -> None:
    assert opened(b"{}", b"[{}, {}]", None, b'{"a":[1]}', b"") == [
        (1, b"{}"), (2, b"{}"), (2, b"{}"), (3, None), (4, b'{"a":[1]}'), (5, b""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("input_", "line", "count"),
    [
        ("cloudevents", b'[{"a":1},{}]', 2),
        ("auto", b"[%b, %b]" % (CLOUDEVENT, CLOUDEVENT), 2),
        ("auto", b' \t["specversion"]', 1),
        ("auto", b'[{"a":1},{}]', None),
        ("ndjson", b"[%b]" % CLOUDEVENT, None),
    ],
)
def test_an_array_is_a_batch_only_if_its_input_has_cloudevents(
    input_: Literal["auto", "ndjson", "cloudevents"], line: bytes, count: int | None
) -> None:
    assert len(opened(line, input_=input_)) == (count or 1)
    if count is None:
        assert opened(line, input_=input_) == [(1, line)]


@pytest.mark.parametrize(
    ("lines", "elements"),
    [
        ([b"[]"], []),
        ([b"[", b"", b"]"], []),
        ([b"[{},]"], [(1, b"{}"), (1, b",")]),
        ([b"[", b"{},", b"]"], [(2, b"{}"), (3, b",")]),
        ([b"[,{}]"], [(1, b","), (1, b"{}")]),
        ([b"[] {}"], [(1, b"{}")]),
        ([b"[{}]]"], [(1, b"{}"), (1, b"]")]),
        ([b"["], [(1, b"[")]),
        ([b"", b"[{},"], [(1, b""), (2, b"{}"), (2, b"[")]),
        ([b"[{},", b'{"a":'], [(1, b"{}"), (2, b'{"a": ')]),
    ],
)
def test_what_is_wrong_with_an_array_becomes_a_line_that_is_no_event(
    lines: list[bytes], elements: list[tuple[int, bytes]]
) -> None:
    assert opened(*lines) == elements


@pytest.mark.parametrize("large", [[b'{"a":"' + b"x" * 50 + b'"}'], [b"{", b'"a":' + b"1" * 50, b"}"], [None]])
def test_an_element_over_the_limit_comes_as_none(large: list[Line]) -> None:
    elements = opened(b"[{},", *large, b',{"b":2}]', limit=40)
    assert elements == [(1, b"{}"), (1 if large == [None] else 2, None), (2 + len(large), b'{"b":2}')]


def test_the_number_of_an_element_in_its_array_is_known_while_it_is_read() -> None:
    arrays = Arrays(HUGE, "cloudevents")
    batches = arrays.over([(1, [b"[{},{}", b",{}]", b"{}", b"[{}]"])])
    assert [arrays.item for _, _, numbered in batches for _ in numbered] == [1, 2, 3, 0, 1]


# Recognising other formats


def advised(*lines: bytes, first: bool = True, payload: bool = False) -> str | None:
    """The way that an error for the first of these lines offers."""
    defaults = Defaults("s", "T", payload=True) if payload else Defaults()
    with pytest.raises(RefusedError) as refused:
        parser(defaults)(lines[0])
    found = advice(refused.value, lines[0], lines[1:], first=first)
    return found and (found.command or found.fix or found.again)


EVENT = b'{"stream":"s","type":"T"}'


@pytest.mark.parametrize(
    ("lines", "way"),
    [
        ([b"["], "jq -c '.[]'"),
        ([b"[%b,%b]" % (EVENT, EVENT)], "jq -c '.[]'"),
        ([b"  [ [1], [2] ]"], "jq -c '.[]'"),
        ([b"[", b"  {", b'    "specversion": "1.0",'], "--input cloudevents"),
        ([b"{", b'  "stream": "s",'], "jq -c ."),
        ([b"{"], "jq -c ."),
        ([b'{"stream":"s",', b'"type":"T"}'], "jq -c ."),
        ([b'{ "data": {', b"", b'  "a": 1}}'], "jq -c ."),
        ([b'{"stream":"s"', EVENT], None),  # cut off
        ([b'{"stream":"s"'], None),
        ([EVENT.decode().encode("utf-16")], "iconv -f UTF-16 -t UTF-8"),
        ([b"\xfe\xff" + EVENT.decode().encode("utf-16-be")], "iconv -f UTF-16 -t UTF-8"),
        ([EVENT.decode().encode("utf-16-le")], "iconv -f UTF-16LE -t UTF-8"),
        ([EVENT.decode().encode("utf-16-be")], "iconv -f UTF-16BE -t UTF-8"),
        ([EVENT.decode().encode("utf-32")], "iconv -f UTF-32 -t UTF-8"),
        ([b"stream,type", b"s,T"], "esctl help cookbook"),
        ([b'"stream";"type"', b'"s;s";T'], "esctl help cookbook"),
        ([b"stream\ttype"], "esctl help cookbook"),
        ([b"well, no", b"a line of a log"], None),
        ([b"well, no", EVENT], None),
        ([b"[2026-01-31] started"], None),
        ([b"[1]"], None),
        ([b"SQLite format 3\0 \0"], "esctl replay --log"),
        ([b"\xfd7zXZ\0\0\4"], "xz -dc"),
        ([b"BZh91AY"], "bzip2 -dc"),
        ([b'\4"M\x18d@\xa7'], "lz4 -dc"),
        ([b"PK\3\4\x14\0,\xff,"], "funzip"),
        ([b"nonsense"], None),
        ([b"\x89PNG,\x1a,\0\0"], None),
        ([b"a,b\rc,d", b"e,f"], None),
        ([b"a," + b"b" * 200_000, b"c,d"], None),
    ],
)
def test_what_is_not_lines_of_events_has_a_command_that_makes_them(lines: list[bytes], way: str | None) -> None:
    assert advised(*lines) == way


@pytest.mark.parametrize("lines", [[b"[", b"{"], [b"{", b'"stream":']])
def test_a_payload_over_several_lines_is_recognised_too(lines: list[bytes]) -> None:
    assert advised(*lines, payload=True) == ("jq -c '.[]'" if lines[0] == b"[" else "jq -c .")


@pytest.mark.parametrize("line", [b"stream,type", b"[{}]", EVENT.decode().encode("utf-16")])
def test_a_bad_line_among_good_ones_is_no_other_format(line: bytes) -> None:
    assert advised(line, first=False) is None


@given(st.binary(min_size=1), st.binary())
def test_whatever_the_bytes_are_there_is_advice_or_none(line: bytes, following: bytes) -> None:
    assert advice(RefusedError("bad"), line, [following, None], first=True) or True
