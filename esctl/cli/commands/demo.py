"""`esctl demo`: a sample log with a model, to try things on."""

from __future__ import annotations

from esctl.cli import sample_shop
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl demo                               creates the folder esctl-demo
  esctl demo shop && cd shop && esctl types"""


def command(
    shared: Shared,
    *,
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="The folder to create.")] = "esctl-demo",
) -> None:
    """Create a folder with a sample log, its model and its events.

    The events are three months of orders, payments and shipments of a small shop. `sh tour.sh` in the folder is a tour.
    """
    render.acknowledge(sample_shop.make(folder), shared.rendering)
