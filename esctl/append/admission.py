"""Check new events against the model, without the state of their stream: a known schema version, working upcasts, and a
payload that the JSON Schema accepts. Runs in the transaction that appends them.
"""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import MisfitError, RefusedError
from esctl.events.event import index_at
from esctl.events.query import Query
from esctl.model.applied import Definitions

MAX_LISTED = 1000  # characters of a list of names in an error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import NewEvent, Receipt
    from esctl.store.store import Store


def check(
    store: Store, definitions: Definitions, events: Sequence[NewEvent], receipts: Sequence[Receipt], before: int
) -> None:
    """Refuse the first new event that the model does not accept; `before` is the head before the events.

    Raises RefusedError with the event's `index`.
    """
    if definitions.model.strict:
        refuse_unknown(definitions, events, receipts)
    refuse_newer(definitions, events, receipts)
    refuse_unreadable(store, definitions, events, receipts, before)
    if definitions.schemas:
        refuse_misshapen(definitions, events, receipts)


def refuse_unknown(definitions: Definitions, events: Sequence[NewEvent], receipts: Sequence[Receipt]) -> None:
    """Refuse a new event of a type that no declaration of a strict model names, or in a stream of no aggregate."""
    for index, event in enumerate(events):
        known = event.type in definitions.types
        if receipts[index].duplicate or (known and definitions.of_stream(event.stream) is not None):
            continue
        from esctl.model import world  # noqa: PLC0415 - only a mistake needs it

        if known:
            what = f"no aggregate of the log's strict model matches the stream {event.stream}"
            patterns = [aggregate.streams for aggregate in definitions.model.aggregates.values()]
            why = world.similar_stream(event.stream, definitions.model) or f"they match {', '.join(patterns) or 'none'}"
        else:
            what = f"no declaration of the log's strict model names the type {event.type}"
            types = ", ".join(sorted(definitions.types))
            why = world.suggestion(event.type, definitions.types) or f"they name {types or 'none'}"
        raise RefusedError(
            f"{event.type} in {event.stream} is refused: {what}",
            why=why[:MAX_LISTED],
            fix="esctl model show",
            index=index,
            stream=event.stream,
            type=event.type,
        )


def refuse_newer(definitions: Definitions, events: Sequence[NewEvent], receipts: Sequence[Receipt]) -> None:
    """Refuse a new event of a schema version newer than the model's."""
    declared = definitions.model.events
    for index, event in enumerate(events):
        known = declared.get(event.type) if event.schema else None
        if known is not None and known.declared and event.schema > known.schema and not receipts[index].duplicate:
            raise RefusedError(
                f"{event.type} in {event.stream} is refused: the log's model knows it up to schema {known.schema}",
                why=f"the event says schema {event.schema};"
                " apply a model that knows it, or omit the schema, which means the newest",
                fix="esctl model show",
                index=index,
                stream=event.stream,
                type=event.type,
                schema=event.schema,
            )


def refuse_unreadable(
    store: Store, definitions: Definitions, events: Sequence[NewEvent], receipts: Sequence[Receipt], before: int
) -> None:
    """Refuse a new event of an old schema version on which its upcasts fail: it would break every later read."""
    old = [event.schema in definitions.upcasting.get(event.type, {}) for event in events]
    if not any(old):
        return
    misfits: dict[int, str] = {}

    def note(position: object, reason: object) -> None:
        misfits.setdefault(int(str(position)), str(reason))

    try:
        for _ in store.read(Query(since=before + 1), definitions.upcasting, note):
            if misfits:
                break
    except MisfitError as error:
        reason = str(error.__cause__ or error.what)  # not the position, which the event will not have
        misfits.setdefault(int(str(error.details.get("position", 0))), reason)
    for position, reason in misfits.items():
        index = index_at(receipts, position)
        if index is None:
            index = old.index(True)
        from esctl.store.misfits import upcast_field  # noqa: PLC0415 - only a failure needs it

        field = upcast_field(store, definitions.model, position) if position else ""
        refused = RefusedError(
            f"{events[index].type} in {events[index].stream} is refused: {reason}",
            why=f"the upcasts of its schema {events[index].schema} fail on it" + (field and f", at {field}"),
            index=index,
            stream=events[index].stream,
            type=events[index].type,
        )
        refused.details |= {"field": field} if field else {}
        raise refused


def refuse_misshapen(definitions: Definitions, events: Sequence[NewEvent], receipts: Sequence[Receipt]) -> None:
    """Refuse a new event whose payload the JSON Schema of its schema version does not accept."""
    from esctl.model.json_schemas import compiled  # noqa: PLC0415 - jsonschema-rs, which is an extra

    newest, known = definitions.newest, definitions.schemas
    for index, (event, receipt) in enumerate(zip(events, receipts, strict=True)):
        schemas = known.get(event.type)
        if schemas is None or receipt.duplicate:
            continue
        version = event.schema or newest.get(event.type, 1)
        if version in schemas and (problem := compiled(schemas[version])(event.data)):
            raise RefusedError(
                f"{event.type} in {event.stream} is refused by the JSON Schema of schema {version}",
                why=problem,
                fix="esctl model show",
                index=index,
                stream=event.stream,
                type=event.type,
                schema=version,
                problem=problem,
            )
