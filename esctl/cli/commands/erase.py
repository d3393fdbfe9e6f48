"""`esctl erase`: payloads removed for good."""

from __future__ import annotations

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

EXAMPLES = """Examples:
  esctl erase 411 --reason "request of 2026-03-01" --force --yes   by position or id
  esctl erase --stream customer-207 --reason "request" --dry-run
  esctl erase --stream customer-207 --type CustomerRegistered --reason "request" --yes
  esctl erase --subject customer_id=203 --reason "request" --yes   wherever the payload says so"""


def command(
    shared: Shared,
    *,
    events: Annotated[Sequence[str], typer.Argument(metavar="[EVENT …]", help="Positions or ids.")] = (),
    stream: Annotated[str | None, typer.Option(metavar="S", help="The events of a stream.")] = None,
    types: Annotated[
        Sequence[str], typer.Option("--type", metavar="T", help="With --stream: only this type; may be repeated.")
    ] = (),
    subject: Annotated[
        str | None, typer.Option(metavar="FIELD=VALUE", help="Events with this value in their data.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stays in the log.")],
    force: Annotated[bool, typer.Option("--force", help="Types, too, that the model does not mark erasable.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
) -> None:
    """Remove payloads for good; the log still proves itself.

    The events stay, without data and meta. Archived ones are erased as well, and snapshots that held them. Copies made
    earlier (backups, exports) still have them. The reason and who did it are kept as an event of the log's own. At the
    end the log's file is written anew, so that nothing is left in it, which takes as much room again for a while.
    """
    if bool(events) + (stream is not None) + (subject is not None) != 1 or (types and stream is None):
        raise UsageError("it takes events, --stream or --subject", fix="esctl erase --help")
    if not reason.strip():
        raise UsageError("--reason is empty", why="it is all that will say why the payload is gone")
    with shared.opened(write=not dry_run, bulk=not dry_run) as log:
        plan = _plan(log, events, stream, types, subject, force=force)
        record = {"erased": len(plan.positions), "streams": plan.streams, "left": sum(plan.left.values())}
        if not shared.quiet and plan.positions:
            _tell_left(plan)
        told = ", ".join(f"{count} {type_}" for type_, count in plan.types.most_common())
        said = f"the payloads of {told} go for good" if plan.positions else "there is nothing to erase"
        if dry_run:
            spans = " ".join(f"{low}-{high}" if low < high else str(low) for low, high in ranges(plan.positions))
            render.one(record | {"positions": spans}, shared.rendering)
            return
        if plan.positions:
            shared.agree(said)
            erased = erasure.erase(log, plan.positions, reason)
            for _ in progress.watched(erased, "erasing", len(plan.positions), lambda count: count):
                pass
        elif not shared.quiet:
            console.say(said)
        finished = erasure.scrub(log) if erasure.unfinished(log) else True
        _refuse_unmarked(plan)
    render.acknowledge(record, shared.rendering)
    if not finished:
        raise UnavailableError(
            "the payloads are erased, but their bytes may still stand in the log's -wal file",
            why="somebody reads the log just now; write the file anew when that has ended",
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
            why="the log's model does not say erasable = true of these types; --force goes past it",
            again="--force",
        )


def _tell_left(plan: erasure.Plan) -> None:
    if plan.left:
        told = ", ".join(f"{count} {type_}" for type_, count in plan.left.most_common())
        console.say(f"left as they are, since the model does not mark them erasable: {told} (--force reaches them)")
