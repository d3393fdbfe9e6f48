"""`esctl log`: the story of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing

from esctl.events.event import part_of
from esctl.events.json import Json
from esctl.events.query import MAX_POSITION
from esctl.log import EventLog
from esctl.output import console, render
from esctl.points.points import query_of
from esctl.states import folding, left_out
from esctl.states.story import Entry, Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName, AsOf, Until

EXAMPLES = """Examples:
  esctl log order-1012                     each event, and what it changed in the state
  esctl log order-1012 --last 3            the newest three
  esctl log order-1012 --since v2 --until 2026-02-28
  esctl log order-1012 --wide              nothing is cut
  esctl log order-1012 -o ndjson | jq -r '.changes[].path'   the paths that changed"""

COLUMNS = (
    "position", "stream", "version", "type", "time", "elapsed", "changes", "causation_id", "cause", "marks",
    "erased", "refused",
)  # fmt: skip


def command(
    shared: Shared,
    *,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream.")],
    since: Annotated[str | None, typer.Option(metavar="POINT", help="From this point on.")] = None,
    until: Until = None,
    as_of: AsOf = None,
    limit: Annotated[int | None, typer.Option(min=0, max=MAX_POSITION, metavar="N", help="The first N events.")] = None,
    last: Annotated[
        int | None, typer.Option(min=0, max=MAX_POSITION, metavar="N", help="The newest N events, in order.")
    ] = None,
    aggregate: AggregateName = None,
) -> None:
    """Print the story of a stream: what each event changed, and when.

    One line per event, newest last: position, the time since the stream's event before, type, and what it changed in
    the state; for a stream without an aggregate, in its merged payloads. Erased events, those that the rules of the
    model refuse, marks and causes are named first. `elapsed` is in seconds, `cause` the position of the event that
    `causation_id` names.
    """
    with shared.opened() as log:
        query = query_of(log, stream, since=since, until=until, as_of=as_of, limit=limit, last=last)
        for note in left_out.notes(log, query):
            console.note(note)
        with closing(Story(log, query, aggregate)) as story:
            held = folding.Held(story.entries())
            records = _records(log, iter(held))
            if shared.rendering == "table":
                render.story(records)
            else:
                render.listed(records, shared.rendering, names=COLUMNS)
            held.end()


def _records(log: EventLog, entries: Iterator[Entry]) -> Iterator[dict[str, object]]:
    """The entries as records."""
    marks = _marks(log)
    for entry in entries:
        yield _record(log, entry, marks)


def _record(log: EventLog, entry: Entry, marks: Mapping[int, list[str]]) -> dict[str, object]:
    event, part = entry.event, part_of(entry.event)
    changes = [
        {"path": c.path, "change": c.change, "before": _json(c.before), "after": _json(c.after)} for c in entry.changes
    ]
    cause = position = None
    if event.meta and '"causation_id"' in event.meta:
        from esctl.events.links import CAUSE, value  # noqa: PLC0415 - few events have a cause

        cause = value(event.meta, CAUSE)
        position = log.store.places().find(cause) or None if cause else None
    values = (
        event.position, event.stream, event.version, event.type, event.time, entry.elapsed, changes, cause, position,
        marks.get(event.position, []), event.data is None, entry.refused,
    )  # fmt: skip
    record: dict[str, object] = dict(zip(COLUMNS, values, strict=True))
    return record if part is None else record | {"part": part}


def _marks(log: EventLog) -> dict[int, list[str]]:
    """The names of the marks at each position."""
    from esctl.points.marks import marks  # noqa: PLC0415

    found: dict[int, list[str]] = {}
    for mark in marks(log).values():
        found.setdefault(mark.position, []).append(mark.name)
    return found


def _json(value: str | None) -> Json | None:
    return None if value is None else Json(value)
