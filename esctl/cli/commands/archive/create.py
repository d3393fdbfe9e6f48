"""`esctl archive create`: move the oldest events into segments."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.archive import creation, folders, listing, tidying
from esctl.errors import UsageError
from esctl.log import EventLog
from esctl.output import console, progress, render
from esctl.points.located import located
from esctl.store.segments import LEVEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import By, DryRun

EXAMPLES = """Examples:
  esctl archive create --older-than 90d --yes   for cron; exit 0 if there is nothing to archive
  esctl archive create --before '#201' --segment-events 100 --to segments --yes
  esctl archive create --before 2026-04-01 --by time --yes   an imported history: what happened before then
  esctl archive create --keep-last 100 --dry-run"""

COLUMNS = ("segment", "first_recorded", "last_recorded", "events", "bytes", "raw_bytes", "ratio", "where")
SPARE = ("raw_bytes", "last_recorded")
INTO_LOG = "log"


def command(
    shared: Shared,
    *,
    before: Annotated[
        str | None, typer.Option(metavar="POINT", help="Events before this point; a time: recorded before.")
    ] = None,
    older_than: Annotated[str | None, typer.Option(metavar="AGE", help="Events recorded longer ago: 90d, 12h.")] = None,
    keep_last: Annotated[int | None, typer.Option(min=0, metavar="N", help="All but the newest N events.")] = None,
    by: By = None,
    segment_events: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most N events per segment.")
    ] = creation.SEGMENT_EVENTS,
    level: Annotated[
        int, typer.Option(min=1, max=22, metavar="N", help="The compression level of zstd, 1 to 22.")
    ] = LEVEL,
    to: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write segments as files to this folder. [the log's own file]")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Archive the oldest events; readers see no difference.

    Each segment is written, read back and compared before its events leave the table. Exit 0 if there is nothing to
    archive. To continue an interrupted run, run the same command again. Others can read and write meanwhile; a writer
    may wait for a second at the end of a segment. Archiving is faster the more of the log it covers.
    """
    if before is None and older_than is None and keep_last is None:
        what = "esctl archive create needs --before POINT, --older-than AGE or --keep-last N"
        raise UsageError(what, fix="esctl archive create --help")
    if by and before is None and older_than is None:
        raise UsageError("--by needs --before or --older-than", fix="esctl archive create --help")
    folder = None if to is None else folders.check_folder(to)
    with shared.opened(write=not dry_run, bulk=True) as log:
        until, notes = _until(log, {"--before": before, "--older-than": older_than}, keep_last, by)
        console.notes(notes)
        spans = listing.hot(log, until)
        events = sum(last - first + 1 for first, last in spans)
        number = sum(-(-(last - first + 1) // segment_events) for first, last in spans)
        if dry_run:
            render.one({"segments": number, "events": events, "until": until, "to": to or INTO_LOG}, shared.rendering)
            return
        if not events:
            tidying.tidy(log)
            if shared.verbose:
                console.say("nothing to archive")
            return
        shared.confirm(
            f"this archives {events} events, up to position {until}, in {number} segment{'s' * (number != 1)}"
        )
        segments = creation.create(log, spans, most=segment_events, level=level, to=folder)
        watched = progress.watched(segments, "archiving", events, lambda segment: segment.events)
        records: Iterable[dict[str, object]] = map(listing.record, watched)
        if shared.rendering == "table":
            records = ({name: record[name] for name in COLUMNS} for record in records)
        render.acknowledge_each(records, shared.rendering, spare=SPARE)


def _until(
    log: EventLog, bounds: dict[str, str | None], keep_last: int | None, by: str | None
) -> tuple[int, list[str]]:
    """The last position to archive: the lowest that the options allow; and what a user may not expect of it."""
    found = {option: located(log, text, by=by, before=True) for option, text in bounds.items() if text is not None}
    until = min([log.head().position, *(one.position for one in found.values())])
    # A log younger than AGE is as it should be, and so are events that were recorded a little late.
    notes = [one.note for option, one in found.items() if one.note and (option == "--before" or one.imported)]
    return until if keep_last is None else max(0, min(until, log.head().position - keep_last)), notes
