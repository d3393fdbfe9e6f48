"""What tests of the output share: what a call prints, what acts on a terminal, and a terminal that is plain."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import pytest

from esctl.output import console

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u061c", "\u200e", "\u200f"}  # of Unicode's Bidi_Control those that have no class of their own


def acts(character: str) -> bool:
    """Whether a terminal may act on a character, as the Unicode database tells."""
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp")
        or unicodedata.bidirectional(character) in BIDIRECTIONAL
        or character in MARKS
    )


def printed(function: Callable[..., None], *arguments: Any, **options: Any) -> bytes:
    """What a call prints on stdout."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(out):
        function(*arguments, **options)
    out.flush()
    raw = out.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue()


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "ESCTL_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(console, "settings", console.Settings(utc=True))


def cells(text: str) -> int:
    """How many columns of a terminal a text takes, by Unicode's own table."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
