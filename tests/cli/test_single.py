"""A single event of a command line: what SQLite can judge is the same as what the parser of lines makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esctl.cli import single
from esctl.cli.items import items
from esctl.cli.single import EventOptions
from esctl.errors import EsctlError
from esctl.events.event import NewEvent
from tests.conftest import Esctl

DEEP = "[" * 1000 + "]" * 1000
NOTHING = EventOptions(None, None, 0, {}, None)


def plain(words: list[str], said: EventOptions = NOTHING) -> NewEvent | None:
    stream, type_, *rest = words
    return single._plain(stream, type_, rest, said)


def both(words: list[str], said: EventOptions) -> NewEvent | None:
    """The event by the short way, after it was compared with the long one; None: it takes the long one."""
    try:
        short = plain(words, said)
    except EsctlError as refused:
        with pytest.raises(type(refused)):
            single._parsed(words[0], words[1], words[2:], said)
        return None
    if short is not None:
        long = single._parsed(words[0], words[1], words[2:], said)
        same = short if said.id is not None else (*short[:2], long[2], *short[3:])
        assert same == long
    return short


PLAIN: dict[str, list[str]] = {
    "nothing": [],
    "an object": ['{"a":1}'],
    "an array": ["[1, 2]"],
    "a string": ['"text"'],
    "what is not ASCII": ['{"ü":"😀"}'],
    "escapes": ['{"a":"\\u00e9\\n\\\\"}'],
    "long numbers": ['{"a":123456789012345678901234567890,"b":1.10,"c":-0}'],
    "blanks inside": ['{ "a" :  [ 1 , 2 ] }'],
    "a blank behind": ['{"a":1} '],
    "1000 levels": [DEEP],
    "an item": ["a=1"],
    "an item of JSON": ["a:=1.10"],
    "items": ["a=b", 'b:={"c": [1]}', "d:=null"],
    "an item with quotes": ['a="x\\y"'],
    "an item with a line feed": ["a=x\ny"],
    "an item of what is not ASCII": ["ä=ö 😀"],
    "an item of its own text": ['a:="b=c"'],
}
NOT_PLAIN: dict[str, list[str]] = {
    "a file": ["@data.json"],
    "stdin": ["-"],
    "an empty payload": [""],
    "a number": ["5"],
    "a literal": ["null"],
    "a blank before": [" {}"],
    "a newline": ['{"a":\n1}'],
    "a tab": ['{"a":\t1}'],
    "a no-break space": ['{"a":"\u00a0"}'],
    "an escaped surrogate": [r'"\ud800"'],
    "an escaped pair": [r'"\uD83D\uDE00"'],
    "an escaped surrogate in an item's text": [r"a=\ud800"],
    "no JSON": ["{a:1}"],
    "JSON cut short": ['{"a":1'],
    "something behind": ["{}x"],
    "NaN": ["[NaN]"],
    "a leading zero": ["[01]"],
    "1001 levels": [f"[{DEEP}]"],
    "a long payload": ['"' + "x" * 1024 * 1024 + '"'],
    "two payloads": ["{}", "{}"],
    "what is not UTF-8": ["a=\udcff"],
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_plain_payload_needs_no_other_parser_and_is_the_same(data: list[str]) -> None:
    assert both(["s", "T", *data], EventOptions("x", None, 0, items(["a=b", "c:=1.0"], "--meta"), "none")) is not None


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_a_payload_out_of_the_ordinary_is_left_to_the_parser_of_lines(data: list[str]) -> None:
    assert plain(["s", "T", *data]) is None


@pytest.mark.parametrize(
    ("stream", "type_", "event_id"),
    [("", "T", "x"), ("s", "", "x"), ("s", "T", ""), ("$esctl", "T", "x"), ("a\nb", "T", "x"), ("s", "T ", "x"),
     ("s", "T", "\x1b"), ("s" * 513, "T", "x"), ("\udcff", "T", "x")],
)  # fmt: skip
def test_a_name_that_is_refused_is_left_to_the_parser_of_lines(stream: str, type_: str, event_id: str) -> None:
    said = EventOptions(event_id, None, 0, {}, None)
    assert plain([stream, type_], said) is None
    with pytest.raises(EsctlError):
        single.event([stream, type_], said)


def test_a_time_and_a_limit_of_size_are_left_to_the_parser_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain(["s", "T"], EventOptions(None, "2026-01-31T09:30:00Z", 0, {}, None)) is None
    monkeypatch.setenv("ESCTL_MAX_EVENT", "5")
    assert plain(["s", "T"]) is None


PIECES = st.text('ab=:"\\[]{}, \n\té😀\ud800', max_size=6)
DATA = st.lists(
    PIECES
    | st.builds("{}={}".format, PIECES, PIECES)
    | st.builds("{}:={}".format, PIECES, PIECES | st.sampled_from(["1", "1.10", "null", '"x"', "[1 ,2]", "{}"]))
    | st.builds(
        json.dumps, st.recursive(st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3))
    ),
    max_size=3,
)


@settings(max_examples=200)
@given(DATA, st.sampled_from([None, "x"]), st.sampled_from([0, 2]), st.sampled_from([None, "any", 3]))
@example(['{"total": 1.10}'], "e1", 0, "none")
def test_whatever_the_short_way_takes_the_long_way_makes_the_same_of(
    data: list[str], event_id: str | None, schema: int, expect: int | str | None
) -> None:
    both(["order-1", "Placed", *data], EventOptions(event_id, None, schema, {}, expect))


@pytest.mark.parametrize("data", [["@data.json"], ["-"], ['{"from":"file"}'], ["from=file"]], ids=" ".join)
def test_a_payload_comes_from_an_argument_a_file_or_stdin(data: list[str], esctl: Esctl, log_path: Path) -> None:
    (log_path.parent / "data.json").write_text('{"from":"file"}')
    done = esctl("append", "s", "T", *data, "--log", "log.db", input='{"from":"file"}\n')
    assert (done.returncode, done.stderr) == (0, "")
    assert esctl("replay", "-o", "raw", "--log", "log.db").stdout == '{"from":"file"}\n'


@pytest.mark.parametrize("option", [[], ["-q"], ["-o", "json"], ["--meta", "a=b"], ["--expect", "none"]], ids=" ".join)
def test_an_argument_that_is_not_utf_8_is_no_bug(option: list[str], esctl: Esctl, log_path: Path) -> None:
    for words in (["append", "\udcff", "T"], ["append", "s", "T", "a=\udcff"], ["append", "s", "T", "\udcff"]):
        done = esctl(*words, *option, "--log", str(log_path))
        assert done.returncode in (2, 5)
        assert "bug" not in done.stderr
