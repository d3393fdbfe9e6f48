"""`esctl projection rebuild`: build a projection again from the first event."""

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
        bool, typer.Option("--from-scratch", help="Discard the work of an unfinished rebuild.")
    ] = False,
) -> None:
    """Build a new version beside the live one, then switch.

    Readers see the live version until the new one has caught up and replaces it. An interrupted rebuild continues where
    it stopped.
    """
    with shared.opened(write=True, bulk=True) as log:
        number = admin.rebuild(log, name, from_scratch=from_scratch)
        catch_up(shared, log, name, number)
