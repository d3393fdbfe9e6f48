"""Whether each row of a projection depends on the events of one stream only.

Judged by the tokens of its handlers: each statement writes rows of `new.stream` and reads no others. A statement that
is not understood is taken to depend on everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import apsw

from esctl.model.compiled import Compiled
from esctl.sql.quoting import quoted
from esctl.sql.tokens import tokens

_STREAM = ["new", ".", "stream"]
# With these words a statement may see other rows, or more than its own ones.
_ELSEWHERE = {
    "select", "with", "from", "join", "returning", "or", "exists", "union", "rowid", "_rowid_", "oid", "changes",
    "total_changes", "last_insert_rowid",
}  # fmt: skip
_UNIQUE = 'select name from pragma_index_list(?) where "unique"'
_COLUMNS = "select name, type, pk from pragma_table_xinfo(?)"


def by_stream(compiled: Compiled) -> dict[str, str] | None:
    """The column of each table that has the stream, if each row depends on that stream's events only; else None."""
    described, columns = _described(compiled), dict[str, str]()
    for sql in compiled.on.values():
        for statement in _statements(sql):
            table, column = _written(statement, described) or ("", "")
            if table not in described or column != columns.setdefault(table, column):
                return None
    if any(columns.get(table) not in described[table].keys for table in described):
        return None
    return {table: columns[table.lower()] for table in compiled.tables}


class _Table:
    """A table as SQLite has it: its columns, and those that have only texts and are in each of its keys."""

    def __init__(self, columns: list[str], keys: set[str]) -> None:
        self.columns, self.keys = columns, keys


def _described(compiled: Compiled) -> dict[str, _Table]:
    """The tables by name, in lower case."""
    connection = apsw.Connection(":memory:")
    try:
        for statement in compiled.tables.values():
            connection.execute(f"create table {statement}").fetchall()
        for name, statement in compiled.indexes.items():
            connection.execute(statement.format(name=quoted(name))).fetchall()
        return {table.lower(): _table(connection, table, sql) for table, sql in compiled.tables.items()}
    finally:
        connection.close()


def _table(connection: apsw.Connection, table: str, sql: str) -> _Table:
    found: list[tuple[str, str, int]] = connection.execute(_COLUMNS, (table,)).fetchall()  # type: ignore[assignment]
    columns = [name.lower() for name, _, _ in found]
    words = {match[0].lower() for match in tokens(sql)}
    if "collate" in words or "references" in words:  # equal are not only equal bytes; or other rows are read
        return _Table(columns, set())
    keys = {name.lower() for name, type_, place in found if place and type_.upper() in ("TEXT", "")}
    for (index,) in connection.execute(_UNIQUE, (table,)).fetchall():
        parts = connection.execute("select name from pragma_index_info(?)", (index,)).fetchall()
        keys &= {str(name).lower() for (name,) in parts}
    return _Table(columns, keys)


def _statements(sql: str) -> Iterator[list[str]]:
    """The statements of a handler as their tokens; what is no text is in lower case, quoted names are kept."""
    statement: list[str] = []
    for match in tokens(sql):
        if match[0] == ";":
            if statement:
                yield statement
            statement = []
        else:
            statement.append(match[0] if match[0][0] in "'\"`[" else match[0].lower())
    if statement:
        yield statement


def _written(statement: Sequence[str], tables: Mapping[str, _Table]) -> tuple[str, str] | None:
    """The table that a statement writes, and its column that has to be the event's stream in each row that it writes or
    reads; None if there is none.
    """
    match statement:
        case ["insert", "into", table, *rest] if table in tables:
            found = _inserted(rest, tables[table])
        case ["insert", "or", "ignore", "into", table, *rest] if table in tables:
            found = _inserted(rest, tables[table])
        case ["update", table, *rest] if table in tables and rest[:1] == ["set"]:
            found = _where(rest, table)
        case ["delete", "from", table, *rest] if table in tables:
            found = _where(rest, table)
        case _:
            return None
    return (table, found) if found and not _reads_elsewhere(rest, found) else None


def _reads_elsewhere(words: Sequence[str], column: str) -> bool:
    """Whether what follows a table's name may read other rows, or give a row another stream."""
    setting = False
    for word, following in pairwise([*words, ""]):
        setting = setting or word == "set"
        if word in _ELSEWHERE or (word in ("in", "replace") and following != "("):
            return True
        if word == "set" and following == "(":
            return True
        if setting and word in ("set", ",") and following.strip('"`[]').lower() == column:
            return True
    return False


def _inserted(words: Sequence[str], table: _Table) -> str | None:
    """The column that an INSERT of one row sets to the stream."""
    columns = table.columns
    if words and words[0] == "(":
        end = words.index(")")
        columns, words = list(words[1:end:2]), words[end + 1 :]
    if words[:2] != ["values", "("]:
        return None
    values, rest = _listed(words[2:])
    if len(values) != len(columns) or (rest and rest[0] != "on"):
        return None
    return next((column for column, value in zip(columns, values, strict=True) if value == _STREAM), None)


def _listed(words: Sequence[str]) -> tuple[list[list[str]], Sequence[str]]:
    """Expressions up to the closing parenthesis, and what follows it."""
    values: list[list[str]] = [[]]
    depth = 1
    for at, word in enumerate(words):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if not depth:
            return values, words[at + 1 :]
        if word == "," and depth == 1:
            values.append([])
        else:
            values[-1].append(word)
    return [], []


def _where(words: Sequence[str], table: str) -> str | None:
    """The column that a condition first compares with the stream."""
    if words.count("where") != 1:
        return None
    condition = list(words[words.index("where") + 1 :])
    if condition[:2] == [table, "."]:
        condition = condition[2:]
    return condition[0] if condition[1:5] == ["=", *_STREAM] and condition[5:6] in ([], ["and"]) else None
