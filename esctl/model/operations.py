"""Compile declared operations to SQL expressions that SQLite runs over rows, so that Python decodes no payload.

An expression is built in layers. An operation that uses its subject (the payload or state so far) more than once starts
a new layer: a subselect with the subject as a column, so that nothing is computed twice (LIMIT with OFFSET keeps SQLite
from flattening it). Expressions may use `new`, the event; `state`, a fold's state as JSONB; and the function FAIL,
which aborts the statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise

from esctl.model.declared import ANY, Aggregate, Copy, Literal, Source, Step, fingerprint
from esctl.model.program import Program
from esctl.sql.judge import FAIL
from esctl.sql.payload import columns_of
from esctl.sql.quoting import text

ENGINE = 1  # part of every fingerprint: raise it when the same definition gives another result


def path(field: str) -> str:
    """The JSON path of a dotted field name, as an SQL literal."""
    return text("$" + "".join(f".{json.dumps(name, ensure_ascii=False)}" for name in field.split(".")))


def source_path(source: Copy) -> str:
    """The JSON path that is copied from the payload, as an SQL literal; a name may have an index (`$.items[0]`)."""
    quoted = "$"
    for name in source.path.split(".")[1:]:
        bare, bracket, index = name.partition("[")
        quoted += f".{json.dumps(bare, ensure_ascii=False)}{bracket}{index}"
    return text(quoted)


class _Layers:
    """The expression for a subject so far: finished layers, and the current one over the column of the layer before."""

    def __init__(self, column: str, payload: str | None, prefix: str, nest: Callable[[str, str], str]) -> None:
        self.column = column  # the subject's name within a layer
        self._payload = payload  # the column that operations copy from; None: the subject itself
        self.prefix = prefix  # `json` or `jsonb`: the prefix of the names of SQLite's editing functions
        self._nest = nest  # makes one expression of a layer and the expression for its subject
        self.layers: list[str] = []
        self.now = column

    def once(self) -> str:
        """The subject as a column, which an expression may use any number of times."""
        if self.now != self.column:
            self.layers.append(self.now)
            self.now = self.column
        return self.column

    @property
    def payload(self) -> str:
        """The column that `$` paths refer to."""
        return self._payload or self.once()

    def sql(self) -> str:
        """The whole expression."""
        expression = ""
        for layer in (*self.layers, self.now):
            expression = self._nest(layer, expression) if expression else layer
        return expression


def state_after(steps: Iterable[Step]) -> str:
    """An expression over `state` and `new` for the state (JSONB) after steps."""
    layers = _Layers(
        "state", "new.data", "jsonb", lambda layer, of: f"(select {layer} from (select {of} as state limit 1 offset 0))"
    )
    for step in steps:
        _apply(layers, step)
    return layers.sql()


def payload_after(steps: Iterable[tuple[str, int, Step]], condition: tuple[str, int, str] | None = None) -> str:
    """An expression over `new` for the payload (JSON text) after steps, each given with the type and schema it reads.

    With a condition (type, schema version, SQL): an expression for the condition's value on the event after the steps.
    """
    data = "new.data"
    for type_, schema, step in _renames_first(list(steps)):
        layers = _Layers("new.data", None, "json", lambda layer, of: _with_new(layer, of, type_, schema))  # noqa: B023
        layers.now = data  # not yet a layer: an operation that uses it once needs none
        _apply(layers, step)
        data = layers.sql()
    if condition is None:
        return data
    type_, schema, sql = condition
    return _with_new(f"({sql}\n)", data, type_, schema)


def _renames_first(steps: list[tuple[str, int, Step]]) -> list[tuple[str, int, Step]]:
    """Move steps that only rename before steps that only set defaults of other fields: a rename on the stored text is a
    fast text replacement, and after a default it would not be.
    """
    for at, ((_, _, first), (_, _, second)) in enumerate(pairwise(steps)):
        plain = first == Step(first.place, default=first.default) and second == Step(second.place, rename=second.rename)
        literal = all(isinstance(source, Literal) for _, source in first.default)
        fields = {name.partition(".")[0] for name, _ in first.default}
        renamed = {name.partition(".")[0] for names in second.rename for name in names}
        if plain and literal and not fields & renamed:
            return [*steps[:at], steps[at + 1], *_renames_first([steps[at], *steps[at + 2 :]])]
    return steps


def _with_new(layer: str, data: str, type_: str, schema: int) -> str:
    """An expression over `new` with another payload, type and schema; only the columns that it uses are selected."""
    given = {"data": f"{data} as data", "type": f"{text(type_)} as type", "schema": f"{schema} as schema"}
    columns = ", ".join(given.get(name, f"new.{name} as {name}") for name in columns_of(f"{layer} new.data"))
    return f"(select {layer} from (select {columns} limit 1 offset 0) as new)"


def _apply(layers: _Layers, step: Step) -> None:
    """Add a step's operations in their order, applied only if the step's condition is true."""
    if step.when is None:
        _operations(layers, step)
        return
    inner = _Layers(layers.once(), layers._payload, layers.prefix, layers._nest)  # noqa: SLF001 - the same class
    _operations(inner, step)
    layers.now = f"iif(({step.when}\n), {inner.sql()}, {layers.column})"


def _operations(layers: _Layers, step: Step) -> None:
    for old, new in step.rename:
        _rename(layers, old, new)
    if step.default:
        _set(layers, "insert", step.default)
    for field, kind in step.convert:
        layers.now = _converted(layers.once(), field, kind)
    if step.set:
        _set(layers, "set", step.set)
    for sign, sources in (("+", step.add), ("-", step.subtract)):
        for field, source in sources:
            _add(layers, sign, field, source)
    for field, source in step.append:
        _append(layers, field, source)
    if step.merge is not None:
        _merge(layers, step.merge)
    for field, sql in step.compute:
        layers.now = f"{layers.prefix}_set({layers.once()}, {path(field)}, ({sql}\n))"
    if step.remove:
        layers.now = f"{layers.prefix}_remove({layers.now}, {', '.join(map(path, step.remove))})"


def _fail(message: str) -> str:
    return f"{FAIL}(new.position, {text(message)})"


def _set(layers: _Layers, verb: str, fields: tuple[tuple[str, Source], ...]) -> None:
    """json_set or json_insert of fields. Both skip a NULL path, which stands for a source that is absent."""
    arguments = []
    if any(isinstance(source, Copy) for _, source in fields):
        payload = layers.payload
    for field, source in fields:
        if isinstance(source, Copy):
            arguments.append(f"iif(json_type({payload}, {source_path(source)}) is null, null, {path(field)})")
            arguments.append(f"{payload} -> {source_path(source)}")
        else:
            arguments += [path(field), _literal(source)]
    layers.now = f"{layers.prefix}_{verb}({layers.now}, {', '.join(arguments)})"


def _literal(source: Literal) -> str:
    return f"json({text(source.json)})"


def _add(layers: _Layers, sign: str, field: str, source: Source) -> None:
    here, target = layers.once(), path(field)
    balance = (
        f"case when json_type({here}, {target}) in ('integer', 'real') then {here} ->> {target}"
        f" when ifnull(json_type({here}, {target}), 'null') = 'null' then 0"
        f" else {_fail(f'{field} holds no number to add to')} end"
    )
    if isinstance(source, Literal):
        total = _total(sign, balance, f"{here} -> {target}", source.json, text(source.json))
        layers.now = f"{layers.prefix}_set({here}, {target}, {total})"
        return
    payload, amount = layers.payload, source_path(source)
    number = (
        f"case when json_type({payload}, {amount}) in ('integer', 'real') then {payload} ->> {amount}"
        f" else {_fail(f'{source.path} is not a number')} end"
    )
    total = _total(sign, balance, f"{here} -> {target}", number, f"{payload} -> {amount}")
    layers.now = f"iif(json_type({payload}, {amount}) is null, {here}, {layers.prefix}_set({here}, {target}, {total}))"


def _total(sign: str, left: str, left_text: str, right: str, right_text: str) -> str:
    """A sum or difference as a decimal, with as many decimals as the operand that has more: 0.7 + 0.1 is 0.8.

    Binary fractions would give 0.79999999999999993. Numbers with an exponent and sums of more than fifteen digits are
    added by SQLite as they are. Short numbers, which are nearly all, take a faster path that looks at their text only.
    """
    decimals = "max(octet_length(l) - instr(l || '.', '.'), octet_length(r) - instr(r || '.', '.'), 0)"
    short = " and ".join(f"octet_length({n}) < 12 and {n} between '-' and ':'" for n in ("l", "r"))
    exactly = (
        f"(select case when typeof(a) = 'integer' and typeof(b) = 'integer' and typeof(a {sign} b) = 'integer'"
        f" then a {sign} b when l like '%e%' or r like '%e%'"
        f" or length(cast(abs(a) + abs(b) as integer)) + {decimals} > 15 then printf('%!.17g', a {sign} b)"
        f" else printf('%.*f', {decimals}, a {sign} b) end from (select {left} as a, {right} as b limit 1 offset 0))"
    )
    return (
        f"json((select case when {short} and l || r not like '%e%' then printf('%.*f', {decimals}, l {sign} r)"
        f" else {exactly} end"
        f" from (select ifnull({left_text}, '0') as l, {right_text} as r, new.position limit 1 offset 0)))"
    )


def _append(layers: _Layers, field: str, source: Source) -> None:
    here, target = layers.once(), path(field)
    value = _literal(source) if isinstance(source, Literal) else f"json({layers.payload} -> {source_path(source)})"
    made = (
        f"case ifnull(json_type({here}, {target}), 'absent')"
        f" when 'array' then {layers.prefix}_set({here}, {target} || '[#]', {value})"
        f" when 'absent' then {layers.prefix}_set({here}, {target}, json_array({value}))"
        f" else {_fail(f'{field} is not an array')} end"
    )
    if isinstance(source, Copy):
        made = f"iif(json_type({layers.payload}, {source_path(source)}) is null, {here}, {made})"
    layers.now = made


def _merge(layers: _Layers, source: Copy) -> None:
    here, payload, where = layers.once(), layers.payload, source_path(source)
    patch = payload if source.path == "$" else f"{payload} -> {where}"
    layers.now = (
        f"case ifnull(json_type({payload}, {where}), '') when '' then {here}"
        f" when 'object' then {layers.prefix}_patch({here}, {patch})"
        f" else {_fail(f'{source.path} is not an object')} end"
    )


def _rename(layers: _Layers, old: str, new: str) -> None:
    """Rename a field in its place.

    A key that occurs in the text once is replaced there, which is fast and keeps the rest byte for byte. Otherwise the
    object that contains it is rebuilt, field by field.
    """
    here = layers.once()
    (around, key), (target, new_key) = _split(old), _split(new)
    if around != target:  # the field moves to another object
        moved = f"json_set(json_remove({here}, {path(new)}), {path(new)}, json({here} -> {path(old)}))"
        layers.now = (
            f"case when json_type({here}, {path(old)}) is null then {here}"
            f" when json_type({moved}, {path(new)}) is null then {_fail(f'{new} has no place for {old}')}"
            f" else json_remove({moved}, {path(old)}) end"
        )
        return
    root = path(around) if around else "'$'"
    fields = (
        f"(select json_group_object(iif(key = {text(key)}, {text(new_key)}, key), json({here} -> fullkey))"
        f" from json_each({here}, {root}) where key <> {text(new_key)})"
    )
    rebuilt = f"json_set({here}, {root}, json({fields}))" if around else fields
    quoted, written = (json.dumps(name, ensure_ascii=False) for name in (key, new_key))
    longer = len(written.encode()) - len(quoted.encode())
    if "\\" in quoted + written:
        layers.now = f"iif(json_type({here}, {path(old)}) is null, {here}, {rebuilt})"
        return
    # A text without a backslash has no escapes, so every key is spelled out in it. If the old name occurs once, and the
    # new name, which did not occur, is a key after the replacement, then that one place was the key. LIKE and GLOB scan
    # a text much faster than instr() does.
    once = f"octet_length(new.renamed) - octet_length({here}) = {longer}"
    if not longer:
        once = f"octet_length({here}) - octet_length(replace({here}, {text(quoted)}, '')) = {len(quoted.encode())}"
    absent = "".join(f"[{c}]" if c in "*?[" else c for c in written[1:])  # no opening quote: it is everywhere
    layers.now = (
        f"(select case when {once} and {here} not like '%\\%' and {here} not glob {text(f'*{absent}*')}"
        f" and json_type(new.renamed, {path(new)}) is not null then new.renamed"
        f" when json_type({here}, {path(old)}) is null then {here} else {rebuilt} end"
        f" from (select {here} as data, replace({here}, {text(quoted)}, {text(written)}) as renamed, new.position"
        " limit 1 offset 0) as new)"
    )


def _split(field: str) -> tuple[str, str]:
    around, _, name = field.rpartition(".")
    return around, name


def _converted(here: str, field: str, kind: str) -> str:
    """The payload with a field's value converted to another kind; null cannot be converted."""
    target = path(field)
    value = f"({here} ->> {target})"
    failed = _fail(f"{field} cannot be converted to {kind}")

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


