"""`esctl show`: one event, whole, and what it is connected with."""

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
    """The type, schema and data of each event as which it is read now; none where it is read as it is stored."""
    query = Query(since=stored[0], until=stored[0], system=True)
    seen = [(event.type, event.schema, Json(event.data or "null")) for event, _, _ in log.read(query)]
    return [] if seen == [(stored[4], stored[5], stored[8] or "null")] else seen


def _now(seen: list[tuple[str, int, Json]]) -> dict[str, object]:
    """The same as lines of a table."""
    numbered = enumerate(seen, 1)
    return {
        f"read_as{f'.{n}' if len(seen) > 1 else ''}": f"{type_} {schema} {data}"
        for n, (type_, schema, data) in numbered
    }


def command(
    shared: Shared,
    *,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="A position or an id.")],
    traced: Annotated[
        bool, typer.Option("--trace", help="The tree of causation, and all of the same correlation id.")
    ] = False,
) -> None:
    """Show one event, whole."""
    format_ = shared.rendering
    with shared.opened() as log:
        found, salt, hash_ = log.event(event)
        if not traced:
            proof: dict[str, object] = {"salt": salt.hex() if salt else None, "hash": hash_.hex()}
            record = dict(zip(FIELDS, found, strict=True)) | ({"erased": True} if salt is None else {}) | proof
            if format_ in ("table", "csv", "tsv"):
                render.one(record | _now(_read_as(log, found)), format_)
            elif format_ != "raw" and (now := _read_as(log, found)):
                texts = {name: Json(found[FIELDS.index(name)] or "null") for name in ("data", "meta")}
                render.one(record | texts | {"read_as": [dict(zip(_SHAPE, one, strict=True)) for one in now]}, format_)
            else:
                query = Query(since=found[0], until=found[0], system=True, raw_schema=True)
                render.lines(log.lines(query, "data" if format_ == "raw" else "hash"), "ndjson")  # json too: one object
            return
        from esctl.points import trace  # noqa: PLC0415 - msgspec, which one event does without

        tree = trace.trace(log, found)
        if format_ == "table":
            render.traced(((t.depth, t.event) for t in tree), found[0])
        else:
            names = ("depth", *FIELDS[:8])
            render.listed((dict(zip(names, (t.depth, *t.event[:8]), strict=True)) for t in tree), format_)
