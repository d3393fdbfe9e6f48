"""Texts and names as SQL."""

from __future__ import annotations


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as SQL, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'
