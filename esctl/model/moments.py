"""Give the literals in a model's SQL that are compared with times of events the form of these times."""

from __future__ import annotations

from esctl.model.declared import Aggregate, EventType, Model, Projection, Step, Upcast
from esctl.sql.moments import OF_NEW, with_moments


def in_moments(model: Model) -> Model:
    """The model with such literals in the log's form."""
    return model._replace(
        events={name: _event(event) for name, event in model.events.items()},
        aggregates={name: _aggregate(aggregate) for name, aggregate in model.aggregates.items()},
        projections={name: _projection(projection) for name, projection in model.projections.items()},
    )


def _sql(text: str) -> str:
    return with_moments(text, OF_NEW)


def _condition(text: str | None) -> str | None:
    return None if text is None else _sql(text)


def _event(event: EventType) -> EventType:
    return event._replace(upcasts=tuple(map(_upcast, event.upcasts)))


def _upcast(upcast: Upcast) -> Upcast:
    parts = tuple(part._replace(step=_step(part.step)) for part in upcast.parts)
    return upcast._replace(parts=parts, when=_condition(upcast.when))


def _step(step: Step) -> Step:
    compute = tuple((name, _sql(text)) for name, text in step.compute)
    return step._replace(compute=compute, when=_condition(step.when))


def _aggregate(aggregate: Aggregate) -> Aggregate:
    on = {type_: tuple(map(_step, steps)) for type_, steps in aggregate.on.items()}
    accept = {type_: rule._replace(sql=_sql(rule.sql)) for type_, rule in aggregate.accept.items()}
    return aggregate._replace(on=on, accept=accept)


def _projection(projection: Projection) -> Projection:
    return projection._replace(on={type_: _sql(text) for type_, text in projection.on.items()})
