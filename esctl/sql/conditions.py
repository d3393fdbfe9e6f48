"""Conditions over the columns of an event or a state, judged before they run."""

from __future__ import annotations

import apsw

from esctl.errors import UsageError
from esctl.sql.clock import reads_clock
from esctl.sql.quoting import quoted

CONDITION_COLUMNS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta")


MOST_OF_A_SAMPLE = 1_000_000  # bytes of a text that a condition may make of a sample
STATE_COLUMNS = ("stream", "version", "position", "time", "state")
_SAMPLES = {"position": "1", "version": "1", "schema": "1", "data": "'{}'", "meta": "'{}'", "state": "'{}'"}
_EXAMPLES = {
    CONDITION_COLUMNS: "data ->> 'amount' > 100 and type = 'OrderPlaced'",
    STATE_COLUMNS: "state ->> 'status' = 'Paid'",
}


def check_condition(condition: str, columns: tuple[str, ...] = CONDITION_COLUMNS, *, option: str = "--where") -> None:
    """Refuse what is not one deterministic SQL expression over the columns of an event, or of a state.

    An index expression is exactly that: SQLite itself allows no subquery, no parameter, no aggregate, no other table
    and no function whose result changes in one; and of the date functions no reading of the clock, which it notices
    when the index is filled. Compiled as a WHERE as well, nothing but a single expression passes both.

    Raises UsageError with SQLite's reason.
    """
    try:
        condition.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option} is not valid UTF-8") from error
    if reads_clock(condition):
        raise UsageError(
            f"{option} {condition[:80]!r}: non-deterministic, it reads the clock",
            why="a condition gives the same result whenever it is asked;"
            " name the moment (time > '2026-01-31'), or use --since 2h",
            fix="esctl help time",
        )
    connection, listed = apsw.Connection(":memory:"), ", ".join(map(quoted, columns))
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MOST_OF_A_SAMPLE)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)  # "x" is a column and nothing else: 'x' was meant
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    try:
        connection.execute(f"create table log({listed})")
        connection.execute(f"create index condition on log(({condition}\n))")
        connection.execute(f"select 1 from log where ({condition}\n) limit 1").fetchall()
        samples = _SAMPLES if columns in _EXAMPLES else dict.fromkeys(columns, "null")
        sample = ", ".join(samples.get(column, "'2026-01-01T00:00:00.000000Z'") for column in columns)
        connection.execute(f"insert into log values ({sample})")
    except apsw.Error as error:
        reason = str(error).replace(" in index expressions", "").replace(" in an index", "")
        example = _EXAMPLES.get(columns, f"{columns[0]} = 'x'")
        raise UsageError(
            f"{option} {condition[:80]!r}: {reason}",
            why=f"it is an SQL condition over {', '.join(columns)}, such as {example}",
            fix="esctl replay --help" if columns == CONDITION_COLUMNS else "",
        ) from error
    finally:
        connection.close()
