"""SQL for values: exact sums, conversions to another kind, and failures that name the event."""

from __future__ import annotations

from esctl.events.paths import parts
from esctl.sql.decimals import SUM
from esctl.sql.judge import FAIL
from esctl.sql.paths import sql_path
from esctl.sql.quoting import text


def fail(message: str) -> str:
    """An expression that fails on the event `new`."""
    return f"{FAIL}(new.position, {text(message)})"


def total(sign: str, left: str, left_text: str, right: str, right_text: str) -> str:
    """A sum or difference as a decimal, with as many decimals as the operand that has more: 0.7 + 0.1 is 0.8.

    Binary fractions would give 0.79999999999999993. Short numbers, which are nearly all, take a fast path that looks at
    their text only; integers are added by SQLite unless they overflow; for the rest SUM is called.
    """
    decimals = "max(octet_length(l) - instr(l || '.', '.'), octet_length(r) - instr(r || '.', '.'), 0)"
    short = " and ".join(f"octet_length({n}) < 12 and {n} between '-' and ':'" for n in ("l", "r"))
    exactly = (
        f"(select case when typeof(a) = 'integer' and typeof(b) = 'integer' and typeof(a {sign} b) = 'integer'"
        f" then a {sign} b else {SUM}('{sign}', iif(l = 'null', '0', l), r) end"
        f" from (select {left} as a, {right} as b limit 1 offset 0))"
    )
    return (
        f"json((select case when {short} and l || r not like '%e%' then printf('%.*f', {decimals}, l {sign} r)"
        f" else {exactly} end"
        f" from (select ifnull({left_text}, '0') as l, {right_text} as r, new.position limit 1 offset 0)))"
    )


def converted(here: str, field: str, kind: str) -> str:
    """The payload with a field's value converted to another kind; null cannot be converted."""
    target = sql_path(parts(field))
    value = f"({here} ->> {target})"
    failed = fail(f"{field} cannot be converted to {kind}")

    def put(made: str) -> str:
        return f"json_replace({here}, {target}, {made})"

    numeric = f"(json_valid({value}) and json_type({value}) in ('integer', 'real'))"
    rounded = f"cast(cast({value} as real) as integer)"
    as_written, as_integer = put(f"json({value})"), put(rounded)
    fits = f"cast({value} as real) = {rounded} and abs({rounded}) < 9007199254740992"
    # || '' makes the number's text plain text; the result of -> itself would be taken for JSON.
    digits = put(f"({here} -> {target}) || ''")
    true, false = put("json('true')"), put("json('false')")
    cases = {
        "number": {"integer": here, "real": here, "text": f"iif({numeric}, {as_written}, {failed})"},
        "integer": {
            "integer": here,
            "real": f"iif({fits}, {as_integer}, {failed})",
            "text": f"case when not {numeric} then {failed} when json_type({value}) = 'integer' then {as_written}"
            f" when {fits} then {as_integer} else {failed} end",
        },
        "string": {
            "text": here,
            "integer": digits,
            "real": digits,
            "true": put("'true'"),
            "false": put("'false'"),
        },
        "boolean": {
            "true": here,
            "false": here,
            "integer": f"case {value} when 0 then {false} when 1 then {true} else {failed} end",
            "text": f"case when {value} in ('true', '1') then {true} when {value} in ('false', '0') then {false}"
            f" else {failed} end",
        },
    }
    whens = " ".join(f"when '{type_}' then {made}" for type_, made in cases[kind].items())
    return f"case ifnull(json_type({here}, {target}), '') when '' then {here} {whens} else {failed} end"
