"""`esctl projection rollback`: the previous version of a projection."""

from __future__ import annotations

from esctl.cli.commands.projection.running import catch_up
from esctl.projections import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection rollback customer_orders   the version before it is live again"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection.")],
) -> None:
    """Bring the previous version of a projection back.

    With the definition that it had: caught up, then switched. It stays until another model is applied, or the
    projection is rebuilt.
    """
    with shared.opened(write=True, bulk=True) as log:
        number = admin.roll_back(log, name)
        catch_up(shared, log, name, number)
