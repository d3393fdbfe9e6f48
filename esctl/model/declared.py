"""What a log's domain declares: event types, aggregates, projections. `esctl.model.toml` reads them from a file.

The values are named tuples and not msgspec's structs: an append to a log that has a model loads this on a cold start.
`esctl.sql.judge` judges what the SQL in a model may do, `esctl.model.upcasts` whether chains of upcasts hold together.
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

ANY = "*"  # under `on` and `accept`: every type that is not named
CONVERSIONS = ("number", "integer", "string", "boolean")


class Copy(Record):
    """A value that is copied from a path of the payload (`$.amount`)."""

    path: str


class Literal(Record):
    """A value as it stands, as JSON text."""

    json: str


Source = Copy | Literal


class Step(Record):
    """Operations on a payload or a state, done in the order of the fields; `place` is where the model has them.

    Fields are named by dotted paths (`shipping.city`).
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

    def expressions(self) -> Iterator[tuple[str, str]]:
        """The SQL expressions with their places."""
        for name, sql in self.compute:
            yield f"{self.place}.compute.{name}", sql
        if self.when is not None:
            yield f"{self.place}.when", self.when


class Part(Record):
    """One of the events that an event is split into: the type and schema it then has, and how its payload is made."""

    type: str
    schema: int
    step: Step


class Upcast(Record):
    """How events of one type and schema version are read: as the parts of a split, or not at all where dropped."""

    place: str
    type: str
    start: int
    parts: tuple[Part, ...]
    split: bool
    drop: bool
    when: str | None  # of a drop: only where it holds


class EventType(Record):
    """An event type: its newest schema version, what payloads of it look like (JSON text), whether it may be erased;
    `declared`: the model says which version is the newest.
    """

    name: str
    schema: int
    json_schema: str | None
    erasable: bool
    upcasts: tuple[Upcast, ...]
    declared: bool = True


class Rule(Record):
    """A condition on new and state that has to hold for an event to be accepted, and the message where it does not."""

    place: str
    sql: str
    message: str


class Aggregate(Record):
    """How the events of each stream that matches `streams` (a GLOB) fold into a state; `every`, `when_types`: the
    snapshot policy; `on`: steps by type; `accept`: rules by type.
    """

    name: str
    streams: str
    initial: str
    every: int | None
    when_types: tuple[str, ...]
    on: Mapping[str, tuple[Step, ...]]
    accept: Mapping[str, Rule]


class Projection(Record):
    """A read model: its tables and indexes (DDL), whether it is kept inside appends, how columns are shown, and the
    SQL that is run for each event, by type.
    """

    name: str
    tables: Mapping[str, str]
    indexes: tuple[str, ...]
    inline: bool
    columns: Mapping[str, Mapping[str, Any]]
    on: Mapping[str, str]


class Model(Record):
    """Everything that a model file declares, by name."""

    events: Mapping[str, EventType]
    aggregates: Mapping[str, Aggregate]
    projections: Mapping[str, Projection]


class Problem(Record):
    """Something that is wrong with a model: the dotted key where, what, and what may have been meant."""

    place: str
    problem: str
    hint: str = ""


EMPTY = Model({}, {}, {})


def fingerprint(*values: object) -> str:
    """SHA-256 in hexadecimal over what values say, wherever it stands: changes exactly when a definition does."""
    import json  # noqa: PLC0415 - a kept model has its fingerprints

    said = json.dumps([_said(value) for value in values], ensure_ascii=False, separators=(",", ":"))
    return chain.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def _said(value: object) -> object:
    """A definition without its places, mappings in the order of their keys."""
    if isinstance(value, Mapping):
        return {key: _said(value[key]) for key in sorted(value)}
    if isinstance(value, tuple):
        names = getattr(value, "_fields", [""] * len(value))
        return [_said(inner) for name, inner in zip(names, value, strict=True) if name != "place"]
    return value


def refusal(problems: list[Problem], path: Path | None = None) -> RefusedError:
    """One error for all that is wrong with a model; `path` is its file, where it is one."""
    first, more = problems[0], len(problems) - 1
    return RefusedError(
        f"the model: {first.place}: {first.problem}" if first.place else f"the model: {first.problem}",
        why=first.hint + (f"   (and {more} more)" if more else ""),
        fix=f"esctl model check {word(path)}" if more and path is not None else "esctl help model",
        place=first.place,
        problems=[problem._asdict() for problem in problems],
    )
