"""Rewrite literals in SQL that are compared with a time of the log: any spelling of a moment means the moment.

Times are stored as text of one form, so `time >= '2026-07-28T12:00:00Z'` would compare two spellings, not two moments.
"""

from __future__ import annotations

from collections.abc import Iterator

from esctl.sql.tokens import tokens
from esctl.sql.utc import UTC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

COLUMNS = ("time", "recorded")
OF_NEW = frozenset({"new"})
"""How a model names the event: only `new.time` and `new.recorded` are times of the log."""

_COMPARISONS = frozenset({"=", "==", "<", "<=", ">", ">=", "<>", "!=", "is"})
_TIGHT = frozenset({"||", "->", "->>", "+", "-", "*", "/", "%", "&", "|", "<<", ">>", ".", "~"})
_OPERATORS = _COMPARISONS | _TIGHT
_BEFORE_BRACKETS = frozenset(
    {
        "all",
        "and",
        "between",
        "by",
        "distinct",
        "else",
        "having",
        "not",
        "on",
        "or",
        "select",
        "set",
        "then",
        "when",
        "where",
    }
)
_OF_ITS_ARGUMENTS = frozenset({"min", "max", "coalesce", "ifnull"})  # a time if an argument is one
_TIME = "time"
_PADDING = 5  # empty tokens, so that a look ahead needs no check
DEPTH = 8  # operands in brackets; deeper ones are not looked at
REACH = 1000  # tokens in which an AND or WHEN is looked for
DATETIME = "datetime"  # SQLite's function gives another form of UTC: 2026-07-28 12:00:00
Operand = str | int | tuple[int, int] | list["Operand"] | None
"""A time; the index of a literal; where a call of datetime begins and ends; a row; or something else."""


def with_moments(sql: str, qualifiers: Collection[str] | None = None) -> str:
    """SQL in which literals compared with a column `time` or `recorded` are in the log's form, if they are moments.

    `qualifiers` are the names that may stand before the column's (`new.time`), "" for none; None: any.
    """
    lower = sql.lower()
    # Most SQL needs no look; `re` would slow a cold start.
    if ("-" not in sql and DATETIME not in lower) or not any(name in lower for name in (*COLUMNS, UTC)):
        return sql
    return _Rewriting(sql, qualifiers).result()


