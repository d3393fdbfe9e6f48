"""`esctl projection rollback`: return to the previous version of a projection."""

from __future__ import annotations

from esctl.cli.commands.projection.running import catch_up
from esctl.errors import word
from esctl.model.compiled import LIVE
from esctl.output import console
from esctl.projections import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection rollback customer_orders   the previous version becomes live"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection.")],
) -> None:
    """Make the previous version of a projection live again.

    It keeps the definition that it had, catches up, and then replaces the live version. It stays live until another
    model is applied or the projection is rebuilt. An interrupted rollback continues where it stopped.
    """
    with shared.opened(write=True, bulk=True) as log:
        number = admin.roll_back(log, name)
        version = log.store.projections().version(number)
        if version is not None and version.state == LIVE:
            console.note(
                f"{name} is rolled back already; this builds what the model says: esctl projection rebuild {word(name)}"
            )
        catch_up(shared, log, name, number)
