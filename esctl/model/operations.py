"""Declared operations -> SQL expressions that SQLite runs over rows, so that no payload is ever decoded in Python.

An expression is built in layers: an operation that needs its subject more than once begins a new one, a subselect with
the subject as a column (LIMIT with OFFSET keeps SQLite from flattening it back), so that nothing is computed twice.
Names in it: `new`, the event; `state`, a fold's state as JSONB; and the function FAIL, which ends the statement.
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

ENGINE = 1  # part of every fingerprint: raised when the same definition begins to give another result


def path(field: str) -> str:
    """A field's dotted path as an SQL literal of SQLite's JSON path."""
    return text("$" + "".join(f".{json.dumps(name, ensure_ascii=False)}" for name in field.split(".")))


def own_path(source: Copy) -> str:
    """The path of the payload that is copied, as an SQL literal; dotted names, an index may follow (`$.items[0]`)."""
    made = "$"
    for name in source.path.split(".")[1:]:
        bare, bracket, index = name.partition("[")
        made += f".{json.dumps(bare, ensure_ascii=False)}{bracket}{index}"
    return text(made)


class _Layers:
    """What became of a subject so far: finished layers, and an expression over the column that holds the last one."""

    def __init__(self, column: str, payload: str | None, binary: str, fence: Callable[[str, str], str]) -> None:
        self.column = column  # how the subject is called within a layer
        self._payload = payload  # what operations copy from; None: the subject itself
        self.binary = binary  # `json` or `jsonb`: what the functions that edit begin with
        self._fence = fence
        self.layers: list[str] = []
        self.now = column

    def once(self) -> str:
        """The subject as a column, which may be named as often as needed."""
        if self.now != self.column:
            self.layers.append(self.now)
            self.now = self.column
        return self.column

    @property
    def payload(self) -> str:
        """What `$` paths lead into."""
        return self._payload or self.once()

    def sql(self) -> str:
        """The whole expression."""
        made = ""
        for layer in (*self.layers, self.now):
            made = self._fence(layer, made) if made else layer
        return made


def state_after(steps: Iterable[Step]) -> str:
    """The state after steps, as JSONB, as an expression over `state` and `new`."""
    layers = _Layers(
        "state", "new.data", "jsonb", lambda layer, of: f"(select {layer} from (select {of} as state limit 1 offset 0))"
    )
    for step in steps:
        _do(layers, step)
    return layers.sql()


def payload_after(steps: Iterable[tuple[str, int, Step]], condition: tuple[str, int, str] | None = None) -> str:
    """The payload, JSON text, after steps that read types and schema versions, as an expression over `new`.

    With a condition of a type and schema version: what that says of the event after them.
    """
    made = "new.data"
    for type_, schema, step in _renames_first(list(steps)):
        layers = _Layers("new.data", None, "json", lambda layer, of: _with_new(layer, of, type_, schema))  # noqa: B023
        layers.now = made  # what needs it once takes it as it is
        _do(layers, step)
        made = layers.sql()
    if condition is None:
        return made
    type_, schema, sql = condition
    return _with_new(f"({sql}\n)", made, type_, schema)


def _renames_first(steps: list[tuple[str, int, Step]]) -> list[tuple[str, int, Step]]:
    """Steps that only rename, before ones that only set defaults of other fields: on the stored text a rename is a
    replacement, and what comes of a default has to be read again.
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
    """An expression over `new` whose payload is what came before; only columns that it names are handed on."""
    given = {"data": f"{data} as data", "type": f"{text(type_)} as type", "schema": f"{schema} as schema"}
    columns = ", ".join(given.get(name, f"new.{name} as {name}") for name in columns_of(f"{layer} new.data"))
    return f"(select {layer} from (select {columns} limit 1 offset 0) as new)"


def _do(layers: _Layers, step: Step) -> None:
    """Add a step's operations in their order, or none of them where its condition does not hold."""
    if step.when is None:
        _operations(layers, step)
        return
    inner = _Layers(layers.once(), layers._payload, layers.binary, layers._fence)  # noqa: SLF001 - the same class
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
        layers.now = f"{layers.binary}_set({layers.once()}, {path(field)}, ({sql}\n))"
    if step.remove:
        layers.now = f"{layers.binary}_remove({layers.now}, {', '.join(map(path, step.remove))})"


def _fail(message: str) -> str:
    return f"{FAIL}(new.position, {text(message)})"


def _set(layers: _Layers, verb: str, fields: tuple[tuple[str, Source], ...]) -> None:
    """json_set or json_insert; a path that is NULL, where there is nothing to copy, is passed over by both."""
    arguments = []
    if any(isinstance(source, Copy) for _, source in fields):
        payload = layers.payload
    for field, source in fields:
        if isinstance(source, Copy):
            arguments.append(f"iif(json_type({payload}, {own_path(source)}) is null, null, {path(field)})")
            arguments.append(f"{payload} -> {own_path(source)}")
        else:
            arguments += [path(field), _literal(source)]
    layers.now = f"{layers.binary}_{verb}({layers.now}, {', '.join(arguments)})"


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
        layers.now = f"{layers.binary}_set({here}, {target}, {total})"
        return
    payload, amount = layers.payload, own_path(source)
    number = (
        f"case when json_type({payload}, {amount}) in ('integer', 'real') then {payload} ->> {amount}"
        f" else {_fail(f'{source.path} is not a number')} end"
    )
    total = _total(sign, balance, f"{here} -> {target}", number, f"{payload} -> {amount}")
    layers.now = f"iif(json_type({payload}, {amount}) is null, {here}, {layers.binary}_set({here}, {target}, {total}))"


