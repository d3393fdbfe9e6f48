"""SQLite's JSON parser, without a log: it is available before any other parser is loaded."""

from __future__ import annotations

import apsw


def is_json(text: str) -> bool:
    """Whether a text is strict JSON, nested no deeper than SQLite reads."""
    try:
        return "\0" not in text and bool(_ask("select json_valid(?)", text))
    except UnicodeEncodeError:
        return False


def values(text: str, *names: str) -> list[object]:
    """The values of some keys of a JSON object: texts, numbers, None; nested values as JSON text."""
    return [_ask("select ?1 ->> ?2", text, name) for name in names]


_memory: list[apsw.Connection] = []


def _ask(sql: str, *bindings: str) -> object:
    if not _memory:
        _memory.append(apsw.Connection(":memory:"))
    return _memory[0].execute(sql, bindings).get
