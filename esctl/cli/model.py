"""`esctl model`: what the log knows of its domain."""

from __future__ import annotations

from pathlib import Path

import typer

from esctl import output, plan, standing
from esctl.cli.options import Shared, agree, opened
from esctl.definitions import history as applied
from esctl.errors import DifferenceError, NotFoundError
from esctl.model import refusal

ABOUT = "What the log knows of its domain: event schemas and upcasts, aggregates and rules (esctl help model)."
EXAMPLES = """Examples:
  esctl model check shop.toml             names everything that is wrong with it
  esctl model plan shop.toml              what would be new, changed or gone, and what that costs
  esctl model plan shop.toml --check      exit 10 if anything would change
  esctl model apply shop.toml             keeps it in the log; what it says holds from then on
  esctl model show > shop.toml
  esctl model history"""

PROBLEMS = ("place", "problem", "hint")
CHANGES = ("change", "kind", "name", "events", "snapshots", "projections", "misfits", "detail")
_COSTS = ("events", "snapshots", "projections", "misfits")
APPLIED = ("number", "position", "time", "actor", "fingerprint")

File = typer.Argument(metavar="FILE", help="The model, TOML.")


def check(ctx: typer.Context, file: Path = File) -> None:
    """Judge a model file; exit 5 if anything is wrong with it. Needs no log."""
    draft, problems = plan.read(file)
    output.listed((problem._asdict() for problem in problems), ctx.obj.rendering, names=PROBLEMS)
    if problems:
        error = refusal(problems)
        error.fix = "esctl help model"  # every problem is printed already
        raise error
    if not ctx.obj.quiet:
        counts = {name: len(declared) for name, declared in draft.model._asdict().items()}
        output.say(f"{file} is sound: {', '.join(f'{name} {count}' for name, count in counts.items())}")


def plan_(
    ctx: typer.Context,
    file: Path = File,
    check: bool = typer.Option(False, "--check", help="Exit 10 if anything would change."),
) -> None:
    """Print what applying a model would change, and what each change costs; changes nothing."""
    draft = plan.sound(file)
    with opened(ctx) as log:
        planned = plan.plan(log, draft)
    _print(planned, ctx.obj)
    if check and planned.changes:
        raise DifferenceError(f"{len(planned.changes)} things would change", fix=f"esctl model apply {file}")


def apply(
    ctx: typer.Context,
    file: Path = File,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the plan."),
) -> None:
    """Keep a model in the log; what it says holds from then on. Every earlier one is kept too."""
    shared: Shared = ctx.obj
    draft = plan.sound(file)
    with opened(ctx, write=True) as log:
        planned = plan.plan(log, draft)
        if dry_run:
            _print(planned, shared)
            return
        _warn(planned)
        if planned.unreadable or planned.dropped:
            agree(_dangers(planned), yes=shared.yes)
        receipt = plan.apply(log, draft, planned.position)
        holds = log.definitions.applied
        if not shared.quiet and receipt is not None and standing.waiting(log):
            output.say("note: projections wait for events that are there: esctl projection run")
    record: dict[str, object] = {
        "applied": receipt is not None,
        "changes": len(planned.changes),
        "number": holds.number if holds else None,
        "position": holds.position if holds else None,
        "fingerprint": holds.fingerprint if holds else None,
    }
    output.records([record], shared.rendering)


def _print(planned: plan.Plan, shared: Shared) -> None:
    columns = [name for name in CHANGES if shared.rendering != "table" or name not in _COSTS or _any(planned, name)]
    records = ({name: getattr(change, name) for name in columns} for change in planned.changes)
    output.listed(records, shared.rendering, spare=("detail",), names=CHANGES)
    if not planned.changes and not shared.quiet:
        output.say("nothing would change")


def _any(planned: plan.Plan, name: str) -> bool:
    return any(getattr(change, name) for change in planned.changes)


def _warn(planned: plan.Plan) -> None:
    """Say which stored events do not pass what is about to hold."""
    for change in planned.changes:
        if change.misfits:
            output.say(f"warning: {change.misfits} stored events do not pass the {change.kind} of {change.name}")


def _dangers(planned: plan.Plan) -> str:
    dangers = [f"{planned.unreadable} stored events cannot be read any more"] * bool(planned.unreadable)
    dangers += [f"the projection {name} is dropped" for name in planned.dropped]
    return "; ".join(dangers)


def show(
    ctx: typer.Context,
    number: int | None = typer.Argument(
        None, metavar="[NUMBER]", help="The how many-th that was applied. [the newest]"
    ),
) -> None:
    """Print a model that was applied, as it was written."""
    with opened(ctx) as log:
        models = list(applied(log.store)) if number is not None else [m for m in (log.definitions.applied,) if m]
    found = [model for model in models if number is None or model.number == number]
    if not found:
        raise NotFoundError(
            "the log has no model" if number is None else f"the log has no model {number}",
            fix="esctl model apply FILE" if number is None else "esctl model history",
        )
    if ctx.obj.format in ("json", "ndjson"):  # asked for; the text is what a redirection wants
        output.one({name: getattr(found[0], name) for name in (*APPLIED, "text")}, ctx.obj.format)
    else:
        output.text(found[0].text)


def history(ctx: typer.Context) -> None:
    """List every model that was applied, oldest first."""
    with opened(ctx) as log:
        records = [{name: getattr(model, name) for name in APPLIED} for model in applied(log.store)]
    output.listed(records, ctx.obj.rendering, spare=("position",), names=APPLIED)


COMMANDS = {"check": check, "plan": plan_, "apply": apply, "show": show, "history": history}
