"""Nothing that is printed acts on a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.output.terminal import clean, clean_lines, fitted
from tests.output.conftest import acts

UNICODE = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def test_no_character_of_unicode_acts_once_it_is_clean() -> None:
    assert [hex(ord(c)) for c in set(clean(UNICODE)) if acts(c)] == []


def test_every_character_that_does_not_act_stays() -> None:
    harmless = "".join(c for c in UNICODE if not acts(c))
    assert clean(harmless) == harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\0\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2028\u2069\u200f\u061c", "\\u2028\\u2069\\u200f\\u061c"),
        ("é 😀 \u200d [b]", "é 😀 \u200d [b]"),
    ],
)
def test_what_acts_is_spelled_out(text: str, shown: str) -> None:
    assert clean(text) == shown


LONG = "one two three four five six"


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        (f"# {LONG}\n\n{LONG}\nseven\n", [f"# {LONG}", "", "one two three", "four five six", "seven", ""]),
        (f"* {LONG}\n  seven\n* eight", ["* one two three", "  four five six", "  seven", "* eight"]),
        (f"    {LONG}\n| {LONG} |", [f"    {LONG}", f"| {LONG} |"]),
        (f"```sh\n{LONG}\n```\n{LONG}", ["```sh", LONG, "```", "one two three", "four five six"]),
        ("    0  one two three", ["    0  one two", "       three"]),
        ("    a = 1  # one two", ["    a = 1  # one two"]),
        ("short\nlines stay", ["short", "lines stay"]),
        ("https://example.org/a-long-address of it", ["https://example.org/a-long-address", "of it"]),
    ],
)
def test_the_text_of_a_page_fits_the_terminal_and_its_code_stays(page: str, lines: list[str]) -> None:
    assert fitted(page, 15).split("\n") == lines


@given(lines=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))))
def test_whole_lines_keep_their_ends_and_tabs_and_nothing_else_acts(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    shown = clean_lines(text.encode(), json=False).decode()
    assert not [c for c in shown if acts(c) and c not in "\n\t"]
    assert [line.replace("\t", "\\t") for line in shown.split("\n")] == [clean(line) for line in text.split("\n")]


@given(value=st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_lines_of_json_keep_their_value(value: object) -> None:
    line = json.dumps(value, ensure_ascii=False, separators=("\r,\t", "\r:\t")).encode("utf-8", "replace")
    shown = clean_lines(line, json=True).decode()
    assert not [c for c in shown if acts(c) and c != "\t"]
    assert json.loads(shown) == json.loads(line)


def test_what_is_no_unicode_is_shown_as_such() -> None:
    assert clean_lines(b"a\xff\x1b\n", json=False) == "a\ufffd\\x1b\n".encode()
