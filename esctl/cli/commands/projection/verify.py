"""`esctl projection verify`: compare projections with a build from the first event."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.cli.commands.projection.cells import only_cells, show
from esctl.errors import ConflictError, VerificationError, word
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
    names: Annotated[Sequence[str], typer.Argument(metavar="[NAME …]", help="Only these. [all]")] = (),
) -> None:
    """Build projections again and compare cells; exit 6 if one differs.

    It builds each one in temporary tables, up to its position, and compares.
    """
    differing: list[str] = []
    skipped = 0
    with shared.opened() as log:
        live = [version for version in log.store.projections().versions() if version.state == "live"]
        with_handlers = [version.name for version in live if version.compiled.on]
        chosen = [versions.declared(log, name).name for name in names] or with_handlers
        if not names and len(with_handlers) < len(live):
            console.note("projections with a Python function are not verified")
    for name in chosen:
        with shared.opened() as log:  # each with temporary tables of its own
            try:
                if show(only_cells(differences.checked(log, name), log.head().position), shared):
                    differing.append(name)
            except ConflictError as error:  # an erasure goes on, and rebuilds it
                if names:
                    raise
                skipped += 1
                console.note(f"{error.what}; {error.why}; it is not verified")
    if differing:
        raise VerificationError(
            f"{len(differing)} of {len(chosen)} projections differ from what their handlers give",
            why=f"{', '.join(differing)}: a table was changed by hand, or a handler depends on more than its events",
            fix=f"esctl projection rebuild {word(differing[0])}",
        )
    if not shared.quiet:
        verified = len(chosen) - skipped
        console.say(f"{verified} projection{'s' * (verified != 1)} verified")
