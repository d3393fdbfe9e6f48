"""`esctl state`: the state of streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from esctl.errors import UsageError
from esctl.events.json import Json
from esctl.log import EventLog
from esctl.output import console, progress, render
from esctl.points.points import query_of
from esctl.states import folding, left_out
from esctl.states.folding import StateAt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName, AsOf, Until

EXAMPLES = """Examples:
  esctl state order-1012                   its state now
  esctl state order-1012 --until v2        as it was at version 2
  esctl state order-1012 --as-of 2026-02-01   as the log stood then
  esctl state order-1012 --each -o raw     the state after each event
  esctl state order-1012 --explain         which snapshot was used, how many events were folded
  esctl state --all --aggregate order --where "state ->> 'status' = 'Paid'"
  esctl state --all --aggregate order --fields stream,state.status
  esctl state order-1012 --reducer fold:count   with the function count of fold.py"""


def command(
    shared: Shared,
    *,
    stream: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="One stream; else --all.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every stream of an aggregate (needs --aggregate).")] = False,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="With --all: a condition on stream, version and state.")
    ] = None,
    until: Until = None,
    as_of: AsOf = None,
    aggregate: AggregateName = None,
    reducer: Annotated[
        str | None, typer.Option(metavar="M:F", help="Fold with a Python function (state, event) -> state.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="The state after every event.")] = False,
    no_snapshot: Annotated[bool, typer.Option("--no-snapshot", help="Fold from the first event.")] = False,
    fields: Annotated[str | None, typer.Option("--fields", metavar="A,B,state.X", help="Only these fields.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add which snapshot was used and how many events were folded.")
    ] = False,
) -> None:
    """Print a stream's state, now or at any point.

    The model's aggregate folds the stream's events. For a stream without an aggregate, their payloads are merged.
    """
    wrong = {
        "esctl state takes STREAM or --all": bool(stream) == all_,
        "--all needs --aggregate": all_ and not aggregate,
        "--all excludes --reducer, --each and --explain": all_ and (reducer or each or explain),
        "--where needs --all": where and not all_,
        "--aggregate and --reducer exclude each other": aggregate and reducer,
    }
    for what in (what for what, is_so in wrong.items() if is_so):
        raise UsageError(what, fix="esctl state --help")
    with shared.opened() as log:
        query = query_of(log, stream, until=until, as_of=as_of)
        for note in left_out.notes(log, query, aggregate):
            console.note(note)
        found: Iterator[StateAt]
        if all_:
            found = folding.states(log, aggregate or "", query, where)
        elif reducer:
            from esctl.states import reducing  # noqa: PLC0415 - loads pathlib and importlib, for --reducer only

            states = reducing.reduced(log, query, reducer)
            found = _without_first(states) if each else iter(deque(states, maxlen=1))
        elif each:
            found = folding.each(log, query, aggregate)
        else:
            report = console.say if shared.verbose else _discard
            found = iter([folding.state(log, query, aggregate, saved=not no_snapshot, ignored=report)])
        held = folding.Held(_with_progress(log, found, all_))
        records = (state.record(explained=explain) for state in held)
        single = not (each or all_)
        format_ = "ndjson" if single and shared.rendering == "json" else shared.rendering  # one object, no array
        if fields is None:
            render.states(records, format_, single=single)
        else:
            _print_fields(records, fields, format_)
        held.end()


def _print_fields(records: Iterator[dict[str, object]], fields: str, format_: str) -> None:
    """Print some fields of states."""
    from esctl.events.paths import listed  # noqa: PLC0415 - only --fields needs it

    names = listed(fields)
    render.listed(({name: _field(record, name) for name in names} for record in records), format_, names=names)


def _field(record: dict[str, object], name: str) -> object:
    """A field of the printed record, or of the state itself (`state.shipping.city`); None if it is absent."""
    import msgspec  # noqa: PLC0415 - only --fields needs it

    from esctl.events.fields import column_and_path, inner  # noqa: PLC0415

    column, path = column_and_path(name)
    if column not in record or (path and column != "state"):
        raise UsageError(
            f"there is no field {name!r}", why=f"the fields are {', '.join(record)}, and state.KEY to any depth"
        )
    value = record[str(column)]
    if path:
        found = inner(str(value), path)
        value = None if found is None else Json(found)
    if isinstance(value, Json) and value.startswith('"'):
        return msgspec.json.decode(value.encode(), type=str)
    return value


def _without_first(states: Iterator[StateAt]) -> Iterator[StateAt]:
    next(states, None)
    yield from states


def _with_progress(log: EventLog, found: Iterator[StateAt], all_: bool) -> Iterator[StateAt]:
    """Show a progress bar for --all."""
    if not all_:
        return found
    return progress.watched(found, "folding", log.head().position, lambda state: state.folded)


def _discard(_: str) -> None:
    return None
