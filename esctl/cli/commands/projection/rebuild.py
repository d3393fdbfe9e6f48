"""`esctl projection rebuild`: a projection, from the first event on."""

from __future__ import annotations

from esctl.cli.commands.projection.running import catch_up
from esctl.projections import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl projection rebuild customer_orders
  esctl projection rebuild customer_orders --from-scratch"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection.")],
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Throw away what an unfinished rebuild has done.")
    ] = False,
) -> None:
    """Build a projection anew beside the old one, then switch.

    The old one is read until the new one has caught up and takes its place. What was interrupted goes on from where it
    was.
    """
    with shared.opened(write=True, bulk=True) as log:
        number = admin.rebuild(log, name, from_scratch=from_scratch)
        catch_up(shared, log, name, number)
