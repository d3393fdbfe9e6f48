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

from esctl.events.paths import Parts, parts, spelled
from esctl.model.declared import ANY, Aggregate, Copy, Literal, Source, Step, fingerprint
from esctl.model.paths import source_parts
from esctl.model.program import Program
from esctl.model.values import converted, fail, total
from esctl.sql.judge import TRACE
from esctl.sql.paths import sql_path
from esctl.sql.payload import columns_of
from esctl.sql.quoting import text

OPERATIONS = 2  # part of every fingerprint: raise it when the same definition gives another result


def path(field: str) -> str:
    """The JSON path of a field, as an SQL literal."""
    return sql_path(parts(field))


def source_path(source: Copy) -> str:
    """The JSON path that is copied from the payload, as an SQL literal."""
    return sql_path(source_parts(source.path))


class _Layers:
    """The expression for a subject so far: finished layers, and the current one over the column of the layer before."""

    def __init__(
        self,
        column: str,
        payload: str | None,
        prefix: str,
        nest: Callable[[str, str], str],
        step: str,
        *,
        traced: bool,
    ) -> None:
        self.column = column  # the subject's name within a layer
        self._payload = payload  # the column that operations copy from; None: the subject itself
        self.prefix = prefix  # `json` or `jsonb`: the prefix of the names of SQLite's editing functions
        self._nest = nest  # makes one expression of a layer and the expression for its subject
        self.step = step  # the name of the step, for messages
        self.is_object = prefix == "jsonb"  # a state always is one; a payload may be anything
        self.traced = traced  # whether TRACE notes each operation
        self.layers: list[str] = []
        self.now = column

    def come_to(self, place: str) -> None:
        """Note the operation that comes next, if the expression is traced."""
        if self.traced:
            self.now = f"{TRACE}({text(place)}, {self.now})"

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


def state_after(steps: Iterable[Step], *, traced: bool = False) -> str:
    """An expression over `state` and `new` for the state (JSONB) after steps. `traced`: TRACE notes each operation."""
    nest = "(select {} from (select {} as state limit 1 offset 0))".format
    layers = _Layers("state", "new.data", "jsonb", nest, "", traced=traced)
    for step in steps:
        layers.step = step.place
        _apply(layers, step)
    return layers.sql()


def payload_after(
    steps: Iterable[tuple[str, int, Step]],
    condition: tuple[str, int, str] | None = None,
    *,
    traced: bool = False,
) -> str:
    """An expression over `new` for the payload (JSON text) after steps, each given with the type and schema it reads.

    With a condition (type, schema version, SQL): an expression for the condition's value on the event after the steps.
    """
    data, ordered = "new.data", _renames_first(list(steps))
    making = next(((type_, schema) for type_, schema, step in ordered if _makes(step)), None)
    for type_, schema, step in ordered:
        name = f"upcast of {type_} from {schema}"  # not its place, which may change when nothing else does

        def nest(layer: str, of: str, type_: str = type_, schema: int = schema) -> str:
            return _with_new(layer, of, type_, schema)

        layers = _Layers("new.data", None, "json", nest, name, traced=traced)
        layers.now = data  # not yet a layer: an operation that uses it once needs none
        layers.is_object = making is not None  # checked once, below
        _apply(layers, step)
        data = layers.sql()
    if making is not None:
        failure = fail(f"upcast of {making[0]} from {making[1]}: the payload is not an object")
        opening = ord("{")  # nearly all payloads begin with it, and it is seen without parsing
        data = f"iif(unicode(new.data) <> {opening} and json_type(new.data) <> 'object', {failure}, {data})"
    if condition is None:
        return data
    type_, schema, sql = condition
    asked = _asked(sql, f"event.{type_}.upcast from {schema}: when", traced=traced)
    return _with_new(asked, data, type_, schema)


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
    columns = ", ".join(given.get(name, f"new.{name} as {name}") for name in columns_of(layer))
    return f"(select {layer} from (select {columns} limit 1 offset 0) as new)"


