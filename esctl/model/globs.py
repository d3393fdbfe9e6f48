"""Whether two GLOB patterns could match one name; as SQLite has them: `*`, `?`, `[a-z]`, `[^a-z]`."""

from __future__ import annotations

from functools import lru_cache

from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


class _One(Record):
    """What stands for one character: one of `characters`, or, `negated`, any other."""

    characters: frozenset[str]
    negated: bool


_ANY = _One(frozenset(), negated=True)
_WILD = "*?["
_Token = _One | None
"""None: any number of any characters."""


def overlap(first: str, second: str) -> bool:
    """Whether some name matches both patterns."""
    begins = [_begin(pattern) for pattern in (first, second)]
    if not begins[0].startswith(begins[1]) and not begins[1].startswith(begins[0]):
        return False  # as nearly all that stand in one model: known without a walk
    return _overlap(_tokens(first), _tokens(second))


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern, as SQLite would say."""
    begin = _begin(pattern)
    if pattern[len(begin) :] in ("", "*"):  # as nearly all are: without `re`, which a cold start would feel
        return name.startswith(begin) if begin != pattern else name == pattern
    return _expression(pattern).fullmatch(name) is not None


def _begin(pattern: str) -> str:
    """What a pattern has before its first wildcard."""
    return pattern[: next((at for at, character in enumerate(pattern) if character in _WILD), len(pattern))]


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    import re  # noqa: PLC0415 - a pattern that a cold start needs is mostly plain

    parts = []
    for token in _tokens(pattern):
        if token is None:
            parts.append(".*")
        elif not token.characters:
            parts.append("." if token.negated else r"(?!)")
        else:
            characters = "".join(map(re.escape, sorted(token.characters)))
            parts.append(f"[{'^' if token.negated else ''}{characters}]")
    return re.compile("".join(parts), re.DOTALL)


def _overlap(first: tuple[_Token, ...], second: tuple[_Token, ...]) -> bool:
    """Walk both patterns side by side, by the places that can be reached in each."""
    waiting, seen = [(0, 0)], {(0, 0)}
    while waiting:
        a, b = waiting.pop()
        rest = (*first[a:], *second[b:])
        if all(token is None for token in rest):
            return True
        steps = []
        if a < len(first) and first[a] is None:
            steps += [(a + 1, b), (a, b + 1)]
        if b < len(second) and second[b] is None:
            steps += [(a, b + 1), (a + 1, b)]
        if a < len(first) and b < len(second):
            one, other = first[a], second[b]
            if one is not None and other is not None and _meet(one, other):
                steps.append((a + 1, b + 1))
        for step in steps:
            if step not in seen and step[0] <= len(first) and step[1] <= len(second):
                seen.add(step)
                waiting.append(step)
    return False


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
