"""`esctl upcast show`: the chain of a type's upcasts."""

from __future__ import annotations

from esctl.events.json import Json
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.output import console, render
from esctl.sql.paths import readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl upcast show OrderPlaced            with an event before and after each step"""

STEPS = ("step", "from", "to", "operations", "position", "before", "after")


def command(
    shared: Shared,
    *,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="An event type, as stored.")],
) -> None:
    """Print the chain of a type's upcasts, with a sample for each step.

    The sample is a stored event, before and after the step.
    """
    with shared.opened() as log:
        steps = list(rewriting.steps(log, type_))
        if shared.rendering == "table":
            for step in steps:
                render.one({**_head(step), "changes": _changes(log, step)}, "table")
                console.text("\n")
            return
    texts = ({"before": step.before and Json(step.before), "after": step.after and Json(step.after)} for step in steps)
    records = ({**_head(step), **text} for step, text in zip(steps, texts, strict=True))
    render.listed(records, shared.rendering, names=STEPS)


def _head(step: rewriting.Shown) -> dict[str, object]:
    return {
        "step": step.step,
        "from": step.from_,
        "to": step.to,
        "operations": step.operations,
        "position": step.position,
    }


def _changes(log: EventLog, step: rewriting.Shown) -> str:
    """What a step changes in its sample: path, value before, value after."""
    if step.before is None or step.after is None:
        return "-"
    changes = log.store.facts().differences(step.before, step.after)
    return ", ".join(f"{readable(path)} {_change(before, after)}" for path, before, after in changes)


def _change(before: str | None, after: str | None) -> str:
    """A value before and after a step, in the words of `diff`; None: the path is missing."""
    if before is None:
        return f"added: {after}"
    return f"gone: {before}" if after is None else f"changed: {before} to {after}"
