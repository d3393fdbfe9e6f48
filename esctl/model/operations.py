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
from esctl.model.paths import Parts, parts, source_parts, spelled, sql_path
from esctl.model.program import Program
from esctl.sql.decimals import SUM
from esctl.sql.judge import FAIL
from esctl.sql.payload import columns_of
from esctl.sql.quoting import text

ENGINE = 2  # part of every fingerprint: raise it when the same definition gives another result


def path(field: str) -> str:
    """The JSON path of a field, as an SQL literal."""
    return sql_path(parts(field))


def source_path(source: Copy) -> str:
    """The JSON path that is copied from the payload, as an SQL literal."""
    return sql_path(source_parts(source.path))


class _Layers:
    """The expression for a subject so far: finished layers, and the current one over the column of the layer before."""

    def __init__(
        self, column: str, payload: str | None, prefix: str, nest: Callable[[str, str], str], step: str
    ) -> None:
        self.column = column  # the subject's name within a layer
        self._payload = payload  # the column that operations copy from; None: the subject itself
        self.prefix = prefix  # `json` or `jsonb`: the prefix of the names of SQLite's editing functions
        self._nest = nest  # makes one expression of a layer and the expression for its subject
        self.step = step  # the name of the step, for messages
        self.is_object = prefix == "jsonb"  # a state always is one; a payload may be anything
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
    nest = "(select {} from (select {} as state limit 1 offset 0))".format
    layers = _Layers("state", "new.data", "jsonb", nest, "")
    for step in steps:
        layers.step = step.place
        _apply(layers, step)
    return layers.sql()


def payload_after(steps: Iterable[tuple[str, int, Step]], condition: tuple[str, int, str] | None = None) -> str:
    """An expression over `new` for the payload (JSON text) after steps, each given with the type and schema it reads.

    With a condition (type, schema version, SQL): an expression for the condition's value on the event after the steps.
    """
    data, ordered = "new.data", _renames_first(list(steps))
    making = next(((type_, schema) for type_, schema, step in ordered if _makes(step)), None)
    for type_, schema, step in ordered:
        name = f"upcast of {type_} from {schema}"  # not its place, which may change when nothing else does
        layers = _Layers("new.data", None, "json", lambda layer, of: _with_new(layer, of, type_, schema), name)  # noqa: B023
        layers.now = data  # not yet a layer: an operation that uses it once needs none
        layers.is_object = making is not None  # checked once, below
        _apply(layers, step)
        data = layers.sql()
    if making is not None:
        failure = _fail(f"upcast of {making[0]} from {making[1]}: the payload is not an object")
        opening = ord("{")  # nearly all payloads begin with it, and it is seen without parsing
        data = f"iif(unicode(new.data) <> {opening} and json_type(new.data) <> 'object', {failure}, {data})"
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
        fields = {parts(name)[0] for name, _ in first.default}
        renamed = {parts(name)[0] for names in second.rename for name in names}
        if plain and literal and not fields & renamed:
            return [*steps[:at], steps[at + 1], *_renames_first([steps[at], *steps[at + 2 :]])]
    return steps


def _makes(step: Step) -> bool:
    """Whether a step makes a field of every payload."""
    literal = (source for many in (step.default, step.set, step.add, step.subtract, step.append) for _, source in many)
    return step.when is None and (bool(step.compute) or any(isinstance(source, Literal) for source in literal))


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
    inner = _Layers(layers.once(), layers._payload, layers.prefix, layers._nest, layers.step)  # noqa: SLF001 - the same class
    inner.is_object = layers.is_object
    _operations(inner, step)
    layers.now = f"iif(({step.when}\n), {inner.sql()}, {layers.column})"


