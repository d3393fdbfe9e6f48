"""Parse a model file (TOML) into a model, and report everything that is wrong with its shape: key, problem, hint."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, Self

from esctl.errors import EsctlError
from esctl.events import system
from esctl.events.event import MAX_NAME_BYTES, MAX_SCHEMA, check_name
from esctl.events.paths import HINT, PathError, parts
from esctl.model import paths
from esctl.model.declared import (
    ANY,
    CONVERSIONS,
    EMPTY,
    Aggregate,
    Copy,
    EventType,
    Literal,
    Model,
    Part,
    Problem,
    Projection,
    Rule,
    Source,
    Step,
    Upcast,
)
from esctl.model.moments import in_moments

MAX_BITS = 3322  # about 1,000 digits


def parse(text: str, read: Callable[[str], str]) -> tuple[Model, list[Problem]]:
    """Decode a model file and list what is wrong with its shape; `read` returns the JSON text of a file that it names.

    The model contains what could be decoded; if there are problems, it only serves to find more of them.
    """
    problems: list[Problem] = []
    try:
        return in_moments(_decoded(tomllib.loads(text, parse_float=_Number), problems, read)), problems
    except RecursionError:
        return EMPTY, [Problem("", "it is nested too deeply")]
    except ValueError as error:  # a number of too many digits is a plain ValueError
        return EMPTY, [Problem("", f"it is not TOML: {str(error).partition(';')[0]}")]


def _decoded(document: dict[str, Any], problems: list[Problem], read: Callable[[str], str]) -> Model:
    top = _Table("", document, problems, ("model", "event", "aggregate", "projection"))
    events = {name: _event(place, name, body, problems, read) for place, name, body in top.named("event")}
    aggregates = {name: _aggregate(place, name, body, problems) for place, name, body in top.named("aggregate")}
    projections = {name: _projection(place, name, body, problems) for place, name, body in top.named("projection")}
    settings = _Table("model", top.pairs("model", "a table: [model]"), problems, ("strict",))
    return Model(events, aggregates, projections, settings.get("strict", bool, "true or false", default=False))


class _Number(float):
    """A float that keeps its spelling (`100.10`)."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text.replace("_", "").removeprefix("+")
        return number


class _Table:
    """A table of the file with its dotted key (`place`) and its allowed keys; problems are collected in `problems`."""

    def __init__(self, place: str, body: object, problems: list[Problem], keys: tuple[str, ...]) -> None:
        self.place, self.problems = place, problems
        self.body: dict[str, Any] = {}
        if not isinstance(body, dict):
            self.problems.append(
                Problem(place, "it is not a table", f"it must be a table with the keys {', '.join(keys)}")
            )
            return
        self.body = body
        for key in body:
            if key not in keys:
                import difflib  # noqa: PLC0415 - only a mistake needs it

                near = difflib.get_close_matches(key, keys, 1, 0.5)
                hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
                self.problem(key, f"unknown key {key!r}", hint)

    def at(self, key: str) -> str:
        """The dotted key of a key in this table."""
        return f"{self.place}.{key}" if self.place else key

    def problem(self, key: str, what: str, hint: str = "") -> None:
        """Record what is wrong with the value of a key."""
        self.problems.append(Problem(self.at(key), what, hint))

    def get(self, key: str, kind: type | tuple[type, ...], means: str, default: Any = None) -> Any:
        """The value of a key, or the default if it is absent or of another kind; `means` says what it must be."""
        value = self.body.get(key)
        if value is None:
            return default
        wrong_bool = isinstance(value, bool) and kind is int  # to Python a bool is an int
        if not isinstance(value, kind) or wrong_bool:
            self.problem(key, f"it is {_description(value)}", f"it must be {means}")
            return default
        return value

    def pairs(self, key: str, means: str = "a table of fields") -> dict[str, Any]:
        """The value of a key that is a table with any keys."""
        table: dict[str, Any] = self.get(key, dict, means, {})
        return table

    def named(self, key: str) -> Iterator[tuple[str, str, object]]:
        """The named tables under a key: place, name, body."""
        for name, body in self.pairs(key, f"tables such as [{self.at(key)}.NAME]").items():
            try:
                check_name(key, name)
            except EsctlError as error:
                self.problem(f"{key}.{name[:40]}", error.what, error.why)
            yield self.at(f"{key}.{name}"), name, body

    def texts(self, key: str, means: str) -> tuple[str, ...]:
        """The value of a key that is an array of non-empty texts."""
        values = self.get(key, list, means, [])
        if any(not isinstance(value, str) or not value for value in values):
            self.problem(key, "it contains something that is not a text", f"it must be {means}")
            return ()
        return tuple(values)

    def schema(self, key: str, default: int) -> int:
        """The value of a key that is a schema version."""
        value: int = self.get(key, int, "a schema version: 1, 2, 3 …", default)
        if not 1 <= value <= MAX_SCHEMA:
            self.problem(key, f"it is {value}", f"schema versions are 1 to {MAX_SCHEMA}")
            return default
        return value


