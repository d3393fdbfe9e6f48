"""`esctl upcast`: old schemas, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from esctl import conformance, output, progress, rewriting
from esctl.cli.options import Shared, agree, opened
from esctl.errors import UsageError, VerificationError
from esctl.log import EventLog
from esctl.text import Json

ABOUT = "Old schemas and how they are read: check, show, rewrite."
EXAMPLES = """Examples:
  esctl upcast check                      every stored event through its upcasts and JSON Schemas; exit 6 if one fails
  esctl upcast show OrderPlaced           the chain, with a sample before and after each step
  esctl upcast rewrite --to new.db        a new log in which every event has its newest schema"""

FAILURES = ("position", "type", "schema", "reason")
COUNTS = ("type", "schema", "events", "read_as", "failed")
STEPS = ("step", "from", "to", "operations", "position", "before", "after")


def check(
    ctx: typer.Context,
    sample: int | None = typer.Option(None, min=1, metavar="N", help="Only about N events, spread over the log."),
) -> None:
    """Read every stored event as the model has it; exit 6, naming position and reason, where one does not fit."""
    shared: Shared = ctx.obj
    with opened(ctx) as log:
        rows = conformance.check(
            log,
            log.definitions,
            sample,
            lambda events, total: progress.watched(events, "checking", total, lambda _: 1),
        )
    failures = [failure for row in rows for failure in row.failures]
    whole = shared.rendering in ("ndjson", "json")
    output.listed((_counted(row, whole=whole) for row in rows), shared.rendering, names=COUNTS)
    failed = sum(row.failed for row in rows)
    if failed:
        for failure in () if whole else failures:
            output.say(f"#{failure.position} {failure.type} {failure.schema}: {failure.reason}")
        raise VerificationError(
            f"{failed} stored events do not fit the model",
            why=f"position {failures[0].position}: {failures[0].reason}",
            fix=f"esctl replay --since '#{failures[0].position}' --limit 1 --raw-schema   (shows it as it is stored)",
        )


def _counted(row: conformance.Row, *, whole: bool) -> dict[str, object]:
    """A row as it is printed; `whole`: with its failures."""
    made: dict[str, object] = {name: getattr(row, name) for name in COUNTS}
    failures = [{name: getattr(failure, name) for name in FAILURES} for failure in row.failures]
    return made | ({"failures": failures} if whole else {})


def show(
    ctx: typer.Context, type_: str = typer.Argument(metavar="TYPE", help="An event type, as it is stored.")
) -> None:
    """Print the chain of a type's upcasts, with a stored event before and after each step."""
    with opened(ctx) as log:
        steps = list(rewriting.steps(log, type_))
        if ctx.obj.rendering == "table":
            for step in steps:
                output.one({**_head(step), "changes": _changes(log, step)}, "table")
                output.text("\n")
            return
    texts = ({"before": step.before and Json(step.before), "after": step.after and Json(step.after)} for step in steps)
    records = ({**_head(step), **text} for step, text in zip(steps, texts, strict=True))
    output.listed(records, ctx.obj.rendering, names=STEPS)


def _head(step: rewriting.Shown) -> dict[str, object]:
    return {
        "step": step.step,
        "from": step.from_,
        "to": step.to,
        "operations": step.operations,
        "position": step.position,
    }


def _changes(log: EventLog, step: rewriting.Shown) -> str:
    """What a step makes of its sample: a line a field that is not as it was."""
    if step.before is None or step.after is None:
        return "-"
    changes = log.store.differences(step.before, step.after)
    return ", ".join(f"{path.removeprefix('$.')} {before or '-'} -> {after or '-'}" for path, before, after in changes)


def rewrite(
    ctx: typer.Context,
    to: Path = typer.Option(..., "--to", metavar="FILE", help="The new log; it must not be there."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the plan."),
) -> None:
    """Make a new log in which every event has its newest schema; this one is not touched.

    Ids, times and order stay; positions too, but behind an event that is split, since its parts need their own.
    """
    shared: Shared = ctx.obj
    if os.path.lexists(to):
        raise UsageError(f"{to} is there already", fix="name a file that does not exist")
    with opened(ctx) as log:
        planned = rewriting.plan(log)
        if dry_run:
            output.records([{"to": str(to), **planned}], shared.rendering)
            return
        agree(f"{to}: {', '.join(f'{count} {what}' for what, count in planned.items())}", yes=shared.yes)
        report = rewriting.rewrite(
            log, to, lambda events, total: progress.watched(events, "rewriting", total, lambda _: 1)
        )
    output.records([report], shared.rendering)


COMMANDS = {"check": check, "show": show, "rewrite": rewrite}
