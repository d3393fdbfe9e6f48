"""`esctl projection verify`: projections, compared with what events make of them."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.cli.commands.projection.cells import only_cells, show
from esctl.errors import VerificationError, word
from esctl.output import console
from esctl.projections import differences, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection verify                  exit 6 if a row differs
  esctl projection verify customer_orders"""


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[NAME …]", help="Only these; else all.")] = (),
) -> None:
    """Build projections anew and compare cells; exit 6 if one differs.

    They are built up to where they are, beside what is there.
    """
    wrong: list[str] = []
    with shared.opened() as log:
        lives = [version for version in log.store.projections().versions() if version.state == "live"]
        known = [version.name for version in lives if version.compiled.on]
        chosen = [versions.declared(log, name).name for name in names] or known
        if not names and len(known) < len(lives) and not shared.quiet:
            console.say("note: what Python functions keep is not verified")
    for name in chosen:
        with shared.opened() as log:  # each with temporary tables of its own
            if show(only_cells(differences.checked(log, name), log.head().position), shared):
                wrong.append(name)
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(chosen)} projections hold what their handlers do not say",
            why=f"{', '.join(wrong)}: somebody changed a table by hand, or a handler depends on more than its events",
            fix=f"esctl projection rebuild {word(wrong[0])}",
        )
    if not shared.quiet:
        console.say(f"{len(chosen)} projections verified")
