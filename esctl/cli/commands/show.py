"""`esctl show`: one event, and the events that it is connected with."""

from __future__ import annotations

from esctl.events.event import FIELDS, Event
from esctl.events.json import Json
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl show 120                           by position
  esctl show 019b7ed1-0614-7959-ba8d-a64149a047dc   by id
  esctl show 120 --trace                   what caused it and what it caused"""


_SHAPE = ("type", "schema", "data")


def _read_as(log: EventLog, stored: Event) -> list[tuple[str, int, Json]]:
    """Type, schema and data of the event, or events, that its upcasts make; empty if it is read as stored."""
    query = Query(since=stored.position, until=stored.position, system=True)
    events = [(event.type, event.schema, Json(event.data or "null")) for event, _, _ in log.read(query)]
    return [] if events == [(stored.type, stored.schema, stored.data or "null")] else events


def _read_as_rows(events: list[tuple[str, int, Json]]) -> dict[str, object]:
    """The same as rows of a table."""
    numbered = enumerate(events, 1)
    return {
        f"read_as{f'.{n}' if len(events) > 1 else ''}": f"{type_} {schema} {data}"
        for n, (type_, schema, data) in numbered
    }


def command(
    shared: Shared,
    *,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="A position or an id.")],
    traced: Annotated[
        bool,
        typer.Option("--trace", help="The tree of causes and effects, and all events with the same correlation id."),
    ] = False,
) -> None:
    """Print one event with all its fields."""
    format_ = shared.rendering
    with shared.opened() as log:
        found, salt, hash_ = log.event(event)
        if not traced:
            proof: dict[str, object] = {"salt": salt.hex() if salt else None, "hash": hash_.hex()}
            record = dict(zip(FIELDS, found, strict=True)) | ({"erased": True} if salt is None else {}) | proof
            if format_ in ("table", "csv", "tsv"):
                render.one(record | _read_as_rows(_read_as(log, found)), format_)
            elif format_ != "raw" and (read_as := _read_as(log, found)):
                texts = {name: Json(found[FIELDS.index(name)] or "null") for name in ("data", "meta")}
                render.one(
                    record | texts | {"read_as": [dict(zip(_SHAPE, one, strict=True)) for one in read_as]}, format_
                )
            else:
                query = Query(since=found[0], until=found[0], system=True, raw_schema=True)
                render.lines(
                    log.lines(query, "data" if format_ == "raw" else "hash"), "ndjson"
                )  # json too: it is one object
            return
        from esctl.points import trace  # noqa: PLC0415 - loads msgspec, for --trace only

        tree = trace.trace(log, found)
        if format_ == "table":
            render.event_tree(((t.depth, t.event) for t in tree), found[0])
        else:
            names = ("depth", *FIELDS[:8])
            render.listed((dict(zip(names, (t.depth, *t.event[:8]), strict=True)) for t in tree), format_)