def _description(value: object) -> str:
    names = {bool: "true or false", dict: "a table", list: "an array", str: f"the text {value!r}"[:60]}
    return names.get(type(value), f"{value!r}"[:60])


def json_text(value: object) -> str:
    """A TOML value as JSON text; numbers keep their spelling, dates and times become texts."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(k)}:{json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return "0"  # refused by `_finite`
    if isinstance(value, bool | int | str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(str(value))


def _finite(table: _Table, key: str, value: object) -> None:
    """Report infinity, NaN and integers of too many digits: JSON has no such numbers, or readers reject them."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _finite(table, key, inner)
    elif isinstance(value, int) and value.bit_length() > MAX_BITS:
        table.problem(key, "it has too many digits", "a number of at most 1,000 digits")
    elif isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124 - NaN
        table.problem(key, f"it is {value}", "JSON has no such number")


# Events

OPERATIONS = ("set", "add", "subtract", "append", "merge", "compute", "remove", "when")
UPCAST_OPERATIONS = ("rename", "default", "convert", *OPERATIONS)


def _event(place: str, name: str, body: object, problems: list[Problem], read: Callable[[str], str]) -> EventType:
    table = _Table(place, body, problems, ("schema", "json_schema", "erasable", "upcast"))
    if name == ANY:
        problems.append(Problem(place, "'*' is not an event type", "name the type"))
    upcasts = tuple(
        _upcast(f"{place}.upcast[{n}]", name, one, problems)
        for n, one in enumerate(table.get("upcast", list, f"tables: [[{place}.upcast]]", []), 1)
    )
    hiding = [u for u in upcasts if u.drop and u.when is None]
    staying = [u.start for u in upcasts if u not in hiding and not u.split and u.parts[0].type == name]
    return EventType(
        name,
        table.schema("schema", max(staying, default=0) + 1),
        _json_schema(table, read),
        table.get("erasable", bool, "true or false", default=False),
        upcasts,
        "schema" in table.body or "json_schema" in table.body or bool(staying),
    )


def _json_schema(table: _Table, read: Callable[[str], str]) -> str | None:
    """The JSON Schema of a type, given as a table in the model or as the path of a file."""
    value = table.get("json_schema", (dict, str), "a JSON Schema as a table, or the path of a file")
    if not isinstance(value, str):
        _finite(table, "json_schema", value)
        return None if value is None else json_text(value)
    try:
        text = read(value)
        json.loads(text)
    except EsctlError as error:
        table.problem("json_schema", error.what, error.why)
    except ValueError as error:
        table.problem("json_schema", f"{value} is not JSON: {error}")
    else:
        return text
    return None


def _upcast(place: str, name: str, body: object, problems: list[Problem]) -> Upcast:
    table = _Table(place, body, problems, ("from", "type", "schema", "split", "drop", *UPCAST_OPERATIONS))
    if "from" not in table.body:
        table.problem("from", "it is missing", "the schema version that this step starts from")
    start = table.schema("from", 1)
    drop = table.get("drop", bool, "true or false", default=False)
    entries = table.get("split", list, "an array of tables with type, schema and operations", [])
    others = sorted(set(table.body) & {"type", "schema", *UPCAST_OPERATIONS} - ({"when"} if drop else set()))
    if drop and "split" in table.body:
        table.problem("split", "it cannot be combined with drop")
    if (drop or entries) and others:
        table.problem(others[0], f"it cannot be combined with {'drop' if drop else 'split'}")
    if "split" in table.body and not entries:
        table.problem("split", "it is empty", "to drop an event, write drop = true")
    if entries:
        parts = tuple(_part(f"{place}.split[{n}]", one, problems) for n, one in enumerate(entries, 1))
    else:
        type_ = table.get("type", str, "the type's new name", name)
        _check_type(table, type_)
        schema = table.schema("schema", start + 1 if type_ == name else 1)
        if "when" in table.body and not drop and type_ != name:
            table.problem("when", "it cannot be combined with type", "an event is renamed always or never")
        parts = (Part(type_, schema, _step(place, body, problems, UPCAST_OPERATIONS)),)
    return Upcast(place, name, start, parts, bool(entries), drop, table.get("when", str, "an SQL condition"))


