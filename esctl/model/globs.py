"""Match GLOB patterns as SQLite does (`*`, `?`, `[a-z]`, `[^a-z]`), and find whether two can match the same name."""

from __future__ import annotations

from functools import lru_cache

from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


class _One(Record):
    """A pattern of one character: one of `characters` or, if `negated`, any other."""

    characters: frozenset[str]
    negated: bool


_ANY = _One(frozenset(), negated=True)
_WILD = "*?["
_Token = _One | None
"""None: any number of any characters."""


def overlap(first: str, second: str) -> bool:
    """Whether some name matches both patterns."""
    prefixes = [_prefix(pattern) for pattern in (first, second)]
    if not prefixes[0].startswith(prefixes[1]) and not prefixes[1].startswith(prefixes[0]):
        return False  # nearly all pairs in a model end here
    return _overlap(_tokens(first), _tokens(second))


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern, by the rules of SQLite's GLOB."""
    prefix = _prefix(pattern)
    if pattern[len(prefix) :] in ("", "*"):  # nearly all patterns; `re` would slow a cold start
        return name.startswith(prefix) if prefix != pattern else name == pattern
    return _expression(pattern).fullmatch(name) is not None


def _prefix(pattern: str) -> str:
    """The part of a pattern before its first wildcard."""
    return pattern[: next((at for at, character in enumerate(pattern) if character in _WILD), len(pattern))]


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    import re  # noqa: PLC0415 - most patterns do not need it

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
    """Search the pairs of places in the two patterns that some common text can reach."""
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
        return True  # some character is excluded by neither
    if first.negated or second.negated:
        some, others = (second, first) if first.negated else (first, second)
        return bool(some.characters - others.characters)
    return bool(first.characters & second.characters)


def _tokens(pattern: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    index = 0
    while index < len(pattern):
        c = pattern[index]
        end = pattern.find("]", index + (3 if pattern[index + 1 : index + 2] == "^" else 2)) if c == "[" else -1
        if c == "*":
            tokens.append(None)
        elif c == "?":
            tokens.append(_ANY)
        elif end > 0:
            tokens.append(_set(pattern[index + 1 : end]))
            index = end
        else:
            tokens.append(_One(frozenset(c), negated=False))
        index += 1
    return tuple(tokens)


def _set(body: str) -> _One:
    """The content of brackets: characters and ranges, negated if it begins with ^."""
    negated = body.startswith("^")
    body = body[1:] if negated else body
    characters: set[str] = set()
    index = 0
    while index < len(body):
        if body[index + 1 : index + 2] == "-" and index + 2 < len(body):
            characters.update(
                map(chr, range(ord(body[index]), min(ord(body[index + 2]), ord(body[index]) + 0xFFFF) + 1))
            )
            index += 3
        else:
            characters.add(body[index])
            index += 1
    return _One(frozenset(characters), negated)
