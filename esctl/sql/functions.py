"""The SQL functions of esctl for SQL of users and models: `utc` and exact decimal arithmetic.

Every connection that runs such SQL has them, so a function's own imports wait until it is called.
"""

from __future__ import annotations

from esctl.sql import decimals
from esctl.sql.utc import UTC, utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import apsw

NAMES = (UTC, *decimals.NAMES)


def define(connection: apsw.Connection) -> None:
    """Define the functions on a connection."""
    decimals.define(connection)
    connection.create_scalar_function(UTC, utc, 1, deterministic=True)  # type: ignore[arg-type]  # it takes any value
