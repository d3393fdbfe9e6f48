"""`esctl snapshot`: states that are kept, so that a fold need not begin at the beginning."""

from __future__ import annotations

import typer

from esctl import keeping, output
from esctl.cli.options import Shared, opened
from esctl.errors import UsageError, VerificationError

ABOUT = "Save states, so that a fold need not begin at the beginning: take, list, verify, prune."
EXAMPLES = """Examples:
  esctl snapshot take order-1012          its state as it is now
  esctl snapshot take --due               every stream that its aggregate's policy asks for; what cron runs
  esctl snapshot list
  esctl snapshot verify                   folds again from the beginning and compares; exit 6 if one differs
  esctl snapshot prune --keep 1           all but the newest of each stream, and those that are of no use"""

COLUMNS = ("stream", "aggregate", "version", "position", "time", "bytes", "taken", "problem")
VERIFIED = ("stream", "aggregate", "version", "path", "before", "after")


def take(
    ctx: typer.Context,
    streams: list[str] = typer.Argument(None, metavar="[STREAM …]", help="The streams."),
    all_: bool = typer.Option(False, "--all", help="Every stream of every aggregate, or of --aggregate."),
    due: bool = typer.Option(False, "--due", help="Those that a snapshot policy asks for."),
    aggregate: str | None = typer.Option(None, metavar="NAME", help="Fold as this aggregate. [the stream's own]"),
) -> None:
    """Save the states of streams as they are now."""
    if bool(streams) + all_ + due != 1:
        raise UsageError("it takes streams, --all or --due", fix="esctl snapshot take STREAM")
    with opened(ctx, write=True) as log:
        made = (
            (keeping.take(log, stream, aggregate) for stream in streams)
            if streams
            else keeping.take_many(log, aggregate, due=due)
        )
        records = (keeping.record(snapshot) for snapshot in made if snapshot is not None)
        output.listed(records, ctx.obj.rendering, spare=("position", "aggregate"), names=COLUMNS)


def list_(
    ctx: typer.Context,
    stream: str | None = typer.Argument(None, metavar="[STREAM]", help="Only of this stream."),
) -> None:
    """List the snapshots, newest first in each stream; `problem` says why one is not used."""
    with opened(ctx) as log:
        found = keeping.listed(log, stream)
        output.listed(found, ctx.obj.rendering, spare=("position", "taken", "bytes"), names=COLUMNS)


def verify(
    ctx: typer.Context,
    streams: list[str] = typer.Argument(None, metavar="[STREAM …]", help="Only of these streams."),
    sample: int | None = typer.Option(None, min=1, metavar="N", help="Only about N of them."),
) -> None:
    """Fold again from the beginning and compare; exit 6, with what differs, where a snapshot holds another state."""
    shared: Shared = ctx.obj
    with opened(ctx) as log:
        report = keeping.verify(log, streams or None, sample)
        output.listed(report.differences, shared.rendering, names=VERIFIED)
    if not shared.quiet:
        output.say(f"{report.checked} snapshots verified, {report.stale} stale ones left out")
    if report.differences:
        raise VerificationError(
            f"{report.wrong} snapshots are not what their streams add up to",
            why="they are never used where their hash tells; others may have given wrong states",
            fix="esctl snapshot prune   (takes away those that are of no use)",
        )


def prune(
    ctx: typer.Context,
    streams: list[str] = typer.Argument(None, metavar="[STREAM …]", help="Only of these streams."),
    keep: int = typer.Option(1, min=0, metavar="N", help="How many of each stream stay."),
) -> None:
    """Take away all but the newest snapshots of each stream, and those that are stale or damaged."""
    with opened(ctx, write=True) as log:
        output.records([{"pruned": keeping.prune(log, streams or None, keep)}], ctx.obj.rendering)


COMMANDS = {"take": take, "list": list_, "verify": verify, "prune": prune}