MERGE = Program(
    "", "{}", "jsonb_patch(state, new.data)", None, ("position", "type", "data"), fingerprint(ENGINE, "merge")
)
"""The fold of a stream that no aggregate covers: all payloads merged (JSON merge patch, RFC 7396)."""


def program(aggregate: Aggregate) -> Program:
    """Compile an aggregate. Its rules are not part of the fold's fingerprint, since they do not change states."""
    state = _by_type({type_: state_after(steps) for type_, steps in aggregate.on.items()}, "state")
    accepts = _by_type({type_: f"({rule.sql}\n)" for type_, rule in aggregate.accept.items()}, "1")
    columns = tuple(columns_of(f"{state} {accepts} new.type"))
    fold = fingerprint(ENGINE, aggregate.initial, aggregate.on)
    return Program(aggregate.name, aggregate.initial, state, accepts if aggregate.accept else None, columns, fold)


def _by_type(expressions: dict[str, str], otherwise: str) -> str:
    """One expression that selects by the type of `new`; `*` is for all types without their own."""
    otherwise = expressions.get(ANY, otherwise)
    named = [f"when {text(type_)} then {sql}" for type_, sql in expressions.items() if type_ != ANY]
    return f"case new.type {' '.join(named)} else {otherwise} end" if named else otherwise
