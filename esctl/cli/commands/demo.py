"""`esctl demo`: a sample log and its model, to try things on."""

from __future__ import annotations

from esctl.cli import sample_shop
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl demo                               makes the folder esctl-demo
  esctl demo shop && cd shop && esctl types"""


def command(
    shared: Shared,
    *,
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="The folder; it is made.")] = "esctl-demo",
) -> None:
    """Make a folder with a sample log, its model and its events.

    The events of a small shop: three months of orders, payments and shipments. `sh tour.sh` in it shows what can be
    done with them.
    """
    render.acknowledge(sample_shop.make(folder), shared.rendering)