def _apply(layers: _Layers, step: Step) -> None:
    """Add a step's operations in their order, applied only if the step's condition is true."""
    if step.when is None:
        _operations(layers, step)
        return
    layers.come_to(f"{step.place}.when")
    inner = _Layers(layers.once(), layers._payload, layers.prefix, layers._nest, layers.step, traced=layers.traced)  # noqa: SLF001 - the same class
    inner.is_object = layers.is_object
    _operations(inner, step)
    layers.now = f"iif(({step.when}\n), {inner.sql()}, {layers.column})"


def _operations(layers: _Layers, step: Step) -> None:
    for old, new in step.rename:
        layers.come_to(f"{step.place}.rename.{old}")
        _rename(layers, old, new)
    if step.default:
        _set(layers, "insert", step.default, step.place)
    for field, kind in step.convert:
        layers.come_to(f"{step.place}.convert.{field}")
        here = layers.once()
        layers.now = _guarded(_barriers(layers, here, field, "convert", making=False), converted(here, field, kind))
    if step.set:
        _set(layers, "set", step.set, step.place)
    for verb, sources in (("add", step.add), ("subtract", step.subtract)):
        for field, source in sources:
            layers.come_to(f"{step.place}.{verb}.{field}")
            _add(layers, verb, field, source)
    for field, source in step.append:
        layers.come_to(f"{step.place}.append.{field}")
        _append(layers, field, source)
    if step.merge is not None:
        layers.come_to(f"{step.place}.merge")
        _merge(layers, step.merge)
    for field, sql in step.compute:
        layers.come_to(f"{step.place}.compute.{field}")
        here = layers.once()
        barriers = _barriers(layers, here, field, "compute")
        layers.now = _guarded(barriers, f"{layers.prefix}_set({here}, {path(field)}, ({sql}\n))")
    if step.remove:
        layers.now = f"{layers.prefix}_remove({layers.now}, {', '.join(map(path, step.remove))})"


def _barriers(layers: _Layers, here: str, field: str, verb: str, *, making: bool = True) -> list[tuple[str, str]]:
    """The conditions under which SQLite could not reach a field of `here`, and would do nothing: each with a failure.

    What is absent on the way is made, if `making`: an object, or an array of one element.
    """
    at, found = parts(field), list[tuple[str, str]]()

    def blocked(condition: str, why: str) -> None:
        found.append((condition, fail(f"{layers.step}: {verb} {field}: {why}")))

    if making and not layers.is_object:
        blocked(f"json_type({here}) <> 'object'", "the payload is not an object")
    for n in range(1, len(at)):
        around, before, index = sql_path(at[:n]), spelled(at[:n]), at[n]
        if isinstance(index, str):
            blocked(f"json_type({here}, {around}) <> 'object'", f"{before} is not an object")
            continue
        blocked(f"json_type({here}, {around}) <> 'array'", f"{before} is not an array")
        if making and index >= 0:  # the element after the last one is added
            blocked(f"ifnull(json_array_length({here}, {around}), 0) < {index}", f"{before} has too few elements")
        elif making:
            blocked(f"json_type({here}, {sql_path(at[: n + 1])}) is null", f"{before} has too few elements")
    return found


def _guarded(barriers: list[tuple[str, str]], made: str) -> str:
    """An expression that fails if one of the conditions is true."""
    whens = " ".join(f"when {condition} then {failure}" for condition, failure in barriers)
    return f"case {whens} else {made} end" if whens else made


def _set(layers: _Layers, verb: str, fields: tuple[tuple[str, Source], ...], place: str) -> None:
    """json_set or json_insert of fields. Both skip a NULL path, which stands for a source that is absent."""
    arguments: list[str] = []
    payload = layers.payload if any(isinstance(source, Copy) for _, source in fields) else ""
    if not layers.is_object or any(len(parts(field)) > 1 for field, _ in fields):
        layers.once()
    subject = layers.now
    named = "default" if verb == "insert" else "set"
    for n, (field, source) in enumerate(fields):
        touched = any(parts(earlier)[0] == parts(field)[0] for earlier, _ in fields[:n])
        here = f"{layers.prefix}_{verb}({subject}, {', '.join(arguments)})" if touched else subject
        target = _guarded(_barriers(layers, here, field, named), path(field))
        if layers.traced:
            target = f"iif({TRACE}({text(f'{place}.{named}.{field}')}, 1), {target}, null)"
        if isinstance(source, Copy):
            arguments.append(f"iif(json_type({payload}, {source_path(source)}) is null, null, {target})")
            arguments.append(f"{payload} -> {source_path(source)}")
        else:
            arguments += [target, _literal(source)]
    layers.now = f"{layers.prefix}_{verb}({layers.now}, {', '.join(arguments)})"


