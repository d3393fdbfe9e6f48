"""The SQL functions of esctl for SQL of users and models: `utc` and exact decimal arithmetic.

Every connection that runs such SQL has them, so a function's own imports wait until it is called.
"""

from __future__ import annotations

from esctl.sql import decimals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import apsw

NAMES = ("utc", *decimals.NAMES)


def define(connection: apsw.Connection) -> None:
    """Define the functions on a connection."""
    decimals.define(connection)
    connection.create_scalar_function("utc", _utc, 1, deterministic=True)  # type: ignore[arg-type]  # it takes any value


def _utc(value: object) -> str | None:
    from esctl.sql.utc import utc  # noqa: PLC0415 - datetime, for SQL that calls it

    return utc(value)
