"""Whether two GLOB patterns could match one name; as SQLite has them: `*`, `?`, `[a-z]`, `[^a-z]`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class _One(NamedTuple):
    """What stands for one character: one of `characters`, or, `negated`, any other."""

    characters: frozenset[str]
    negated: bool


_ANY = _One(frozenset(), negated=True)
_Token = _One | None
"""None: any number of any characters."""


def overlap(first: str, second: str) -> bool:
    """Whether some name matches both patterns."""
    return _overlap(_tokens(first), _tokens(second))


@lru_cache(maxsize=4096)
def _overlap(first: tuple[_Token, ...], second: tuple[_Token, ...]) -> bool:
    if not first or not second:
        return all(token is None for token in (*first, *second))
    if first[0] is None:
        return _overlap(first[1:], second) or _overlap(first, second[1:])
    if second[0] is None:
        return _overlap(first, second[1:]) or _overlap(first[1:], second)
    return _meet(first[0], second[0]) and _overlap(first[1:], second[1:])


def _meet(first: _One, second: _One) -> bool:
    if first.negated and second.negated:
        return True  # there are always characters that neither leaves out
    if first.negated or second.negated:
        some, others = (second, first) if first.negated else (first, second)
        return bool(some.characters - others.characters)
    return bool(first.characters & second.characters)


def _tokens(pattern: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        c = pattern[at]
        end = pattern.find("]", at + (3 if pattern[at + 1 : at + 2] == "^" else 2)) if c == "[" else -1
        if c == "*":
            tokens.append(None)
        elif c == "?":
            tokens.append(_ANY)
        elif end > 0:
            tokens.append(_set(pattern[at + 1 : end]))
            at = end
        else:
            tokens.append(_One(frozenset(c), negated=False))
        at += 1
    return tuple(tokens)


def _set(body: str) -> _One:
    """What stands between brackets: characters and ranges, all others where it begins with ^."""
    negated = body.startswith("^")
    body = body[1:] if negated else body
    characters: set[str] = set()
    at = 0
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            characters.update(map(chr, range(ord(body[at]), min(ord(body[at + 2]), ord(body[at]) + 0xFFFF) + 1)))
            at += 3
        else:
            characters.add(body[at])
            at += 1
    return _One(frozenset(characters), negated)