def _literal(source: Literal) -> str:
    return f"json({text(source.json)})"


def _add(layers: _Layers, verb: str, field: str, source: Source) -> None:
    sign = "+" if verb == "add" else "-"
    here, target = layers.once(), path(field)
    barriers = _barriers(layers, here, field, verb)
    balance = (
        f"case when json_type({here}, {target}) in ('integer', 'real') then {here} ->> {target}"
        f" when ifnull(json_type({here}, {target}), 'null') = 'null' then 0"
        f" else {fail(f'{field} holds no number to add to')} end"
    )
    if isinstance(source, Literal):
        made = total(sign, balance, f"{here} -> {target}", source.json, text(source.json))
        layers.now = _guarded(barriers, f"{layers.prefix}_set({here}, {target}, {made})")
        return
    payload, amount = layers.payload, source_path(source)
    number = (
        f"case when json_type({payload}, {amount}) in ('integer', 'real') then {payload} ->> {amount}"
        f" else {fail(f'{source.path} is not a number')} end"
    )
    sum_ = total(sign, balance, f"{here} -> {target}", number, f"{payload} -> {amount}")
    made = _guarded(barriers, f"{layers.prefix}_set({here}, {target}, {sum_})")
    layers.now = f"iif(json_type({payload}, {amount}) is null, {here}, {made})"


def _append(layers: _Layers, field: str, source: Source) -> None:
    here, target = layers.once(), path(field)
    value = _literal(source) if isinstance(source, Literal) else f"json({layers.payload} -> {source_path(source)})"
    made = _guarded(
        _barriers(layers, here, field, "append"),
        f"case ifnull(json_type({here}, {target}), 'absent')"
        f" when 'array' then {layers.prefix}_set({here}, {target} || '[#]', {value})"
        f" when 'absent' then {layers.prefix}_set({here}, {target}, json_array({value}))"
        f" else {fail(f'{field} is not an array')} end",
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
        f" else {fail(f'{source.path} is not an object')} end"
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
            f" when json_type({moved}, {path(new)}) is null then {fail(f'{new} has no place for {old}')}"
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


MERGE = Program(
    "",
    "{}",
    "iif(new.data is null, state, jsonb_patch(state, new.data))",
    None,
    ("position", "type", "data"),
    fingerprint(OPERATIONS, "merge"),
)
"""The fold of a stream that no aggregate covers: all payloads merged (JSON merge patch, RFC 7396)."""


def program(aggregate: Aggregate, *, traced: bool = False) -> Program:
    """Compile an aggregate. Its rules are not part of the fold's fingerprint, since they do not change states.

    `traced`: the expressions note in which place of the model they are, for errors; they are slow.
    """
    state = _by_type({type_: state_after(steps, traced=traced) for type_, steps in aggregate.on.items()}, "state")
    erased = {type_: state_after(map(_without_payload, steps), traced=traced) for type_, steps in aggregate.on.items()}
    unchanged = set(erased.values()) <= {"state"}
    state = f"iif(new.data is null, {'state' if unchanged else _by_type(erased, 'state')}, {state})"
    rules = {type_: _asked(rule.sql, rule.place, traced=traced) for type_, rule in aggregate.accept.items()}
    accepts = _by_type(rules, "1")
    columns = tuple(columns_of(f"{state} {accepts} new.type"))
    fold = fingerprint(OPERATIONS, aggregate.initial, aggregate.on)
    return Program(aggregate.name, aggregate.initial, state, accepts if aggregate.accept else None, columns, fold)


def _asked(sql: str, place: str, *, traced: bool) -> str:
    """A condition as an expression."""
    return f"iif({TRACE}({text(place)}, 1), ({sql}\n), 0)" if traced else f"({sql}\n)"


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
