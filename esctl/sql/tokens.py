"""Split SQL into tokens, and check what tokens alone can tell; nothing is run."""

from __future__ import annotations

from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# Patterns are compiled on first use: a cold start needs few of them.
# A text, name or comment that is never closed extends to the end.
WORD = (
    r"""'(?:[^']|'')*+(?:'|\Z)|"(?:[^"]|"")*+(?:"|\Z)|`(?:[^`]|``)*+(?:`|\Z)|\[[^]]*+(?:]|\Z)|--[^\n]*|"""
    r"""/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)|[A-Za-z_]\w*|[^\w\s]|\S"""
)


def tokens(sql: str) -> Iterator[re.Match[str]]:
    """The tokens of SQL as matches with their places, without comments."""
    return (match for match in _words(sql) if not match[0].startswith(("--", "/*")))


def _words(sql: str) -> Iterator[re.Match[str]]:
    """The tokens of SQL as matches, comments included."""
    import re  # noqa: PLC0415 - only a cold start that checks SQL needs it

    return re.finditer(WORD, sql, re.DOTALL)


def words_of(sql: str) -> list[str]:
    """The tokens of SQL, without comments and without the quotes of identifiers."""
    words = (match[0] for match in tokens(sql))
    return [
        word[1:-1] if word[0] in '"`[' and len(word) > 1 else word
        for word in words
        if not word.startswith(("--", "/*"))
    ]


GAP = r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*"


def why_not_one_expression(sql: str) -> str:
    """Why a text is not one complete SQL expression, judged by its tokens; empty if it may be one."""
    depth, before = 0, ""
    for match in _words(sql):
        word = match[0]
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0 or word == ";":
            return f"{word!r} ends the expression too early"
        if is_open(word):
            return f"{word[: 1 + word.startswith('/*')]} is never closed"
        if word == "(" and before.lower() == "raise":
            return "it may not call raise()"
        if not word.startswith(("--", "/*")):
            before = word
    return "a ( is never closed" if depth else "" if before else "it is empty"


def is_open(word: str) -> bool:
    """Whether a token is a text, a quoted name or a comment that is never closed."""
    if word.startswith("/*"):
        return len(word) < len("/**/") or not word.endswith("*/")
    return (word[0] in "'\"`" and word.count(word[0]) % 2 == 1) or (word[0] == "[" and word[-1] != "]")


def unclosed(sql: str) -> str:
    """The opening of the first text, quoted name or comment that is never closed; empty if all are closed."""
    words = (match[0] for match in _words(sql))
    return next((word[: 1 + word.startswith("/*")] for word in words if is_open(word)), "")