def _operations(layers: _Layers, step: Step) -> None:
    for old, new in step.rename:
        _rename(layers, old, new)
    if step.default:
        _set(layers, "insert", step.default)
    for field, kind in step.convert:
        here = layers.once()
        layers.now = _guarded(_barriers(layers, here, field, "convert", making=False), _converted(here, field, kind))
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
        here = layers.once()
        barriers = _barriers(layers, here, field, "compute")
        layers.now = _guarded(barriers, f"{layers.prefix}_set({here}, {path(field)}, ({sql}\n))")
    if step.remove:
        layers.now = f"{layers.prefix}_remove({layers.now}, {', '.join(map(path, step.remove))})"


def _fail(message: str) -> str:
    return f"{FAIL}(new.position, {text(message)})"


def _barriers(layers: _Layers, here: str, field: str, verb: str, *, making: bool = True) -> list[tuple[str, str]]:
    """The conditions under which SQLite could not reach a field of `here`, and would do nothing: each with a failure.

    What is absent on the way is made, if `making`: an object, or an array of one element.
    """
    at, found = parts(field), []

    def fails(condition: str, why: str) -> None:
        found.append((condition, _fail(f"{layers.step}: {verb} {field}: {why}")))

    if making and not layers.is_object:
        fails(f"json_type({here}) <> 'object'", "the payload is not an object")
    for n in range(1, len(at)):
        around, before, index = sql_path(at[:n]), spelled(at[:n]), at[n]
        if isinstance(index, str):
            fails(f"json_type({here}, {around}) <> 'object'", f"{before} is not an object")
            continue
        fails(f"json_type({here}, {around}) <> 'array'", f"{before} is not an array")
        if making and index >= 0:  # the element after the last one is added
            fails(f"ifnull(json_array_length({here}, {around}), 0) < {index}", f"{before} has too few elements")
        elif making:
            fails(f"json_type({here}, {sql_path(at[: n + 1])}) is null", f"{before} has too few elements")
    return found


def _guarded(barriers: list[tuple[str, str]], made: str) -> str:
    """An expression that fails if one of the conditions is true."""
    whens = " ".join(f"when {condition} then {failure}" for condition, failure in barriers)
    return f"case {whens} else {made} end" if whens else made


def _set(layers: _Layers, verb: str, fields: tuple[tuple[str, Source], ...]) -> None:
    """json_set or json_insert of fields. Both skip a NULL path, which stands for a source that is absent."""
    arguments: list[str] = []
    payload = layers.payload if any(isinstance(source, Copy) for _, source in fields) else ""
    if not layers.is_object or any(len(parts(field)) > 1 for field, _ in fields):
        layers.once()
    subject = layers.now
    for n, (field, source) in enumerate(fields):
        touched = any(parts(earlier)[0] == parts(field)[0] for earlier, _ in fields[:n])
        here = f"{layers.prefix}_{verb}({subject}, {', '.join(arguments)})" if touched else subject
        target = _guarded(_barriers(layers, here, field, "default" if verb == "insert" else "set"), path(field))
        if isinstance(source, Copy):
            arguments.append(f"iif(json_type({payload}, {source_path(source)}) is null, null, {target})")
            arguments.append(f"{payload} -> {source_path(source)}")
        else:
            arguments += [target, _literal(source)]
    layers.now = f"{layers.prefix}_{verb}({layers.now}, {', '.join(arguments)})"


def _literal(source: Literal) -> str:
    return f"json({text(source.json)})"


def _add(layers: _Layers, sign: str, field: str, source: Source) -> None:
    here, target = layers.once(), path(field)
    barriers = _barriers(layers, here, field, "add" if sign == "+" else "subtract")
    balance = (
        f"case when json_type({here}, {target}) in ('integer', 'real') then {here} ->> {target}"
        f" when ifnull(json_type({here}, {target}), 'null') = 'null' then 0"
        f" else {_fail(f'{field} holds no number to add to')} end"
    )
    if isinstance(source, Literal):
        total = _total(sign, balance, f"{here} -> {target}", source.json, text(source.json))
        layers.now = _guarded(barriers, f"{layers.prefix}_set({here}, {target}, {total})")
        return
    payload, amount = layers.payload, source_path(source)
    number = (
        f"case when json_type({payload}, {amount}) in ('integer', 'real') then {payload} ->> {amount}"
        f" else {_fail(f'{source.path} is not a number')} end"
    )
    total = _total(sign, balance, f"{here} -> {target}", number, f"{payload} -> {amount}")
    made = _guarded(barriers, f"{layers.prefix}_set({here}, {target}, {total})")
    layers.now = f"iif(json_type({payload}, {amount}) is null, {here}, {made})"


