"""`esctl migrate`: bring a log to this esctl's storage version."""

from __future__ import annotations

from pathlib import Path

from esctl.errors import StorageVersionError, word
from esctl.output import render
from esctl.store import migrations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl migrate --check                    exit 7 if the log needs it
  esctl migrate --yes                      copies the log beside itself, then migrates it"""


def command(
    shared: Shared,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it is needed; exit 7 if it is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
) -> None:
    """Bring an older log to this esctl's storage version.

    A copy is put beside it first.
    """
    log = Path(shared.path)
    steps = migrations.pending(log)
    record: dict[str, object] = {"log": str(log), "pending": len(steps), "steps": " ".join(steps), "copy": None}
    if check or dry_run:
        render.one(record, shared.rendering)
        if steps and check:
            raise StorageVersionError(
                f"{log} needs {len(steps)} migrations", fix=f"esctl migrate --yes --log {word(log)}"
            )
        return
    if steps:
        shared.agree(f"{log}: {', '.join(steps)}; a copy goes beside it first")
        record["copy"] = str(migrations.migrate(log, shared.timeout))
    render.acknowledge(record, shared.rendering)
