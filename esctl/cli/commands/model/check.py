"""`esctl model check`: check a model file."""

from __future__ import annotations

from pathlib import Path

from esctl.errors import EsctlError
from esctl.evolution import plan
from esctl.model import checks, world
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

    Also warns of types that only one declaration names and that the log, if there is one, does not have. Needs no log.
    """
    draft, problems = plan.read(Path(file))
    render.listed((problem._asdict() for problem in problems), shared.rendering, names=PROBLEMS)
    if problems:
        error = refusal(problems)
        error.fix = "esctl help model"  # all problems are printed already
        raise error
    if not shared.quiet:
        for note in checks.doubts(draft.model):
            console.note(note)
        counts = {name: len(getattr(draft.model, name)) for name in ("events", "aggregates", "projections")}
        console.say(f"{file} is valid: {', '.join(f'{name} {count}' for name, count in counts.items())}")
        for doubt in world.doubts(draft.model, _stored(shared)):
            console.say(f"warning: {doubt}")


def _stored(shared: Shared) -> set[str] | None:
    """The types of the log's events; None if there is no log, or none that can be read, or if it is empty."""
    try:
        with shared.opened() as log:
            return world.stored(log.store.facts().names("type"))
    except EsctlError as error:
        if shared.log is not None:
            console.note(f"the log was not asked for its types: {error.what}")
        return None
