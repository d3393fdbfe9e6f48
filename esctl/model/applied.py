"""The model of a log as the log keeps it: events in `$esctl`, the newest of which holds; and what is compiled of it."""

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

MAX_REMEMBERED = 65_536  # streams whose aggregate is known

Schemas = Mapping[str, Mapping[int, str]]
"""JSON Schemas (JSON text) by event type and schema version."""


class Applied(Record):
    """A model as it was applied: the how many-th, its fingerprint, where and when it was and by whom, and the text."""

    number: int
    fingerprint: str
    position: int
    time: str
    actor: str | None
    text: str
    files: Mapping[str, str]
    schemas: Schemas


class Definitions:
    """What a log's model says, compiled when it is first asked for."""

    def __init__(self, applied: Applied | None) -> None:
        self.applied = applied
        self.model = EMPTY
        if applied is not None:
            from esctl.model.checks import checked  # noqa: PLC0415 - TOML and a judge, which a kept one does without

            self.model, problems = checked(applied.text, applied.files, trusted=True)
            if problems:
                error = refusal(problems)
                raise VerificationError("the log's model is not one that this esctl takes", why=error.what)
        self._programs: dict[str, Program] = {}
        self._covering: dict[str, Aggregate | None] = {}

    def prepared(self) -> Self:
        """The same, with everything compiled that takes long."""
        for aggregate in self.model.aggregates.values():
            self.program(aggregate)
        assert self.upcasts
        assert self.upcasting is not None
        return self

    @property
    def position(self) -> int:
        """Where in the log the model stands; 0: there is none."""
        return self.applied.position if self.applied else 0

    @property
    def schemas(self) -> Schemas:
        """The JSON Schemas of the types that have one, by the schema version that they describe."""
        return self.applied.schemas if self.applied else {}

    @cached_property
    def upcasting(self) -> Upcasting:
        """What stored events are read as."""
        from esctl.model import upcasts  # noqa: PLC0415 - a kept model does without

        return upcasts.compiled(self.model)

    @cached_property
    def hides(self) -> bool:
        """Whether upcasts hide any event."""
        schemas = (shapes for of in self.upcasting.values() for shapes in of.values())
        return any(not shapes or any(shape.hidden for shape in shapes) for shapes in schemas)

    @cached_property
    def keeps_inline(self) -> bool:
        """Whether any projection is kept inside appends."""
        return any(projection.inline for projection in self.model.projections.values())

    @cached_property
    def upcasts(self) -> str:
        """The fingerprint of all upcasts."""
        from esctl.model.operations import ENGINE  # noqa: PLC0415 - a kept model does without

        chains = {
            name: tuple(sorted(event.upcasts, key=lambda upcast: upcast.start))
            for name, event in self.model.events.items()
            if event.upcasts
        }
        return fingerprint(ENGINE, chains)

    @cached_property
    def newest(self) -> dict[str, int]:
        """The schema version that events of a type get when none is given."""
        return {name: event.schema for name, event in self.model.events.items()}

    def aggregate(self, name: str) -> Aggregate:
        """The aggregate of a name; raises NotFoundError."""
        if name in self.model.aggregates:
            return self.model.aggregates[name]
        from esctl.errors import NotFoundError  # noqa: PLC0415 - only a mistake needs it

        known = ", ".join(self.model.aggregates) or "none"
        raise NotFoundError(
            f"there is no aggregate {name}", why=f"the log's model has: {known}", fix="esctl model show"
        )

    def program(self, aggregate: Aggregate | None) -> Program:
        """How an aggregate folds; None: the merge of all payloads."""
        if aggregate is not None and aggregate.name in self._programs:
            return self._programs[aggregate.name]
        from esctl.model import operations  # noqa: PLC0415 - a kept model does without

        if aggregate is None:
            return operations.MERGE
        made = self._programs[aggregate.name] = operations.program(aggregate)
        return made

    def of_stream(self, stream: str) -> Aggregate | None:
        """The aggregate that covers a stream, if one does."""
        if stream not in self._covering:
            if len(self._covering) >= MAX_REMEMBERED:
                self._covering.clear()
            found = (a for a in self.model.aggregates.values() if matches(a.streams, stream))
            self._covering[stream] = None if stream.startswith(system.PREFIX) else next(found, None)
        return self._covering[stream]


def load(position: int, events: Iterable[Event], cache: Cache | None = None) -> Definitions:
    """The definitions that hold now: of the event at that position, if there is one; 0: there are none.

    Raises VerificationError where the log does not hold the model that it says.
    """
    if not position:
        return Definitions(None)
    for event in events:
        if cache is None:
            return Definitions(_applied(event))
        found = cache.get(f"{event.data}\0{event.meta}", partial(_prepared, event))
        assert found.applied is not None
        found.applied = found.applied._replace(position=event.position, time=event.time)  # which the text does not say
        return found
    raise VerificationError(f"there is no model at position {position}", fix="esctl verify")


def _prepared(event: Event) -> Definitions:
    return Definitions(_applied(event)).prepared()


def history(events: Iterable[Event]) -> Iterator[Applied]:
    """The models that events of type system.MODEL_APPLIED hold."""
    return map(_applied, events)


def _applied(event: Event) -> Applied:
    import json  # noqa: PLC0415 - a kept model does without

    try:
        data, meta = json.loads(event.data), json.loads(event.meta)
        number, text, mark = int(data["number"]), _text(data["text"]), _text(data["fingerprint"])
        schemas = {
            type_: {int(schema): json.dumps(body) for schema, body in of.items()}
            for type_, of in data["json_schemas"].items()
        }
        files = {name: json.dumps(body) for name, body in data["files"].items()}
        return Applied(number, mark, event.position, event.time, meta.get("actor"), text, files, schemas)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationError(
            f"the event at position {event.position} holds no model", why=str(error), fix="esctl verify"
        ) from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("it holds something that is no text")


def record(applied: Applied) -> Json:
    """The payload of the event that a model is applied with, JSON text."""
    import json  # noqa: PLC0415

    schemas = {
        type_: {str(schema): json.loads(body) for schema, body in of.items()} for type_, of in applied.schemas.items()
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