def _total(sign: str, left: str, left_text: str, right: str, right_text: str) -> str:
    """A sum or a difference as people write it: with as many decimals as the longer of the two, 0.7 and 0.1 are 0.8.

    Binary fractions would give 0.79999999999999993. Numbers with an exponent and sums of more than fifteen digits are
    what SQLite makes of them. Short numbers, which nearly all are, go by their texts alone.
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
    value = _literal(source) if isinstance(source, Literal) else f"json({layers.payload} -> {own_path(source)})"
    made = (
        f"case ifnull(json_type({here}, {target}), 'absent')"
        f" when 'array' then {layers.binary}_set({here}, {target} || '[#]', {value})"
        f" when 'absent' then {layers.binary}_set({here}, {target}, json_array({value}))"
        f" else {_fail(f'{field} is not an array')} end"
    )
    if isinstance(source, Copy):
        made = f"iif(json_type({layers.payload}, {own_path(source)}) is null, {here}, {made})"
    layers.now = made


def _merge(layers: _Layers, source: Copy) -> None:
    here, payload, where = layers.once(), layers.payload, own_path(source)
    patch = payload if source.path == "$" else f"{payload} -> {where}"
    layers.now = (
        f"case ifnull(json_type({payload}, {where}), '') when '' then {here}"
        f" when 'object' then {layers.binary}_patch({here}, {patch})"
        f" else {_fail(f'{source.path} is not an object')} end"
    )


def _rename(layers: _Layers, old: str, new: str) -> None:
    """Rename a field where it stands.

    A key that stands in the text once is replaced there, which is quick and keeps all else byte for byte. Otherwise the
    object around it is made anew, field by field.
    """
    here = layers.once()
    (around, key), (beside, new_key) = _split(old), _split(new)
    if around != beside:  # it moves to another object
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
    anew = f"json_set({here}, {root}, json({fields}))" if around else fields
    quoted, written = (json.dumps(name, ensure_ascii=False) for name in (key, new_key))
    longer = len(written.encode()) - len(quoted.encode())
    if "\\" in quoted + written:
        layers.now = f"iif(json_type({here}, {path(old)}) is null, {here}, {anew})"
        return
    # Without a backslash every key is spelled as it is: the old name's only place in the text is the key, if the new
    # name, which was not there, is then found as one. LIKE and GLOB scan a text much faster than instr() does.
    once = f"octet_length(new.renamed) - octet_length({here}) = {longer}"
    if not longer:
        once = f"octet_length({here}) - octet_length(replace({here}, {text(quoted)}, '')) = {len(quoted.encode())}"
    absent = "".join(f"[{c}]" if c in "*?[" else c for c in written[1:])  # a quote is everywhere, so without the first
    layers.now = (
        f"(select case when {once} and {here} not like '%\\%' and {here} not glob {text(f'*{absent}*')}"
        f" and json_type(new.renamed, {path(new)}) is not null then new.renamed"
        f" when json_type({here}, {path(old)}) is null then {here} else {anew} end"
        f" from (select {here} as data, replace({here}, {text(quoted)}, {text(written)}) as renamed, new.position"
        " limit 1 offset 0) as new)"
    )


def _split(field: str) -> tuple[str, str]:
    around, _, name = field.rpartition(".")
    return around, name


def _converted(here: str, field: str, kind: str) -> str:
    """The payload with a field's value as another kind of value; null is none and cannot become one."""
    target = path(field)
    value = f"({here} ->> {target})"
    failed = _fail(f"{field} cannot be converted to {kind}")

    def put(made: str) -> str:
        return f"json_replace({here}, {target}, {made})"

    numeric = f"(json_valid({value}) and json_type({value}) in ('integer', 'real'))"
    rounded = f"cast(cast({value} as real) as integer)"
    as_written, as_integer = put(f"json({value})"), put(rounded)
    fits = f"cast({value} as real) = {rounded} and abs({rounded}) < 9007199254740992"
    # Joined to '' a number's text is a text: what -> gives by itself would be taken for JSON.
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
    """An aggregate compiled; its rules are no part of the fold's fingerprint, since they do not change states."""
    state = _by_type({type_: state_after(steps) for type_, steps in aggregate.on.items()}, "state")
    accepts = _by_type({type_: f"({rule.sql}\n)" for type_, rule in aggregate.accept.items()}, "1")
    columns = tuple(columns_of(f"{state} {accepts} new.type"))
    fold = fingerprint(ENGINE, aggregate.initial, aggregate.on)
    return Program(aggregate.name, aggregate.initial, state, accepts if aggregate.accept else None, columns, fold)


def _by_type(expressions: dict[str, str], otherwise: str) -> str:
    """One expression that goes by the type of `new`; `*` is for all that are not named."""
    otherwise = expressions.get(ANY, otherwise)
    named = [f"when {text(type_)} then {sql}" for type_, sql in expressions.items() if type_ != ANY]
    return f"case new.type {' '.join(named)} else {otherwise} end" if named else otherwise
