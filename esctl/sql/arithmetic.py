"""Exact decimal arithmetic on values of SQL; `esctl.sql.decimals` makes SQL functions of it."""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow

import apsw

MAX_DIGITS = 10_000  # of a result
MAX_TEXT_LENGTH = 2 * MAX_DIGITS  # of a number: arithmetic holds the interpreter's lock, so nothing else could stop it
LEAST, MOST = -(2**63), 2**63 - 1  # integers of SQLite
_PLAIN_LENGTH = 40  # a longer number is written with an exponent if that is shorter
_EXACT = Context(prec=MAX_DIGITS, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation, Overflow])


def _decimal(value: object, name: str) -> Decimal:
    """An SQL value as a decimal; a binary fraction is the shortest decimal that stands for it."""
    if isinstance(value, Decimal):
        return value
    text = repr(value) if isinstance(value, int | float) else value
    if isinstance(text, str) and len(text) > MAX_TEXT_LENGTH:
        raise apsw.SQLError(f"{name}: a number has more than {MAX_TEXT_LENGTH:,} characters")
    if isinstance(text, str) and text and set(text) <= set("0123456789+-.eE"):
        try:
            return Decimal(text)
        except ArithmeticError:
            pass
    shown = f"{value!r:.40}" if isinstance(value, str | int | float) else "a blob"
    raise apsw.SQLError(f"{name}: {shown} is not a number")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and not set(value) & set(".eE"))


def _number(value: Decimal, *, whole: bool) -> int | float | str:
    """A decimal as an SQL number if that is exact, else as text."""
    if whole and LEAST <= value <= MOST:
        return int(value)
    number = float(value)
    if not whole and Decimal(repr(number)) == value:
        return number
    return _text(value)


def _text(value: Decimal) -> str:
    """A decimal as a JSON number."""
    if -_PLAIN_LENGTH < value.adjusted() < _PLAIN_LENGTH:
        return f"{value:f}"
    return str(value)


def _exactly(name: str, operation: str, left: object, right: object) -> Decimal | None:
    """The result of an operation of decimal arithmetic, or NULL if one of the operands is NULL."""
    if left is None or right is None:
        return None
    try:
        result: Decimal = getattr(_EXACT, operation)(_decimal(left, name), _decimal(right, name))
    except ArithmeticError:
        raise apsw.SQLError(f"{name}: the result has more than {MAX_DIGITS:,} digits") from None
    return result


def _of_two(name: str, operation: str, left: object, right: object) -> int | float | str | None:
    result = _exactly(name, operation, left, right)
    return None if result is None else _number(result, whole=_is_whole(left) and _is_whole(right))


def add(left: object, right: object) -> int | float | str | None:
    """The sum; NULL if one of the numbers is NULL."""
    return _of_two("decimal_add", "add", left, right)


def sub(left: object, right: object) -> int | float | str | None:
    """The difference."""
    return _of_two("decimal_sub", "subtract", left, right)


def mul(left: object, right: object) -> int | float | str | None:
    """The product."""
    return _of_two("decimal_mul", "multiply", left, right)


def cmp(left: object, right: object) -> int | None:
    """-1, 0 or 1: whether the left number is less than, equal to or greater than the right one."""
    if left is None or right is None:
        return None
    one, other = _decimal(left, "decimal_cmp"), _decimal(right, "decimal_cmp")
    return (one > other) - (one < other)


def total(sign: str, left: str, right: str) -> str:
    """The sum or difference of two JSON numbers, as a JSON number with the decimals of both."""
    found = _exactly("the sum", "add" if sign == "+" else "subtract", left, right)
    assert found is not None
    return _text(found)


class Sum:
    """The aggregate (and window) function decimal_sum: NULL if no value is there."""

    def __init__(self) -> None:
        self.count = self.fractions = 0
        self.sum: object = 0

    def _change(self, operation: str, by: int, value: object) -> None:
        if value is None:
            return
        self.sum = _exactly("decimal_sum", operation, self.sum if self.count else 0, value)
        self.count += by
        self.fractions += 0 if _is_whole(value) else by

    def step(self, value: object) -> None:
        """Add a value."""
        self._change("add", 1, value)

    def inverse(self, value: object) -> None:
        """Take a value away that leaves the window."""
        self._change("subtract", -1, value)

    def value(self) -> int | float | str | None:
        """The sum so far."""
        return _number(self.sum, whole=not self.fractions) if self.count else None  # type: ignore[arg-type]  # counted

    final = value
