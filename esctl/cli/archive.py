"""`esctl archive`: the oldest part of a log, compressed and read as if it were there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from esctl import archive, archiving, output, points, progress
from esctl.cli.options import Shared, agree, opened
from esctl.errors import UsageError, VerificationError
from esctl.log import EventLog
from esctl.segments import LEVEL, Segment
from esctl.stores.files import draft_of

ABOUT = "Compress the oldest events; they are read as before: create, list, verify, restore, export, move."
EXAMPLES = """Examples:
  esctl archive create --older-than 90d --yes      what cron runs; nothing to do is fine
  esctl archive create --before 2026-01-01 --to segments/   as files in a folder, not in the log's own
  esctl archive create --keep-last 100000 --dry-run
  esctl archive list
  esctl archive verify                    every byte; exit 6 if one is wrong
  esctl archive export 1-100000 | zstd -dc | jq .type
  esctl archive move 1-100000 --to /mnt/cold       --to log brings it back into the log's file
  esctl archive restore 1-100000          back among the hot events"""

COLUMNS = ("segment", "first_recorded", "last_recorded", "events", "bytes", "raw_bytes", "ratio", "where")
SPARE = ("raw_bytes", "last_recorded")
VERIFIED = ("segment", "ok", "events", "bytes", "problem")
INTO_LOG = "log"


def create(
    ctx: typer.Context,
    before: str | None = typer.Option(None, metavar="POINT", help="What stands, or was recorded, before this point."),
    older_than: str | None = typer.Option(None, metavar="AGE", help="What was recorded longer ago: 90d, 12h."),
    keep_last: int | None = typer.Option(None, min=0, metavar="N", help="All but the newest N events."),
    segment_events: int = typer.Option(archiving.SEGMENT_EVENTS, min=1, metavar="N", help="At most N a segment."),
    level: int = typer.Option(LEVEL, min=1, max=22, metavar="N", help="How hard zstd tries, 1 to 22."),
    to: str | None = typer.Option(None, metavar="DIR", help="As files in a folder; else they lie in the log's file."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the plan."),
) -> None:
    """Archive the oldest events. Readers see no difference; nothing to archive is no error.

    Each segment is written, read back and compared before its events leave the table. A run that was interrupted is
    simply run again. Others read and write meanwhile; a writer may have to wait for a second at the end of a segment.
    """
    shared: Shared = ctx.obj
    if before is None and older_than is None and keep_last is None:
        raise UsageError("it is not said what to archive", fix="--before POINT, --older-than 90d or --keep-last N")
    folder = None if to is None else archive.check_folder(to)
    with opened(ctx, write=not dry_run, bulk=True) as log:
        until = _until(log, before, older_than, keep_last)
        spans = archive.hot(log, until)
        events = sum(last - first + 1 for first, last in spans)
        number = sum(-(-(last - first + 1) // segment_events) for first, last in spans)
        plan = f"{events} events up to position {until} go into {number} segment{'s' * (number != 1)}"
        if dry_run:
            record = {"segments": number, "events": events, "until": until, "to": to or INTO_LOG}
            output.records([record], shared.rendering)
            return
        if not events:
            archive.tidy(log)
            if shared.verbose:
                output.say("nothing to archive")
            return
        agree(plan, yes=shared.yes, quiet=shared.quiet)
        made = archiving.create(log, spans, most=segment_events, level=level, to=folder)
        watched = progress.watched(made, "archiving", events, lambda segment: segment.events)
        if shared.rendering == "table":
            output.listed(({n: r[n] for n in COLUMNS} for r in map(archive.record, watched)), "table", SPARE)
        else:
            output.records(map(archive.record, watched), shared.rendering)


def _until(log: EventLog, before: str | None, older_than: str | None, keep_last: int | None) -> int:
    """The last position to archive: what every option allows."""
    until = log.head()[0]
    if before is not None:
        until = min(until, points.before(log, before))
    if older_than is not None:
        until = min(until, points.before(log, older_than))
    return until if keep_last is None else max(0, min(until, log.head()[0] - keep_last))


def list_(ctx: typer.Context) -> None:
    """List the segments, oldest first: positions, times, sizes, and where they lie."""
    with opened(ctx) as log:
        records = [archive.record(segment) for segment in archive.archived(log)]
    if ctx.obj.rendering == "table":
        records = [{name: record[name] for name in COLUMNS} for record in records]
    output.listed(records, ctx.obj.rendering, SPARE, COLUMNS)


def verify(
    ctx: typer.Context,
    names: list[str] = typer.Argument(None, metavar="[SEGMENT …]", help="Only these; else all."),
) -> None:
    """Read every byte of segments again, and tell anew all that is noted of them; exit 6 if anything differs."""
    with opened(ctx) as log:
        chosen = _chosen(log, names) if names else archive.archived(log)
        total = sum(segment.events for segment in chosen)
        records: list[dict[str, object]] = []
        for segment in progress.watched(chosen, "verifying", total, lambda segment: segment.events):
            problem = next(archive.problems(log, segment), None)
            known = (segment.name, problem is None, segment.events, segment.size, problem)
            records.append(dict(zip(VERIFIED, known, strict=True)))
        output.listed(records, ctx.obj.rendering, names=VERIFIED)
    wrong = [record for record in records if not record["ok"]]
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(records)} segments are damaged",
            why=f"{wrong[0]['segment']}: {wrong[0]['problem']}",
            fix="restore a backup; what is not in them can still be read: esctl replay --hot-only",
        )


def _chosen(log: EventLog, names: list[str]) -> list[Segment]:
    return [archive.named(log, name) for name in dict.fromkeys(names)]


def restore(
    ctx: typer.Context,
    names: list[str] = typer.Argument(metavar="SEGMENT …", help="Segments, as `list` names them."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the plan."),
) -> None:
    """Bring segments back into the table of hot events."""
    shared: Shared = ctx.obj
    with opened(ctx, write=not dry_run, bulk=True) as log:
        chosen = _chosen(log, names)
        events = sum(segment.events for segment in chosen)
        number = f"{len(chosen)} segment{'s' * (len(chosen) != 1)}"
        if not dry_run:
            plan = f"{events} events of {number} go back into the table of hot events"
            agree(plan, yes=shared.yes, quiet=shared.quiet)
        _tell((_restored(log, segment, dry_run=dry_run) for segment in chosen), shared.rendering)


def _restored(log: EventLog, segment: Segment, *, dry_run: bool) -> Segment:
    if not dry_run:
        archive.restore(log, segment)
    return segment


def _tell(segments: Iterable[Segment], rendering: str) -> None:
    """Print each segment when it is done; on a terminal as one table."""
    (output.listed if rendering == "table" else output.records)(map(_brief, segments), rendering)


def _brief(segment: Segment) -> dict[str, object]:
    names = ("segment", "first_position", "last_position", "events", "where")
    record = archive.record(segment)
    return {name: record[name] for name in names}


def export(
    ctx: typer.Context,
    name: str = typer.Argument(metavar="SEGMENT", help="A segment, as `list` names it."),
    file: Path | None = typer.Argument(None, metavar="[FILE]", help="A file that is not there; else stdout."),
) -> None:
    """Write a segment as the .ndjson.zst that it is: `zstd -dc` gives lines as `replay --raw-schema` does."""
    if file is None and sys.stdout.isatty():
        raise UsageError("a terminal cannot show what is compressed", fix=f"esctl archive export {name} | zstd -dc")
    with opened(ctx) as log:
        parts = archive.export(log, archive.named(log, name))
        if file is None:
            output.write(parts)
            return
        with draft_of(file) as draft, draft.open("wb") as written:
            for part in parts:
                written.write(part)
    output.records([{"segment": name, "file": str(file), "bytes": file.stat().st_size}], ctx.obj.rendering)


def move(
    ctx: typer.Context,
    names: list[str] = typer.Argument(metavar="SEGMENT …", help="Segments, as `list` names them."),
    to: str = typer.Option(..., "--to", metavar="DIR|log", help="A folder; `log`: the log's own file."),
) -> None:
    """Move segments between the log's file and a folder; their bytes and names stay the same."""
    folder = None if to == INTO_LOG else archive.check_folder(to)
    with opened(ctx, write=True, bulk=True) as log:
        _tell((archive.move(log, segment, folder) for segment in _chosen(log, names)), ctx.obj.rendering)


COMMANDS = {"create": create, "list": list_, "verify": verify, "restore": restore, "export": export, "move": move}
