"""`esctl dead-letter drop`: give events up for good."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.output import render
from esctl.reactions import dead_letters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl dead-letter drop mail order-1042 --dry-run
  esctl dead-letter drop mail --all --yes"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The reaction.")],
    letters: Annotated[
        Sequence[str], typer.Argument(metavar="[STREAM|POSITION …]", help="The streams or positions of the events.")
    ] = (),
    all_: Annotated[bool, typer.Option("--all", help="All dead letters of the reaction.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Give up the event of a dead letter for good.

    The events that wait behind it are handled, by the process that runs the reaction, or by its next run.
    """
    with shared.opened(write=not dry_run) as log:
        chosen = dead_letters.choose(log, name, letters, all_=all_)
        records = [dead_letters.brief(letter) for letter in chosen]
        if not dry_run:
            events = ", ".join(f"#{letter.position} in {letter.stream}" for letter in chosen) or "no event"
            shared.confirm(f"{name} never handles these: {events}")
            dead_letters.ask(log, chosen, skip=True)
    render.acknowledge_each(records, shared.rendering, names=dead_letters.BRIEF)