def _total(sign: str, left: str, left_text: str, right: str, right_text: str) -> str:
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


def _append(layers: _Layers, field: str, source: Source) -> None:
    here, target = layers.once(), path(field)
    value = _literal(source) if isinstance(source, Literal) else f"json({layers.payload} -> {source_path(source)})"
    made = _guarded(
        _barriers(layers, here, field, "append"),
        f"case ifnull(json_type({here}, {target}), 'absent')"
        f" when 'array' then {layers.prefix}_set({here}, {target} || '[#]', {value})"
        f" when 'absent' then {layers.prefix}_set({here}, {target}, json_array({value}))"
        f" else {_fail(f'{field} is not an array')} end",
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
    root = sql_path(around)
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


def _split(field: str) -> tuple[Parts, str]:
    """The path of the object that contains a field, and the field's name in it."""
    *around, name = parts(field)
    return tuple(around), str(name)


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
    "",
    "{}",
    "iif(new.data is null, state, jsonb_patch(state, new.data))",
    None,
    ("position", "type", "data"),
    fingerprint(ENGINE, "merge"),
)
"""The fold of a stream that no aggregate covers: all payloads merged (JSON merge patch, RFC 7396)."""


def program(aggregate: Aggregate) -> Program:
    """Compile an aggregate. Its rules are not part of the fold's fingerprint, since they do not change states."""
    state = _by_type({type_: state_after(steps) for type_, steps in aggregate.on.items()}, "state")
    erased = {type_: state_after(map(_without_payload, steps)) for type_, steps in aggregate.on.items()}
    unchanged = set(erased.values()) <= {"state"}
    state = f"iif(new.data is null, {'state' if unchanged else _by_type(erased, 'state')}, {state})"
    accepts = _by_type({type_: f"({rule.sql}\n)" for type_, rule in aggregate.accept.items()}, "1")
    columns = tuple(columns_of(f"{state} {accepts} new.type"))
    fold = fingerprint(ENGINE, aggregate.initial, aggregate.on)
    return Program(aggregate.name, aggregate.initial, state, accepts if aggregate.accept else None, columns, fold)


def _without_payload(step: Step) -> Step:
    """What a step does for an erased event: what needs no payload. Everything in a payload counts as absent."""

    def reads(sql: str) -> bool:
        return not {"data", "meta"}.isdisjoint(columns_of(sql, failing=False))

    if step.when is not None and reads(step.when):
        return Step(step.place)

    def literal(fields: tuple[tuple[str, Source], ...]) -> tuple[tuple[str, Source], ...]:
        return tuple((field, source) for field, source in fields if isinstance(source, Literal))

    return step._replace(
        set=literal(step.set),
        add=literal(step.add),
        subtract=literal(step.subtract),
        append=literal(step.append),
        merge=None,
        compute=tuple((field, sql) for field, sql in step.compute if not reads(sql)),
    )


def _by_type(expressions: dict[str, str], otherwise: str) -> str:
    """One expression that selects by the type of `new`; `*` is for all types without their own."""
    otherwise = expressions.get(ANY, otherwise)
    named = [f"when {text(type_)} then {sql}" for type_, sql in expressions.items() if type_ != ANY]
    return f"case new.type {' '.join(named)} else {otherwise} end" if named else otherwise
