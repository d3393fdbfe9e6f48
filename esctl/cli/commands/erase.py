"""`esctl erase`: remove payloads for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from esctl.errors import RefusedError, UnavailableError, UsageError
from esctl.events.event import ranges
from esctl.log import EventLog
from esctl.output import console, progress, render
from esctl.output.terminal import clean
from esctl.upkeep import effects as effects_
from esctl.upkeep import erasure
from esctl.upkeep.traces import Traces, unfinished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

MAX_PATHS = 10  # of a state are named

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
    end the log's file is searched for what was erased. If SQLite has left copies of it in there, the file is rewritten,
    which needs free space of its size. The file does not shrink; `esctl compact --full` shrinks it.

    Before it asks, and with --dry-run, it prints which states and projection rows will differ, and names what is no
    payload and stays, though it holds the value of --subject or the name of --stream: streams, ids, marks, reasons,
    and files of esctl beside the log. The record of --dry-run has their numbers, `states`, `rows` and `remains`, and
    the first 20 of each: `first_states` (stream, aggregate, paths), `first_rows` (projection, table, change, key) and
    `first_remains` (kind, name, position); `not_compared` has the projections that a Python function makes.
    With --yes, states and rows are not compared.
    """
    if bool(events) + (stream is not None) + (subject is not None) != 1 or (types and stream is None):
        raise UsageError("esctl erase takes events, --stream or --subject", fix="esctl erase --help")
    if not reason.strip():
        raise UsageError("--reason is empty", why="the log has to say why a payload is gone")
    with shared.opened(write=not dry_run, bulk=not dry_run) as log:
        plan, traces = _plan(log, events, stream, types, subject, force=force), Traces()
        record = _record(plan)
        if not shared.quiet and (plan.positions or dry_run):
            _report_unmarked(plan)
        effects = _effects(log, plan, stream, subject, reason, compare=dry_run or not shared.yes)
        if dry_run:
            _print_plan(plan, record, effects, subject, shared)
            return
        if plan.positions:
            summary = f"this erases the payloads of {_counts(plan.types)} for good"
            shared.confirm("\n".join([summary, *_description(effects)]))
            erased = erasure.erase(log, plan.positions, reason, traces)
            sum(progress.watched(erased, "erasing", len(plan.positions), lambda count: count))
        elif not shared.quiet and not plan.left:
            console.say(_nothing(subject))
        finished = erasure.scrub(log, traces) if unfinished(log) else True
        _refuse_unmarked(plan)
    render.acknowledge(record, shared.rendering)
    if not finished:
        raise UnavailableError(
            "the payloads are erased, but their bytes may still be in the log's -wal file",
            why="another process is reading the log; rewrite the file when that process has ended",
            fix="esctl compact --full",
        )


def _record(plan: erasure.Plan) -> dict[str, object]:
    """The receipt of an erasure."""
    return {"erased": len(plan.positions), "streams": len(plan.streams), "left": sum(plan.left.values())}


def _print_plan(
    plan: erasure.Plan, record: dict[str, object], effects: effects_.Effects, subject: str | None, shared: Shared
) -> None:
    """Print what an erasure would do: its effects for a person on stderr, all of it as a record on stdout."""
    spans = " ".join(f"{low}-{high}" if low < high else str(low) for low, high in ranges(plan.positions))
    if not shared.quiet and plan.positions:
        console.say("\n".join(_description(effects)) or "no state and no row will differ")
    elif not shared.quiet and not plan.left:
        console.say(_nothing(subject))
    whole = effects.record() if shared.rendering in ("ndjson", "json") else {}
    render.one(record | {"positions": spans} | whole, shared.rendering)


def _plan(
    log: EventLog, events: Sequence[str], stream: str | None, types: Sequence[str], subject: str | None, *, force: bool
) -> erasure.Plan:
    if stream is not None:
        return erasure.of_stream(log, stream, types, force=force)
    if subject is not None:
        return erasure.of_subject(log, subject, force=force)
    return erasure.named(log, events, force=force)


def _effects(
    log: EventLog, plan: erasure.Plan, stream: str | None, subject: str | None, reason: str, *, compare: bool
) -> effects_.Effects:
    """What the erasure changes, if `compare`, and what it leaves."""
    found = effects_.Effects()
    if plan.positions:
        if compare:
            total = len(plan.streams) + 2 * log.head().position * len(log.definitions.model.projections)
            for _ in progress.watched(effects_.compare(log, plan, found), "comparing", total, lambda count: count):
                pass
        sought = effects_.sought_in(stream) if stream is not None else [(subject or "").partition("=")[2]]
        effects_.look(log, sought, reason, found, plan.positions)
    return found


def _description(effects: effects_.Effects) -> Iterator[str]:
    """The lines that describe effects to a person."""
    if effects.states:
        yield f"states that will differ: {effects.states}"
        for stream, aggregate, paths in effects.first_states:
            yield f"  {stream} ({aggregate or 'merged payloads'}): {_paths(paths)}"
        yield from _more(effects.states, len(effects.first_states))
    if effects.rows:
        yield f"projection rows that will differ: {effects.rows}"
        for projection, table, change, key in effects.first_rows:
            name = projection if table == projection else f"{projection}.{table}"
            yield f"  {name}: {', '.join(f'{column} {value}' for column, value in key.items())} ({CHANGES[change]})"
        yield from _more(effects.rows, len(effects.first_rows))
    for projection, why in effects.unknown.items():
        yield f"the projection {projection} was not compared: {why}"
    if effects.remains:
        yield f"what stays, since only payloads are erased: {effects.remains}"
        for kind, name, position in effects.first_remains:
            own = kind == "reason" and position is None
            yield f"  {'the reason that you give now: ' + name if own else KINDS[kind].format(name, position)}"
        yield from _more(effects.remains, len(effects.first_remains))


CHANGES = {"gone": "will be gone", "added": "will be added", "changed": "will change"}
KINDS = {
    "stream": "the name of the stream {0}",
    "id": "the id {0} of the event at position {1}",
    "mark": "the mark {0}",
    "reason": "the reason of an earlier erasure, at position {1}: {0}",
    "segment": "the file {0}: it holds the payloads, and another log may use it",
    "file": "the file {0} beside the log: a copy that may hold the payloads",
}


def _paths(paths: list[str]) -> str:
    if not paths:
        return "it cannot be folded before or afterwards"
    return ", ".join(paths[:MAX_PATHS]) + (f" and {len(paths) - MAX_PATHS} more" if len(paths) > MAX_PATHS else "")


def _more(count: int, listed: int) -> Iterator[str]:
    if count > listed:
        yield f"  and {count - listed} more"


def _nothing(subject: str | None) -> str:
    return f"nothing to erase: no payload has {clean(subject)}" if subject else "nothing to erase"


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
