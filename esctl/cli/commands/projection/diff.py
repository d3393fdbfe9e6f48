"""`esctl projection diff`: compare a projection at two points or under two definitions."""

from __future__ import annotations

from pathlib import Path

from esctl.cli.commands.projection.cells import only_cells, show
from esctl.errors import DifferenceError, UsageError
from esctl.evolution import plan
from esctl.model.applied import Definitions
from esctl.points.points import query_of
from esctl.projections import differences, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection diff customer_orders --from 2026-01-31 --to 2026-02-28
  esctl projection diff customer_orders --model new.toml   what another model would change"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection.")],
    from_: Annotated[str | None, typer.Option("--from", metavar="POINT", help="The earlier point.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="POINT", help="The later point. [now]")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="FILE", help="Compare with the definition in this model.")
    ] = None,
) -> int:
    """Print the rows that differ between two points or two models.

    One line per cell of a row that was added, removed or changed; exit 10 if there are any.
    """
    if (from_ is None) == (model is None) or (to is not None and model is not None):
        raise UsageError(
            "esctl projection diff takes --from POINT [--to POINT], or --model FILE", fix="esctl projection diff --help"
        )
    with shared.opened() as log:
        if model is not None:
            draft = plan.sound(Path(model))
            found = differences.against(log, name, Definitions(plan.drafted(log, draft)))
        else:
            since, until = query_of(log, None, until=from_), query_of(log, None, until=to)
            found = differences.between(log, versions.declared(log, name), since, until)
        any_ = show(only_cells(found, 2 * log.head().position), shared)
    return DifferenceError.exit_code if any_ else 0  # a difference is an answer, not an error
