"""The declarations of a model: event types, aggregates, projections. `esctl.model.toml` reads them from a file.

They are named tuples and not msgspec structs, because an append to a log with a model loads this on a cold start.
`esctl.sql.judge` checks what a model's SQL may do, `esctl.model.upcasts` whether its chains of upcasts are complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from esctl.errors import RefusedError, word
from esctl.events import chain
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

ANY = "*"  # under `on` and `accept`: every type without an entry of its own
CONVERSIONS = ("number", "integer", "string", "boolean")


class Copy(Record):
    """A value copied from a path of the payload (`$.amount`)."""

    path: str


class Literal(Record):
    """A constant value, as JSON text."""

    json: str


Source = Copy | Literal


class Step(Record):
    """Operations on a payload or a state, applied in the order of these attributes; `place` is their key in the model.

    The payload's fields are named by dotted paths (`shipping.city`).
    """

    place: str
    rename: tuple[tuple[str, str], ...] = ()
    default: tuple[tuple[str, Source], ...] = ()
    convert: tuple[tuple[str, str], ...] = ()
    set: tuple[tuple[str, Source], ...] = ()
    add: tuple[tuple[str, Source], ...] = ()
    subtract: tuple[tuple[str, Source], ...] = ()
    append: tuple[tuple[str, Source], ...] = ()
    merge: Copy | None = None
    compute: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    when: str | None = None

    def paths(self) -> Iterator[tuple[str, str]]:
        """The paths of fields, and those of the payload (`$.amount`), with their keys in the model."""
        for key in ("default", "set", "add", "subtract", "append"):
            for name, source in getattr(self, key):
                yield f"{self.place}.{key}", name
                if isinstance(source, Copy):
                    yield f"{self.place}.{key}", source.path
        for key in ("rename", "convert", "compute"):
            yield from ((f"{self.place}.{key}", name) for name, _ in getattr(self, key))
        yield from ((f"{self.place}.rename", new) for _, new in self.rename)
        yield from ((f"{self.place}.remove", name) for name in self.remove)

    def expressions(self) -> Iterator[tuple[str, str]]:
        """The SQL expressions with their places."""
        for name, sql in self.compute:
            yield f"{self.place}.compute.{name}", sql
        if self.when is not None:
            yield f"{self.place}.when", self.when


class Part(Record):
    """One of the events that an upcast produces: its type and schema version, and the operations on its payload."""

    type: str
    schema: int
    step: Step


class Upcast(Record):
    """How events of one type and schema version (`start`) are read: as one part, as several (`split`), or not at all
    (`drop`).
    """

    place: str
    type: str
    start: int
    parts: tuple[Part, ...]
    split: bool
    drop: bool
    when: str | None  # of a drop: the SQL condition for dropping an event


class EventType(Record):
    """An event type: its newest schema version, the JSON Schema of its payloads (JSON text), whether it may be erased;
    `declared`: whether the model itself states the newest version.
    """

    name: str
    schema: int
    json_schema: str | None
    erasable: bool
    upcasts: tuple[Upcast, ...]
    declared: bool = True


class Rule(Record):
    """An SQL condition on `new` and `state` for accepting an event, and the message if it is refused."""

    place: str
    sql: str
    message: str


class Aggregate(Record):
    """How the events of each stream that matches `streams` (a GLOB) fold into a state. `initial`: the state before any
    event (JSON text); `every`, `when_types`: the snapshot policy; `on`: steps by type; `accept`: rules by type.
    """

    name: str
    streams: str
    initial: str
    every: int | None
    when_types: tuple[str, ...]
    on: Mapping[str, tuple[Step, ...]]
    accept: Mapping[str, Rule]


class Projection(Record):
    """A read model: its tables and indexes (DDL), whether it is updated inside appends (`inline`), how columns are
    displayed, and the SQL that runs for each event, by type.
    """

    name: str
    tables: Mapping[str, str]
    indexes: tuple[str, ...]
    inline: bool
    columns: Mapping[str, Mapping[str, Any]]
    on: Mapping[str, str]


class Model(Record):
    """Everything that a model file declares, by name. `strict`: other types and streams are refused."""

    events: Mapping[str, EventType]
    aggregates: Mapping[str, Aggregate]
    projections: Mapping[str, Projection]
    strict: bool = False


class Problem(Record):
    """A problem in a model: its dotted key, what is wrong, and a hint how to fix it."""

    place: str
    problem: str
    hint: str = ""


EMPTY = Model({}, {}, {})


def fingerprint(*values: object) -> str:
    """SHA-256 in hexadecimal over definitions. It changes when their content changes, not when it moves in the file."""
    import json  # noqa: PLC0415 - a cached model has its fingerprints

    text = json.dumps([_canonical(value) for value in values], ensure_ascii=False, separators=(",", ":"))
    return chain.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(value: object) -> object:
    """A definition without its places, and with the keys of mappings sorted."""
    if isinstance(value, Mapping):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, tuple):
        names = getattr(value, "_fields", [""] * len(value))
        return [_canonical(inner) for name, inner in zip(names, value, strict=True) if name != "place"]
    return value


def refusal(problems: list[Problem], path: Path | None = None) -> RefusedError:
    """One error for all problems of a model; `path` is its file, if it has one."""
    first, more = problems[0], len(problems) - 1
    return RefusedError(
        f"the model: {first.place}: {first.problem}" if first.place else f"the model: {first.problem}",
        why=first.hint + (f"   (and {more} more)" if more else ""),
        fix=f"esctl model check {word(path)}" if more and path is not None else "esctl help model",
        place=first.place,
        problems=[problem._asdict() for problem in problems],
    )
