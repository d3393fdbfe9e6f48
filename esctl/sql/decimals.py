"""The SQL functions for exact decimals: decimal_add and its like for users and models, and what `add` of a model calls.

Every connection that runs SQL of users or models has them, so the arithmetic is only imported by the first call.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from esctl.sql.arithmetic import Sum

SUM = "esctl_sum"
"""An SQL function of (sign, JSON number, JSON number) for the JSON number that is their sum or difference."""

_FUNCTIONS = {"decimal_add": "add", "decimal_sub": "sub", "decimal_mul": "mul", "decimal_cmp": "cmp", SUM: "total"}
NAMES = (*_FUNCTIONS, "decimal_sum")


def define(connection: apsw.Connection) -> None:
    """Define the functions on a connection."""
    for name, of in _FUNCTIONS.items():
        connection.create_scalar_function(name, _calling(of), 3 if name == SUM else 2, deterministic=True)
    connection.create_window_function("decimal_sum", _sum, 1)


def _calling(name: str) -> Callable[..., int | float | str | None]:
    def function(*values: object) -> int | float | str | None:
        from esctl.sql import arithmetic  # noqa: PLC0415 - few runs call it

        result: int | float | str | None = getattr(arithmetic, name)(*values)
        return result

    return function


def _sum() -> Sum:
    from esctl.sql.arithmetic import Sum  # noqa: PLC0415

    return Sum()
