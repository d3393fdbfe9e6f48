"""Nothing that is printed acts on a terminal."""

from __future__ import annotations

import pytest

from esctl.output.terminal import clean
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
