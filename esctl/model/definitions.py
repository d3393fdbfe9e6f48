"""The model of a log as the log keeps it: events in `$esctl`, the newest of which holds; and what is compiled of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from esctl.errors import RefusedError, VerificationError
from esctl.events import system
from esctl.events.event import Event
from esctl.events.json import Json
from esctl.events.query import Upcasting
from esctl.model import operations, upcasts
from esctl.model.declared import EMPTY, Aggregate, Model, Problem, fingerprint, refusal
from esctl.model.globs import matches, overlap
from esctl.model.operations import Program
from esctl.sql.judge import Judge

TYPE_CHECKING = False

MAX_REMEMBERED = 65_536  # streams whose aggregate is known

Schemas = Mapping[str, Mapping[int, str]]
"""JSON Schemas (JSON text) by event type and schema version."""


class Applied(NamedTuple):
    """A model as it was applied: the how many-th, its fingerprint, where and when it was and by whom, and the text."""

    number: int
    fingerprint: str
    position: int
    time: str
    actor: str | None
    text: str
    files: Mapping[str, str]
    schemas: Schemas


def checked(text: str, files: Mapping[str, str], *, trusted: bool = False) -> tuple[Model, list[Problem]]:
    """A model file decoded, and everything that is wrong with it; `files` are the JSON texts of those that it names.

    `trusted`: it was applied, so projections were judged; and they run under an authorizer besides.
    """
    from esctl.model.toml import parse  # noqa: PLC0415 - a log without a model does without TOML

    def read(name: str) -> str:
        if name not in files:
            raise RefusedError(f"the file {name} was not read")
        return files[name]

    model, problems = parse(text, read)
    problems += upcasts.problems(model)
    problems += misplaced(model)
    if not trusted:
        problems += misprojected(model)
    return model, problems


def shared(model: Model) -> list[Problem]:
    """Aggregates that could cover one stream: a stream has one at most."""
    found = []
    for first, second in combinations(model.aggregates.values(), 2):
        if first.streams and second.streams and overlap(first.streams, second.streams):
            what = f"{second.streams!r} and the {first.streams!r} of {first.name} can match one stream"
            found.append(Problem(f"aggregate.{second.name}.streams", what, "a stream has one aggregate at most"))
    return found


def misplaced(model: Model) -> list[Problem]:
    """What is wrong with the SQL of a model: what is no expression, and what it may not do."""
    judge = Judge()
    hint = "it is one SQL expression over new.data, new.type, … and, in aggregates, state"
    try:
        found = [(place, judge.expression(sql, state=False)) for place, sql in upcasts.expressions(model)]
        for aggregate in model.aggregates.values():
            steps = (step for several in aggregate.on.values() for step in several)
            rules = ((rule.place, rule.sql) for rule in aggregate.accept.values())
            for place, sql in (*(one for step in steps for one in step.expressions()), *rules):
                found.append((place, judge.expression(sql, state=True)))
        return [Problem(place, why, hint) for place, why in found if why]
    finally:
        judge.close()


def misprojected(model: Model) -> list[Problem]:
    """What is wrong with the SQL of projections: each makes its own tables, indexes them, and writes no others."""
    if not model.projections:
        return []
    from esctl.model.projections import ProjectionJudge  # noqa: PLC0415 - a model that was applied was judged

    judge = ProjectionJudge()
    try:
        return [
            Problem(f"projection.{name}.{key}", why, hint)
            for name, projection in model.projections.items()
            for key, why, hint in judge.problems(projection)
        ]
    finally:
        judge.close()


class Definitions:
    """What a log's model says, compiled when it is first asked for."""

    def __init__(self, applied: Applied | None) -> None:
        self.applied = applied
        self.model = EMPTY
        if applied is not None:
            self.model, problems = checked(applied.text, applied.files, trusted=True)
            if problems:
                error = refusal(problems)
                raise VerificationError("the log's model is not one that this esctl takes", why=error.what)
        self._programs: dict[str, Program] = {}
        self._covering: dict[str, Aggregate | None] = {}

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
        chains = {
            name: tuple(sorted(event.upcasts, key=lambda upcast: upcast.start))
            for name, event in self.model.events.items()
            if event.upcasts
        }
        return fingerprint(operations.ENGINE, chains)

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
        if aggregate is None:
            return operations.MERGE
        if aggregate.name not in self._programs:
            self._programs[aggregate.name] = operations.program(aggregate)
        return self._programs[aggregate.name]

    def of_stream(self, stream: str) -> Aggregate | None:
        """The aggregate that covers a stream, if one does."""
        if stream not in self._covering:
            if len(self._covering) >= MAX_REMEMBERED:
                self._covering.clear()
            found = (a for a in self.model.aggregates.values() if matches(a.streams, stream))
            self._covering[stream] = None if stream.startswith(system.PREFIX) else next(found, None)
        return self._covering[stream]


def load(position: int, events: Iterable[Event]) -> Definitions:
    """The definitions that hold now: of the event at that position, if there is one; 0: there are none.

    Raises VerificationError where the log does not hold the model that it says.
    """
    if not position:
        return Definitions(None)
    for event in events:
        return Definitions(_applied(event))
    raise VerificationError(f"there is no model at position {position}", fix="esctl verify")


def history(events: Iterable[Event]) -> Iterator[Applied]:
    """The models that events of type system.MODEL_APPLIED hold."""
    return map(_applied, events)


def _applied(event: Event) -> Applied:
    try:
        data, meta = json.loads(event[8]), json.loads(event[9])
        number, text, mark = int(data["number"]), _text(data["text"]), _text(data["fingerprint"])
        schemas = {
            type_: {int(schema): json.dumps(body) for schema, body in of.items()}
            for type_, of in data["json_schemas"].items()
        }
        files = {name: json.dumps(body) for name, body in data["files"].items()}
        return Applied(number, mark, event[0], event[6], meta.get("actor"), text, files, schemas)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationError(
            f"the event at position {event[0]} holds no model", why=str(error), fix="esctl verify"
        ) from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("it holds something that is no text")


def record(applied: Applied) -> Json:
    """The payload of the event that a model is applied with, JSON text."""
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
