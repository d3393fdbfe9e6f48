"""`esctl migrate`: migrate a log to the storage version of this esctl."""

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
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl migrate --check                    exit 7 if the log needs it
  esctl migrate --yes                      copies the log to a file beside it, then migrates it"""


def command(
    shared: Shared,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only print what is pending; exit 7 if anything is.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Migrate an older log to the storage version of this esctl.

    It first copies the log to a file beside it.
    """
    log = Path(shared.path)
    steps = migrations.pending(log)
    record: dict[str, object] = {"log": str(log), "pending": len(steps), "steps": " ".join(steps), "copy": None}
    if check or dry_run:
        render.one(record, shared.rendering)
        if steps and check:
            raise StorageVersionError(
                f"{log} needs {len(steps)} migration{'s' * (len(steps) != 1)}",
                fix=f"esctl migrate --yes --log {word(log)}",
            )
        return
    if steps:
        shared.confirm(f"this copies {log} to a file beside it, then runs: {', '.join(steps)}")
        record["copy"] = str(migrations.migrate(log, shared.timeout))
    render.acknowledge(record, shared.rendering)
