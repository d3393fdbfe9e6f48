"""`esctl bisect`: the event after which something became true of a stream's state."""

from __future__ import annotations

import typer

from esctl import aggregates, output
from esctl.cli.options import Shared, opened
from esctl.events import FIELDS
from esctl.points import query_of
from esctl.query import Query
from esctl.text import Json

EXAMPLES = """Examples:
  esctl bisect account-7 --when "state ->> 'balance' < 0"      which event overdrew the account?
  esctl bisect order-1012 --when "state ->> 'status' = 'Paid'" -o ndjson | jq .position"""


def command(
    ctx: typer.Context,
    stream: str = typer.Argument(metavar="STREAM", help="The stream."),
    when: str = typer.Option(..., "--when", metavar="SQL", help="A condition on the state."),
    until: str | None = typer.Option(None, metavar="POINT", help="Up to and including this point."),
    as_of: str | None = typer.Option(None, metavar="POINT", help="The log as it stood then (recorded time)."),
    aggregate: str | None = typer.Option(None, metavar="NAME", help="Fold as this aggregate. [the stream's own]"),
    no_snapshot: bool = typer.Option(False, "--no-snapshot", help="Fold every event from the beginning."),
) -> None:
    """Find the first event of a stream after which a condition on its state holds; exit 10 if there is none.

    With snapshots it halves between them, taking the condition to stay true once it is; else it folds event by event.
    """
    shared: Shared = ctx.obj
    with opened(ctx) as log:
        query = query_of(log, stream, until=until, as_of=as_of)
        found = aggregates.bisect(log, query, when, aggregate, saved=not no_snapshot)
        if not shared.quiet:
            how = f"snapshots looked at: {found.looked}, events folded: {found.folded}"
            how += "; taken to stay true once it is (--no-snapshot is certain)"
            output.say(f"bisect: {how if found.looked else f'one pass, events folded: {found.folded}'}")
        event = Query(stream=stream, since_version=found.version, until_version=found.version)
        *_, (read, _, _) = log.read(event)
        record = _record(read, found.state)
        if shared.rendering in ("ndjson", "json"):
            line = b"".join(log.lines(event)).splitlines()[-1]
            output.lines([line[:-1] + b',"state":' + found.state.encode() + b"}\n"], shared.rendering)
        elif shared.rendering in ("table", "raw"):
            output.states([record], shared.rendering, single=True)
        else:
            output.one(record, shared.rendering)


def _record(event: tuple[object, ...], state: str) -> dict[str, object]:
    return dict(zip(FIELDS, event, strict=True)) | {"state": Json(state)}