class _Rewriting:
    """One text of SQL. Tokens are numbered; those past the last one are empty."""

    def __init__(self, sql: str, qualifiers: Collection[str] | None) -> None:
        self._sql, self._qualifiers = sql, qualifiers
        self._words: list[str] = []
        self._spans: list[tuple[int, int]] = []
        for match in tokens(sql):
            last = self._spans[-1][1] if self._spans else -1
            if last == match.start() and self._words[-1] + match[0] in _OPERATORS:
                self._words[-1] += match[0]
                self._spans[-1] = self._spans[-1][0], match.end()
            else:
                self._words.append(match[0] if match[0][0] == "'" or _is_quoted_number(match[0]) else _name(match[0]))
                self._spans.append(match.span())
        self._words += [""] * _PADDING
        self._closing = _pairs(self._words)
        self._edits: dict[tuple[int, int], str] = {}  # new texts by the places in the SQL
        self._names = set(COLUMNS)

    def result(self) -> str:
        """The SQL with its moments in the log's form."""
        for _ in range(2):  # the second time with the names that times were given
            for index in range(len(self._spans)):
                self._look(index)
        parts, end = [], 0
        for (first, last), text in sorted(self._edits.items()):
            parts += [self._sql[end:first], text]
            end = last
        return "".join([*parts, self._sql[end:]])

    def _look(self, index: int) -> None:
        """Look at the comparison or CASE that begins here, if one does."""
        if self._words[index] == "case":
            self._case(index)
            return
        if index + 1 in self._closing and self._words[self._closing[index + 1] + 1] == "as":
            self._columns(index + 1)
        before = self._words[index - 1] if index else ""
        if before in _TIGHT or (self._words[index] == "(" and before.isidentifier() and before not in _BEFORE_BRACKETS):
            return  # part of a larger operand, or the arguments of a function
        left, at = self._operand(index)
        if left is None:
            return
        word = self._words[at]
        if left == _TIME and self._words[max(0, index - 2) : index] != ["cast", "("]:
            self._name(at + (word == "as"))
        negated = word == "not"
        word, at = (self._words[at + 1], at + 1) if negated else (word, at)
        if word == "between":
            low, end = self._operand(at + 1)
            self._compare(left, low)
            at = end if low is not None else self._next(at + 1, "and")
            self._compare(left, self._operand(at + 1)[0] if self._words[at] == "and" else None)
        elif word == "in" and self._words[at + 1] == "(":
            for start, end in self._items(at + 1):
                self._compare(left, self._whole(start + (self._words[start] in ("select", "values")), end))
        elif word in _COMPARISONS and not negated:
            self._compare(left, self._operand(self._after(at))[0])

    def _name(self, at: int) -> None:
        """Remember the name that a time is given in a SELECT, if it is given one here."""
        if self._words[at].isidentifier() and self._words[at + 1] in (",", "from", ")", ""):
            self._names.add(self._words[at])

    def _columns(self, opening: int) -> None:
        """Remember the names in brackets that WITH gives to times: `with x(a, b) as (select time, …`."""
        body = self._closing[opening] + 2
        while self._words[body] in ("not", "materialized"):
            body += 1
        if self._words[body] != "(":
            return
        for (name, _), (start, _) in zip(self._items(opening), self._items(body), strict=False):
            left, at = self._operand(start + (self._words[start] == "select"))
            if left == _TIME and self._words[at] in (",", "from", ")", "as"):
                self._names.add(self._words[name])

    def _after(self, at: int) -> int:
        """Where the right side of a comparison begins: after IS [NOT] [DISTINCT FROM], or an operator."""
        if self._words[at] == "is":
            at += self._words[at + 1] == "not"
            at += 2 * (self._words[at + 1 : at + 3] == ["distinct", "from"])
        return at + 1

    def _case(self, index: int) -> None:
        """CASE time WHEN literal."""
        left, at = self._operand(index + 1)
        while left is not None and self._words[at] == "when":
            right, _ = self._operand(at + 1)
            self._compare(left, right)
            at = self._next(at + 1, "when")

    def _compare(self, left: Operand, right: Operand) -> None:
        """Note the literals that are compared with a time."""
        if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            for one, other in zip(left, right, strict=True):
                self._compare(one, other)
        for one, other in ((left, right), (right, left)):
            if one == _TIME and isinstance(other, int):
                self._note(other)
            elif one == _TIME and isinstance(other, tuple):
                first, last = self._spans[other[0]][0], self._spans[other[1]][1]
                self._edits |= {(first, first): f"{UTC}(", (last, last): ")"}

    def _note(self, index: int) -> None:
        from esctl.events.times import utc  # noqa: PLC0415

        word = self._words[index]
        if word[-1] == word[0] and (moment := utc(word[1:-1])):
            self._edits[self._spans[index]] = f"'{moment}'"

    def _operand(self, index: int, depth: int = 0) -> tuple[Operand, int]:
        """The operand that begins here, and where it ends; something else if an operator binds it to more."""
        found, at = self._plain(index, depth)
        if found is None:
            return None, at
        if self._words[at] == "collate":
            at += 2
        return (None if self._words[at] in _TIGHT else found), at

    def _plain(self, index: int, depth: int) -> tuple[Operand, int]:
        word = self._words[min(index, len(self._spans))]
        if word[:1] in ("'", '"'):
            return index, index + 1
        if word == "(":
            items = [self._whole(start, end, depth + 1) for start, end in self._items(index)] if depth < DEPTH else []
            end = self._closing.get(index, index) + 1
            return (items[0] if len(items) == 1 else items or None), end
        if not word.isidentifier():
            return None, index + 1
        if self._words[index + 1] == "(":
            return self._called(word, index + 1, depth)
        qualifier, at = "", index
        while self._words[at + 1] == "." and self._words[at + 2].isidentifier():
            qualifier, at = self._words[at], at + 2
        known = self._qualifiers is None or qualifier in self._qualifiers or (not qualifier and self._given(at))
        return (_TIME if known and self._words[at] in self._names else None), at + 1

    def _given(self, index: int) -> bool:
        """Whether a name was given to a time by AS."""
        return self._words[index] not in COLUMNS

    def _called(self, name: str, opening: int, depth: int) -> tuple[Operand, int]:
        """The result of a function."""
        at = self._closing.get(opening, opening) + 1
        if name == DATETIME and opening in self._closing:
            return (opening - 1, at - 1), at
        is_time = name == UTC
        if name in _OF_ITS_ARGUMENTS and depth < DEPTH:
            arguments = [self._whole(start, end, depth + 1) for start, end in self._items(opening)]
            is_time = _TIME in arguments
            for argument in arguments if is_time else ():
                self._compare(_TIME, argument)
        while self._words[at] in ("filter", "over") and self._words[at + 1] == "(":
            at = self._closing.get(at + 1, at + 1) + 1
        return (_TIME if is_time else None), at

    def _whole(self, start: int, end: int, depth: int = 0) -> Operand:
        """The operand between two tokens, if there is nothing else."""
        found, at = self._operand(start, depth)
        return found if at == end else None

    def _items(self, opening: int) -> Iterator[tuple[int, int]]:
        """What stands between a bracket's commas: where each begins and ends."""
        closing = self._closing.get(opening)
        start = at = opening + 1
        while closing is not None and at <= closing:
            if at == closing or self._words[at] == ",":
                yield start, at
                start = at + 1
            at = self._closing.get(at, at) + 1

    def _next(self, at: int, word: str) -> int:
        """The next such word outside brackets and nested CASEs; else the end."""
        end, nested = len(self._spans), 0
        limit = min(end, at + REACH)
        while at < limit and (nested or self._words[at] != word) and self._words[at] != ")":
            nested += {"case": 1, "end": -1}.get(self._words[at], 0)
            if nested < 0:
                return end
            at = self._closing.get(at, at) + 1
        return at if at < limit else end


def _is_quoted_number(word: str) -> bool:
    """Whether a token in double quotes is no name: SQLite reads it as a text where there is no such column."""
    return word[0] == '"' and word[1:2].isdigit()


def _name(word: str) -> str:
    """A token in small letters, without the quotes of a name."""
    return (word[1:-1] if word[0] in '"`[' and len(word) > 1 else word).lower()


def _pairs(words: list[str]) -> dict[int, int]:
    """The closing bracket of each opening one."""
    found, opened = {}, list[int]()
    for index, word in enumerate(words):
        if word == "(":
            opened.append(index)
        elif word == ")" and opened:
            found[opened.pop()] = index
    return found


def in_condition(sql: str) -> str:
    """The same for a condition on columns of the log, which name no table."""
    return with_moments(sql, {""})