def _check_type(table: _Table, type_: str) -> None:
    try:
        check_name("type", type_)
    except EsctlError as error:
        table.problem("type", error.what, error.why)


def _part(place: str, body: object, problems: list[Problem]) -> Part:
    operations = tuple(key for key in UPCAST_OPERATIONS if key != "when")
    table = _Table(place, body, problems, ("type", "schema", *operations))
    type_ = table.get("type", str, "an event type")
    if type_ is None:
        table.problem("type", "it is missing", "the type of this part")
    else:
        _check_type(table, type_)
    return Part(type_ or "", table.schema("schema", 1), _step(place, body, problems, operations))


def _step(place: str, body: object, problems: list[Problem], operations: tuple[str, ...]) -> Step:
    """The operations of a table. Unknown keys are reported by the caller."""
    known = body if isinstance(body, dict) else {}
    table = _Table(place, {key: value for key, value in known.items() if key in operations}, problems, operations)
    made: dict[str, Any] = {}
    for key in ("default", "set", "add", "subtract", "append"):
        made[key] = tuple((_field(table, key, name), _source(table, key, v)) for name, v in table.pairs(key).items())
    for key in ("add", "subtract"):
        for name, source in made[key]:
            if isinstance(source, Literal) and not source.json.lstrip("-")[:1].isdecimal():
                table.problem(
                    f"{key}.{name}", f"it is {source.json}", "it must be a number, or a path such as $.amount"
                )
    for key, means in (("rename", "the new name"), ("convert", " or ".join(CONVERSIONS)), ("compute", "SQL")):
        made[key] = tuple(
            (_field(table, key, n), _text(table, f"{key}.{n}", v, means)) for n, v in table.pairs(key).items()
        )
    for name, kind in made["convert"]:
        if kind not in CONVERSIONS:
            table.problem(f"convert.{name}", f"it is {kind!r}", f"it must be one of {', '.join(CONVERSIONS)}")
    made["rename"] = tuple(_renaming(table, old, _field(table, "rename", new)) for old, new in made["rename"])
    merge = table.get("merge", str, "a path of the payload: $ or $.field")
    made["merge"] = None if merge is None else _path(table, "merge", merge)
    made["remove"] = tuple(_field(table, "remove", name) for name in table.texts("remove", "an array of fields"))
    return Step(place, **made, when=table.get("when", str, "an SQL condition"))


def _field(table: _Table, key: str, name: str) -> str:
    """The path of a field, checked; one that is no path is reported."""
    if name.startswith("$."):
        table.problem(f"{key}.{name}", "it is not the name of a field", paths.NO_DOLLAR)
    try:
        parts(name)
    except PathError as error:
        table.problem(f"{key}.{name}", f"it is not the name of a field: {error}", HINT)
        return paths.as_before(name)
    return name


def _renaming(table: _Table, old: str, new: str) -> tuple[str, str]:
    """A rename, checked: not of a field into itself, nor of an element of an array, which has no name."""
    before, after = parts(old), parts(new)
    if before[: len(after)] == after or after[: len(before)] == before:
        table.problem(f"rename.{old}", f"it becomes {new!r}", "a field cannot move into itself")
    elif isinstance(before[-1], int) or isinstance(after[-1], int):
        table.problem(f"rename.{old}", f"it becomes {new!r}", paths.NO_NAME)
        return paths.as_before(old), paths.as_before(new)
    return old, new


def _text(table: _Table, key: str, value: object, means: str) -> str:
    if isinstance(value, str):
        return value
    table.problem(key, f"it is {_description(value)}", f"it must be {means}")
    return ""


def _source(table: _Table, key: str, value: object) -> Source:
    """A string that starts with `$.` is a copy from that path; anything else is literal (`$$.x`: the string `$.x`)."""
    _finite(table, key, value)
    if isinstance(value, str) and value.startswith("$."):
        return _path(table, key, value)
    if isinstance(value, str) and value.startswith("$$."):
        value = value[1:]
    return Literal(json_text(value))


def _path(table: _Table, key: str, text: str) -> Copy:
    if text != "$" and not text.startswith("$."):
        table.problem(key, f"it is {text!r}", "a path of the payload begins with $")
        return Copy("$")
    try:
        paths.source_parts(text)
    except PathError as error:
        table.problem(key, f"it is {text!r}: {error}", paths.SOURCE_HINT)
        return Copy(f"$.{paths.as_before(text[2:])}")
    return Copy(text)


# Aggregates and projections


