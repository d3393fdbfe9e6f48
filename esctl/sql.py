"""SQL that comes from outside: what it may do, judged before it runs."""

from __future__ import annotations

import re

import apsw

from esctl.errors import UsageError

CONDITION_COLUMNS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta")
# SQLite notices a date function that reads the clock only when it does; this is for branches that the sample misses.
_CLOCK = re.compile(
    r"\b(?:date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\((?:\s*\)|[^()]*'now')", re.IGNORECASE
)
_TABLE = """create table log(position integer, stream text, version integer, id text, type text, schema integer,
                             time text, recorded text, data text, meta text)"""
_SAMPLE = """insert into log values (1, 's', 1, 'i', 'T', 1, '2026-01-01T00:00:00.000000Z',
                                     '2026-01-01T00:00:00.000000Z', '{}', '{}')"""


def check_condition(condition: str) -> None:
    """Refuse what is not one deterministic SQL expression over the columns of an event.

    An index expression is exactly that: SQLite itself allows no subquery, no parameter, no aggregate, no other table
    and no function whose result changes in one; and of the date functions no reading of the clock, which it notices
    when the index is filled. Compiled as a WHERE as well, nothing but a single expression passes both.

    Raises UsageError with SQLite's reason.
    """
    try:
        condition.encode()
    except UnicodeEncodeError as error:
        raise UsageError("--where is not valid UTF-8") from error
    if _CLOCK.search(condition):
        raise UsageError(
            f"--where {condition[:80]!r}: non-deterministic, it reads the clock",
            why="a condition gives the same result whenever it is asked",
            fix="--since 2h, or a time: \"time > '2026-01-31'\"",
        )
    connection = apsw.Connection(":memory:")
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)  # "x" is a column and nothing else: 'x' was meant
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    try:
        connection.execute(_TABLE)
        connection.execute(f"create index condition on log(({condition}\n))")
        connection.execute(f"select 1 from log where ({condition}\n) limit 1").fetchall()
        connection.execute(_SAMPLE)
    except apsw.Error as error:
        reason = str(error).replace(" in index expressions", "").replace(" in an index", "")
        raise UsageError(
            f"--where {condition[:80]!r}: {reason}",
            why=f"it is an SQL condition over {', '.join(CONDITION_COLUMNS)}",
            fix="--where \"data ->> 'amount' > 100 and type = 'OrderPlaced'\"",
        ) from error
    finally:
        connection.close()


# What a question may do: read, call functions, recurse. No statement of another kind gets past the authorizer.
_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "edit", "writefile", "readfile", "zeroblob"}


def authorize_reading(action: int, _: str | None, second: str | None, __: str | None, ___: str | None) -> int:
    """An authorizer that lets a statement read tables and views, and do nothing else."""
    if action == apsw.SQLITE_FUNCTION:
        return apsw.SQLITE_DENY if (second or "").lower() in _FORBIDDEN_FUNCTIONS else apsw.SQLITE_OK
    return apsw.SQLITE_OK if action in _ALLOWED else apsw.SQLITE_DENY
