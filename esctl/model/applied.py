"""The models applied to a log, stored as events in `$esctl` (the newest is in force), and their compiled form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial

from esctl.errors import VerificationError
from esctl.events import system
from esctl.events.event import Event
from esctl.events.json import Json
from esctl.events.query import Upcasting
from esctl.events.record import Record
from esctl.model.declared import EMPTY, Aggregate, fingerprint, refusal
from esctl.model.globs import matches
from esctl.model.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from esctl.model.cache import Cache

MAX_REMEMBERED = 65_536  # streams whose aggregate is cached

Schemas = Mapping[str, Mapping[int, str]]
"""JSON Schemas (JSON text) by event type and schema version."""


class Applied(Record):
    """A model that was applied: its number (1, 2 …) and fingerprint, its event's position, time and actor, its text."""

    number: int
    fingerprint: str
    position: int
    time: str
    actor: str | None
    text: str
    files: Mapping[str, str]
    schemas: Schemas


class Definitions:
    """A log's model, each part compiled on first use."""

    def __init__(self, applied: Applied | None) -> None:
        self.applied = applied
        self.model = EMPTY
        if applied is not None:
            from esctl.model.checks import checked  # noqa: PLC0415 - TOML and a judge; a cached model needs neither

            self.model, problems = checked(applied.text, applied.files, trusted=True)
            if problems:
                error = refusal(problems)
                raise VerificationError("the log's model is not valid for this esctl", why=error.what)
        self._programs: dict[str, Program] = {}
        self._covering: dict[str, Aggregate | None] = {}

    def prepared(self) -> Self:
        """Compile everything that takes long, and return the same definitions."""
        for aggregate in self.model.aggregates.values():
            self.program(aggregate)
        assert self.upcasts
        assert self.types is not None
        assert self.upcasting is not None
        return self

    @property
    def position(self) -> int:
        """The position of the model's event; 0: there is none."""
        return self.applied.position if self.applied else 0

    @property
    def schemas(self) -> Schemas:
        """The JSON Schemas, by event type and schema version."""
        return self.applied.schemas if self.applied else {}

    @cached_property
    def upcasting(self) -> Upcasting:
        """The compiled upcasts: what stored events are read as."""
        from esctl.model import upcasts  # noqa: PLC0415 - a cached model does not need it

        return upcasts.compiled(self.model)

    @cached_property
    def hides(self) -> bool:
        """Whether upcasts hide any event."""
        schemas = (shapes for of in self.upcasting.values() for shapes in of.values())
        return any(not shapes or any(shape.hidden for shape in shapes) for shapes in schemas)

    @cached_property
    def keeps_inline(self) -> bool:
        """Whether any projection is inline, that is updated inside appends."""
        return any(projection.inline for projection in self.model.projections.values())

    @cached_property
    def upcasts(self) -> str:
        """The fingerprint of all upcasts."""
        from esctl.model.operations import ENGINE  # noqa: PLC0415 - a cached model does not need it

        chains = {
            name: tuple(sorted(event.upcasts, key=lambda upcast: upcast.start))
            for name, event in self.model.events.items()
            if event.upcasts
        }
        return fingerprint(ENGINE, chains)

    @cached_property
    def newest(self) -> dict[str, int]:
        """The default schema version of new events, by type."""
        return {name: event.schema for name, event in self.model.events.items()}

    @cached_property
    def types(self) -> frozenset[str]:
        """The types that the model's declarations name."""
        from esctl.model.world import places  # noqa: PLC0415 - only a strict model needs it

        return frozenset(places(self.model))

    def aggregate(self, name: str) -> Aggregate:
        """The aggregate with this name; raises NotFoundError."""
        if name in self.model.aggregates:
            return self.model.aggregates[name]
        from esctl.errors import NotFoundError  # noqa: PLC0415 - only a mistake needs it

        known = ", ".join(self.model.aggregates)
        raise NotFoundError(
            f"there is no aggregate {name}",
            why=f"the log's model has: {known}" if known else "the log has no aggregates; a model declares them",
            fix="esctl model show" if known else "esctl help model",
        )

    def program(self, aggregate: Aggregate | None) -> Program:
        """The compiled fold of an aggregate; for None, the merge of all payloads."""
        if aggregate is not None and aggregate.name in self._programs:
            return self._programs[aggregate.name]
        from esctl.model import operations  # noqa: PLC0415 - a cached model does not need it

        if aggregate is None:
            return operations.MERGE
        compiled = self._programs[aggregate.name] = operations.program(aggregate)
        return compiled

    def of_stream(self, stream: str) -> Aggregate | None:
        """The aggregate whose `streams` pattern matches a stream, or None."""
        if stream not in self._covering:
            if len(self._covering) >= MAX_REMEMBERED:
                self._covering.clear()
            matching = (a for a in self.model.aggregates.values() if matches(a.streams, stream))
            self._covering[stream] = None if stream.startswith(system.PREFIX) else next(matching, None)
        return self._covering[stream]


def load(position: int, events: Iterable[Event], cache: Cache | None = None) -> Definitions:
    """The definitions of the model at a position (0: no model), of which `events` gives the event.

    Raises VerificationError if there is no such event, or it contains no valid model.
    """
    if not position:
        return Definitions(None)
    for event in events:
        if cache is None:
            return Definitions(_applied(event))
        found = cache.get("model", f"{event.data}\0{event.meta}", partial(_prepared, event))
        assert found.applied is not None
        found.applied = found.applied._replace(position=event.position, time=event.time)  # which the text does not say
        return found
    raise VerificationError(f"there is no model at position {position}", fix="esctl verify")


def _prepared(event: Event) -> Definitions:
    return Definitions(_applied(event)).prepared()


def history(events: Iterable[Event]) -> Iterator[Applied]:
    """The models in events of the type system.MODEL_APPLIED."""
    return map(_applied, events)


def _applied(event: Event) -> Applied:
    import json  # noqa: PLC0415 - a cached model does not need it

    try:
        data, meta = json.loads(event.data), json.loads(event.meta)
        number, text, digest = int(data["number"]), _text(data["text"]), _text(data["fingerprint"])
        schemas = {
            type_: {int(schema): json.dumps(body) for schema, body in versions.items()}
            for type_, versions in data["json_schemas"].items()
        }
        files = {name: json.dumps(body) for name, body in data["files"].items()}
        return Applied(number, digest, event.position, event.time, meta.get("actor"), text, files, schemas)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationError(
            f"the event at position {event.position} contains no model", why=str(error), fix="esctl verify"
        ) from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("it contains a value that is not text")


def record(applied: Applied) -> Json:
    """The payload (JSON text) of the event that applies a model."""
    import json  # noqa: PLC0415

    schemas = {
        type_: {str(schema): json.loads(body) for schema, body in versions.items()}
        for type_, versions in applied.schemas.items()
    }
    files = {name: json.loads(body) for name, body in applied.files.items()}
    data = {
        "number": applied.number,
        "fingerprint": applied.fingerprint,
        "text": applied.text,
        "files": files,
        "json_schemas": schemas,
    }
    return Json(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
