"""`esctl erase`: remove payloads for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from esctl.errors import RefusedError, UnavailableError, UsageError
from esctl.events.event import ranges
from esctl.log import EventLog
from esctl.output import console, progress, render
from esctl.upkeep import erasure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl erase 411 --reason "request of 2026-03-01" --force --yes   by position or id
  esctl erase --stream customer-207 --reason "request" --dry-run
  esctl erase --stream customer-207 --type CustomerRegistered --reason "request" --yes
  esctl erase --subject customer_id=203 --reason "request" --yes   all events with this value"""


def command(
    shared: Shared,
    *,
    events: Annotated[Sequence[str], typer.Argument(metavar="[EVENT …]", help="Positions or ids.")] = (),
    stream: Annotated[str | None, typer.Option(metavar="S", help="All events of a stream.")] = None,
    types: Annotated[
        Sequence[str], typer.Option("--type", metavar="T", help="With --stream: only this type; may be repeated.")
    ] = (),
    subject: Annotated[
        str | None, typer.Option(metavar="FIELD=VALUE", help="Events with this value in their data.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the log keeps this text.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also erase types that the model does not mark erasable.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Remove payloads for good; the log can still be verified.

    The events stay, without data and meta. Archived events are erased too, and snapshots of these streams are deleted.
    Earlier copies (backups, exports) keep the payloads. An event in the log records the reason and the actor. At the
    end the log's file is rewritten, so that no bytes of the payloads remain; this needs free space of the file's size.
    """
    if bool(events) + (stream is not None) + (subject is not None) != 1 or (types and stream is None):
        raise UsageError("esctl erase takes events, --stream or --subject", fix="esctl erase --help")
    if not reason.strip():
        raise UsageError("--reason is empty", why="the log has to say why a payload is gone")
    with shared.opened(write=not dry_run, bulk=not dry_run) as log:
        plan = _plan(log, events, stream, types, subject, force=force)
        record = {"erased": len(plan.positions), "streams": plan.streams, "left": sum(plan.left.values())}
        if not shared.quiet and plan.positions:
            _report_unmarked(plan)
        summary = (
            f"this erases the payloads of {_counts(plan.types)} for good" if plan.positions else "nothing to erase"
        )
        if dry_run:
            spans = " ".join(f"{low}-{high}" if low < high else str(low) for low, high in ranges(plan.positions))
            render.one(record | {"positions": spans}, shared.rendering)
            return
        if plan.positions:
            shared.confirm(summary)
            erased = erasure.erase(log, plan.positions, reason)
            for _ in progress.watched(erased, "erasing", len(plan.positions), lambda count: count):
                pass
        elif not shared.quiet:
            console.say(summary)
        finished = erasure.scrub(log) if erasure.unfinished(log) else True
        _refuse_unmarked(plan)
    render.acknowledge(record, shared.rendering)
    if not finished:
        raise UnavailableError(
            "the payloads are erased, but their bytes may still be in the log's -wal file",
            why="another process is reading the log; rewrite the file when that process has ended",
            fix="esctl compact --full",
        )


def _plan(
    log: EventLog, events: Sequence[str], stream: str | None, types: Sequence[str], subject: str | None, *, force: bool
) -> erasure.Plan:
    if stream is not None:
        return erasure.of_stream(log, stream, types, force=force)
    if subject is not None:
        return erasure.of_subject(log, subject, force=force)
    return erasure.named(log, events, force=force)


def _refuse_unmarked(plan: erasure.Plan) -> None:
    if plan.left and not plan.positions:
        raise RefusedError(
            f"none of these events may be erased: {', '.join(plan.left)}",
            why="the log's model does not mark these types erasable; --force erases them all the same",
            again="--force",
        )


def _report_unmarked(plan: erasure.Plan) -> None:
    if plan.left:
        console.say(
            f"not erased, because the model does not mark them erasable: {_counts(plan.left)} (--force erases them)"
        )


def _counts(types: Counter[str]) -> str:
    return ", ".join(f"{count} {type_}" for type_, count in types.most_common())
