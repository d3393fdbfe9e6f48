"""`esctl bisect`: the first event after which a condition on the state holds."""

from __future__ import annotations

from esctl.errors import UsageError
from esctl.events.event import FIELDS
from esctl.events.json import Json
from esctl.events.query import Query
from esctl.output import console, render
from esctl.points.points import query_of
from esctl.states import differences, left_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName, AsOf, Until

EXAMPLES = """Examples:
  esctl bisect order-1012 --when "state ->> 'paid' > 0"   the first payment
  esctl bisect order-1012 --when "state ->> 'status' = 'Placed'" -o ndjson | jq .position
  esctl bisect order-1012 --when "version >= 3" --monotonic   halve between snapshots"""


def command(
    shared: Shared,
    *,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream.")],
    when: Annotated[str, typer.Option("--when", metavar="SQL", help="A condition on the state.")],
    until: Until = None,
    as_of: AsOf = None,
    aggregate: AggregateName = None,
    monotonic: Annotated[
        bool,
        typer.Option(
            "--monotonic", help="Halve between snapshots; right only if the condition, once true, stays true."
        ),
    ] = False,
    no_snapshot: Annotated[
        bool, typer.Option("--no-snapshot", help="Fold every event from the first; the default.")
    ] = False,
) -> None:
    """Find the first event after which a condition on the state holds.

    Exit 10 if there is none. It folds event by event, up to the first state that meets the condition; snapshots do not
    change the answer. If an event before that cannot be folded, exit 6 names it.

    With --monotonic it halves between the stream's snapshots, which is faster in long streams. That takes for granted
    that the condition, once true, stays true: a balance that is below zero for a while may be missed.
    """
    if monotonic and no_snapshot:
        raise UsageError(
            "--monotonic and --no-snapshot exclude each other",
            why="--monotonic halves between snapshots",
            fix="esctl bisect --help",
        )
    with shared.opened() as log:
        query = query_of(log, stream, until=until, as_of=as_of)
        for note in left_out.notes(log, query):
            console.note(note)
        found = differences.bisect(log, query, when, aggregate, monotonic=monotonic)
        if not shared.quiet:
            how = f"snapshots checked: {found.looked}, events folded: {found.folded}"
            how += "; takes for granted that the condition, once true, stays true"
            console.say(f"bisect: {how if found.looked else f'one pass, events folded: {found.folded}'}")
        event = Query(stream=stream, since_version=found.version, until_version=found.version)
        *_, (read, _, _) = log.read(event)
        record = _record(read, found.state)
        if shared.rendering in ("ndjson", "json"):
            line = b"".join(log.lines(event)).splitlines()[-1]
            render.lines([line[:-1] + b',"state":' + found.state.encode() + b"}\n"], shared.rendering)
        elif shared.rendering in ("table", "raw"):
            render.states([record], shared.rendering, single=True)
        else:
            render.one(record, shared.rendering)


def _record(event: tuple[object, ...], state: str) -> dict[str, object]:
    return dict(zip(FIELDS, event, strict=True)) | {"state": Json(state)}
