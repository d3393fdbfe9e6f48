"""`esctl archive export`: write a segment as a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from esctl.archive import listing, moving
from esctl.errors import UsageError, word
from esctl.output import console, render
from esctl.store.files import draft_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl archive export 1-100 | zstd -dc | jq .type
  esctl archive export 1-100 first.ndjson.zst"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="SEGMENT", help="A segment, as `archive list` names it.")],
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="A new file. [stdout]")] = None,
) -> None:
    """Write a segment as an .ndjson.zst file.

    `zstd -dc` prints its lines, which are those of `replay --raw-schema --system`.
    """
    if file is None and sys.stdout.isatty():
        raise UsageError(
            "compressed data does not go to a terminal", fix=f"esctl archive export {word(name)} | zstd -dc"
        )
    with shared.opened() as log, log.store.one_state():
        parts = moving.export(log, listing.named(log, name))
        if file is None:
            console.write(parts)
            return
        with draft_of(Path(file)) as draft, draft.open("wb") as written:
            for part in parts:
                written.write(part)
    render.acknowledge({"segment": name, "file": file, "bytes": os.stat(file).st_size}, shared.rendering)
