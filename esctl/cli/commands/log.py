"""`esctl log`: the story of a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

from esctl.errors import UsageError
from esctl.events.event import part_of
from esctl.events.json import Json
from esctl.events.query import MAX_POSITION, Query
from esctl.log import POLL_SECONDS, EventLog
from esctl.output import console, render
from esctl.points.points import query_of
from esctl.states import folding, left_out
from esctl.states.story import Entry, Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName, AsOf, Follow, Until

EXAMPLES = """Examples:
  esctl log order-1012                     each event, and what it changed in the state
  esctl log order-1012 --last 3            the newest three
  esctl log order-1012 --since v2 --until 2026-02-28
  esctl log order-1012 --wide              nothing is cut
  esctl log order-1012 --stat              how many of each type, and how long each takes
  esctl log order-1012 --register paid     what each event paid, and the sum then
  esctl log order-1012 --follow            then new events as they arrive
  esctl log order-1012 -o ndjson | jq -r '.changes[].path'   the paths that changed"""

COLUMNS = (
    "position", "stream", "version", "type", "time", "elapsed", "changes", "causation_id", "cause", "marks",
    "erased", "refused",
)  # fmt: skip
REGISTER = ("position", "stream", "version", "type", "time", "amount", "value")


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
    stat: Annotated[
        bool, typer.Option("--stat", help="Per type: how many, and the time since the event before.")
    ] = False,
    register: Annotated[
        str | None, typer.Option("--register", metavar="FIELD", help="A number of the state: amounts and its value.")
    ] = None,
    follow: Follow = False,
) -> None:
    """Print the story of a stream: what each event changed, and when.

    One line per event, newest last: position, the time since the stream's event before, type, and what it changed in
    the state; for a stream without an aggregate, in its merged payloads. Erased events, those that the rules of the
    model refuse, marks and causes are named first. `elapsed` is in seconds, `cause` the position of the event that
    `causation_id` names.

    --stat prints for each type how many events there are, and the median and the 90th percentile of the time since the
    event before. --register prints the events that change a number: by how much, and what it then is.
    """
    if stat and (register or follow or aggregate):
        raise UsageError("--stat excludes --register, --follow and --aggregate", fix="esctl log --help")
    if follow and (until or as_of):
        raise UsageError("--follow excludes --until and --as-of", why="--follow has no end")
    if follow and shared.rendering in ("json", "csv", "tsv"):
        raise UsageError("--follow prints lines", why="use -o ndjson or table")
    with shared.opened() as log:
        query = query_of(log, stream, since=since, until=until, as_of=as_of, limit=limit, last=last)
        for note in left_out.notes(log, query):
            console.note(note)
        if stat:
            _print_paces(log, query, shared.rendering)
            return
        with closing(Story(log, query, aggregate)) as story:
            held = folding.Held(_followed(log, story) if follow else story.entries())
            if register is not None:
                _print_register(iter(held), register, shared.rendering, follow=follow)
            elif follow:
                render.story_lines(_records(log, iter(held)), shared.rendering)
            elif shared.rendering == "table":
                render.story(_records(log, iter(held)))
            else:
                render.listed(_records(log, iter(held)), shared.rendering, names=COLUMNS)
            held.end()


def _followed(log: EventLog, story: Story) -> Iterator[Entry]:
    """The entries, then those of new events, endlessly (or up to the limit of the query)."""
    while True:
        log.store.changed()
        yield from story.entries()
        if story.shown.ended:
            return
        while not log.store.changed():
            time.sleep(POLL_SECONDS)


def _print_paces(log: EventLog, query: Query, format_: str) -> None:
    from esctl.output.stories import duration  # noqa: PLC0415 - for --stat only
    from esctl.states.paces import Pace, paces  # noqa: PLC0415

    records = (pace._asdict() for pace in paces(log, query))
    if format_ == "table":
        records = (
            {**row, "median": duration(row["median"], plus=""), "p90": duration(row["p90"], plus="")} for row in records
        )
    render.listed(records, format_, names=Pace._fields)


def _print_register(entries: Iterator[Entry], field: str, format_: str, *, follow: bool) -> None:
    from esctl.states.register import lines  # noqa: PLC0415 - for --register only

    records = (
        {
            "position": line.event.position, "stream": line.event.stream, "version": line.event.version,
            "type": line.event.type, "time": line.event.time, "amount": line.amount, "value": line.value,
        }
        for line in lines(entries, field)
    )  # fmt: skip
    if follow:
        render.records(records, format_)
    elif format_ == "table":
        names = {"position": "position", "time": "time", "type": "type", "amount": "amount", "value": field}
        render.listed(
            ({shown: row[name] for name, shown in names.items()} for row in records), format_, spare=("time",)
        )
    else:
        render.listed(records, format_, names=REGISTER)


def _records(log: EventLog, entries: Iterator[Entry]) -> Iterator[dict[str, object]]:
    """The entries as records."""
    head, marks = -1, {}
    for entry in entries:
        if entry.event.position > head:  # marks may be set while events are followed
            head, marks = log.head().position, _marks(log)
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
