"""`esctl dead-letter retry`: handle dead letters again."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.output import console, render
from esctl.reactions import dead_letters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl dead-letter retry mail order-1042   it, and what waits behind it
  esctl dead-letter retry mail --all"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")],
    letters: Annotated[
        Sequence[str], typer.Argument(metavar="[STREAM|POSITION …]", help="The streams or positions of the events.")
    ] = (),
    all_: Annotated[bool, typer.Option("--all", help="All dead letters of the reaction.")] = False,
) -> None:
    """Have a reaction handle dead letters again.

    The events that wait behind them follow. If the reaction is not running, its next run does it: esctl react NAME.
    """
    with shared.opened(write=True) as log:
        chosen = dead_letters.choose(log, name, letters, all_=all_)
        records = [dead_letters.brief(letter) for letter in chosen]
        dead_letters.ask(log, chosen, skip=False)
        if not dead_letters.is_running(log, name):
            console.note(f"the reaction is not running: esctl react {name}")
    render.acknowledge_each(records, shared.rendering, names=dead_letters.BRIEF)