def _aggregate(place: str, name: str, body: object, problems: list[Problem]) -> Aggregate:
    table = _Table(place, body, problems, ("streams", "initial", "snapshot", "on", "accept"))
    streams = table.get("streams", str, 'a GLOB over stream names: "order-*"', "")
    if not streams:
        table.problem("streams", "it is missing", 'a GLOB over stream names: "order-*"')
    if len(streams.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        table.problem("streams", "it is too long", f"a GLOB of at most {MAX_NAME_BYTES} bytes")
        streams = ""
    if streams.startswith(system.PREFIX):
        table.problem("streams", "such streams are the log's own")
    initial = table.pairs("initial", "the state before any event, a table")
    _finite(table, "initial", initial)
    policy = _Table(table.at("snapshot"), table.pairs("snapshot", "{ every = 100 }"), problems, ("every", "on"))
    every = policy.get("every", int, "a number of events")
    if every is not None and every < 1:
        policy.problem("every", f"it is {every}", "it must be a number of events, 1 or more")
    return Aggregate(
        name,
        streams,
        json_text(initial),
        every,
        policy.texts("on", "an array of event types"),
        {type_: _steps(where, steps, problems) for where, type_, steps in table.named("on")},
        {type_: _rule(where, type_, rule, problems) for where, type_, rule in table.named("accept")},
    )


def _steps(place: str, body: object, problems: list[Problem]) -> tuple[Step, ...]:
    several = body if isinstance(body, list) else [body]
    made = []
    for n, one in enumerate(several, 1):
        where = f"{place}[{n}]" if isinstance(body, list) else place
        _Table(where, one, problems, OPERATIONS)  # reports unknown keys
        made.append(_step(where, one, problems, OPERATIONS))
    return tuple(made)


def _rule(place: str, type_: str, body: object, problems: list[Problem]) -> Rule:
    if isinstance(body, str):
        return Rule(
            place, body, f"the state does not accept {type_}" if type_ != ANY else "the state does not accept it"
        )
    table = _Table(place, body, problems, ("rule", "message"))
    sql = table.get("rule", str, "an SQL condition")
    if sql is None:
        table.problem("rule", "it is missing", "an SQL condition over new and state")
    return Rule(
        place, "0" if sql is None else sql, table.get("message", str, "a text", f"the state does not accept {type_}")
    )


def _projection(place: str, name: str, body: object, problems: list[Problem]) -> Projection:
    table = _Table(place, body, problems, ("table", "tables", "indexes", "inline", "columns", "on"))
    tables = dict(table.pairs("tables", 'tables: { name = "create table …" }'))
    if "table" in table.body:
        tables[name] = table.get("table", str, "create table …", "")
    if not tables:
        table.problem("table", "it is missing", "the table that the projection keeps: create table …")
    for key, sql in tables.items():
        _text(table, f"tables.{key}", sql, "create table …")
    columns = {
        column: _look(table.at(f"columns.{column}"), look, problems) for column, look in table.pairs("columns").items()
    }
    return Projection(
        name,
        tables,
        table.texts("indexes", "an array of create index …"),
        table.get("inline", bool, "true or false", default=False),
        columns,
        {type_: _text(table, f"on.{type_}", sql, "SQL statements") for type_, sql in table.pairs("on").items()},
    )


_FORMAT = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[bdeEfFgGnoxX%]?")


def _look(place: str, body: object, problems: list[Problem]) -> dict[str, str]:
    """How a column is displayed: label, format, style, alignment."""
    table = _Table(place, body, problems, ("label", "format", "style", "align"))
    look = {key: table.get(key, str, "a text") for key in table.body if key in ("label", "format", "style", "align")}
    if look.get("align", "left") not in ("left", "right", "center", None):
        table.problem("align", f"it is {look['align']!r}", "it must be left, right or center")
    if not re.fullmatch(r"(?!.*\blink\b)[\w #(),.]*", look.get("style") or "", re.ASCII):
        table.problem("style", f"it is {look['style']!r}"[:80], "it must be a style of rich: green, bold red, dim")
    if not _is_format(look.get("format") or ""):
        table.problem(
            "format", f"it is {look['format']!r}"[:80], "it must be a number format of Python: ,.2f or .1% or 05d"
        )
    return {key: value for key, value in look.items() if value is not None}


def _is_format(text: str) -> bool:
    """Whether a text is a number format of Python; a width of three digits is refused, as too wide for a table."""
    if _FORMAT.fullmatch(text) is None:
        return False
    for number in (1, 1.5):
        try:
            format(number, text)
        except ValueError:
            continue
        return True
    return False
