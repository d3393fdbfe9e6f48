"""`esctl model plan`: what applying a model would change."""

from __future__ import annotations

from pathlib import Path

from esctl.errors import DifferenceError, word
from esctl.evolution import plan
from esctl.output import console, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl model plan shop.toml               what would change, and the cost
  esctl model plan shop.toml --check       exit 10 if anything would change"""

CHANGES = ("change", "kind", "name", "events", "snapshots", "projections", "misfits", "detail")
_COSTS = ("events", "snapshots", "projections", "misfits")


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The model file (TOML).")],
    check: Annotated[bool, typer.Option("--check", help="Exit 10 if anything would change.")] = False,
) -> None:
    """Print what applying a model would change, and the cost.

    The log does not change.
    """
    draft = plan.sound(Path(file))
    with shared.opened() as log:
        planned = plan.plan(log, draft)
    show(planned, shared)
    if check and planned.changes:
        raise DifferenceError(
            f"applying {file} would make {len(planned.changes)} change{'s' * (len(planned.changes) > 1)}",
            fix=f"esctl model apply {word(file)}",
        )


def show(planned: plan.Plan, shared: Shared) -> None:
    """Print a plan."""
    columns = [name for name in CHANGES if shared.rendering != "table" or name not in _COSTS or _has_any(planned, name)]
    records = ({name: getattr(change, name) for name in columns} for change in planned.changes)
    render.listed(records, shared.rendering, spare=("detail",), names=CHANGES)
    if not planned.changes and not shared.quiet:
        console.say("nothing would change")
    say_doubts(planned, shared)


def say_doubts(planned: plan.Plan, shared: Shared) -> None:
    """Say which declarations look misspelt, and whose events the model would stamp with a version they may not have."""
    if not shared.quiet:
        for doubt in planned.doubts:
            console.say(f"warning: {doubt}")
        for risk in planned.risks:
            console.note(str(risk))


def _has_any(planned: plan.Plan, name: str) -> bool:
    return any(getattr(change, name) for change in planned.changes)
