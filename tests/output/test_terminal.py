"""Nothing that is printed acts on a terminal."""

from __future__ import annotations

import pytest

from esctl.output.terminal import clean, fitted
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
