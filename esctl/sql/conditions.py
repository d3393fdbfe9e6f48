"""Check SQL conditions over the columns of an event or a state before they run."""

from __future__ import annotations

import apsw

from esctl.errors import UsageError
from esctl.sql import functions
from esctl.sql.clock import reads_clock
from esctl.sql.quoting import quoted

CONDITION_COLUMNS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta")


MAX_SAMPLE_BYTES = 100_000  # of any value that a condition computes from the sample row: `instr` of two takes 0.1 s
STATE_COLUMNS = ("stream", "version", "position", "time", "state")
_SAMPLES = {"position": "1", "version": "1", "schema": "1", "data": "'{}'", "meta": "'{}'", "state": "'{}'"}
_EXAMPLES = {
    CONDITION_COLUMNS: "data ->> 'amount' > 100 and type = 'OrderPlaced'",
    STATE_COLUMNS: "state ->> 'status' = 'Paid'",
}


def check_condition(condition: str, columns: tuple[str, ...] = CONDITION_COLUMNS, *, option: str = "--where") -> None:
    """Refuse a condition that is not one deterministic SQL expression over these columns. Raises UsageError.

    The condition is tried as an index expression: in one, SQLite itself allows no subquery, parameter, aggregate, other
    table or non-deterministic function. It rejects a date function that reads the clock when it fills the index, hence
    the sample row. The condition is also compiled as a WHERE; only a single expression passes both.
    """
    try:
        condition.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option} is not valid UTF-8") from error
    if reads_clock(condition):
        raise UsageError(
            f"{option} {condition[:80]!r}: non-deterministic, it reads the clock",
            why="a condition must give the same result at any time;"
            " write a fixed time (time > '2026-01-31'), or use --since 2h",
            fix="esctl help time",
        )
    connection, listed = apsw.Connection(":memory:"), ", ".join(map(quoted, columns))
    functions.define(connection)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_SAMPLE_BYTES)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)  # "x" must be a column, never the text 'x'
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
