"""`esctl projection rollback`: return to the previous version of a projection."""

from __future__ import annotations

from esctl.cli.commands.projection.running import catch_up
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
    model is applied or the projection is rebuilt.
    """
    with shared.opened(write=True, bulk=True) as log:
        number = admin.roll_back(log, name)
        catch_up(shared, log, name, number)
