"""`esctl model show`: print a model that was applied."""

from __future__ import annotations

from esctl.cli.commands.model.history import APPLIED
from esctl.errors import NotFoundError
from esctl.output import console, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl model show > model.toml            the newest
  esctl model show 1                       the first that was applied"""


def command(
    shared: Shared,
    *,
    number: Annotated[
        int | None,
        typer.Argument(metavar="[NUMBER]", help="1 for the first that was applied, 2 for the second … [the newest]"),
    ] = None,
) -> None:
    """Print the text of a model that was applied."""
    with shared.opened() as log:
        models = list(log.models()) if number is not None else [m for m in (log.definitions.applied,) if m]
    found = [model for model in models if number is None or model.number == number]
    if not found:
        raise NotFoundError(
            "the log has no model" if number is None else f"the log has no model {number}",
            fix="esctl model apply --help" if number is None else "esctl model history",
        )
    if shared.format in ("json", "ndjson"):  # only if asked for: a redirection wants the text
        render.one({name: getattr(found[0], name) for name in (*APPLIED, "text")}, shared.format)
    else:
        console.write_data([found[0].text.encode()])
