"""`esctl model check`: check a model file."""

from __future__ import annotations

from pathlib import Path

from esctl.evolution import plan
from esctl.model import checks
from esctl.model.declared import refusal
from esctl.output import console, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl model check shop.toml              lists all problems"""

PROBLEMS = ("place", "problem", "hint")


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The model file (TOML).")],
) -> None:
    """Check a model file; exit 5 if it has problems.

    Needs no log.
    """
    draft, problems = plan.read(Path(file))
    render.listed((problem._asdict() for problem in problems), shared.rendering, names=PROBLEMS)
    if problems:
        error = refusal(problems)
        error.fix = "esctl help model"  # all problems are printed already
        raise error
    if not shared.quiet:
        for doubt in checks.doubts(draft.model):
            console.say(f"note: {doubt}")
        counts = {name: len(declared) for name, declared in draft.model._asdict().items()}
        console.say(f"{file} is valid: {', '.join(f'{name} {count}' for name, count in counts.items())}")
