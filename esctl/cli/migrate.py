"""`esctl migrate`: bring a log to this esctl's storage version."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import agree, path
from esctl.errors import StorageVersionError

EXAMPLES = """Examples:
  esctl migrate --check                   what would be done; exit 7 if the log needs it
  esctl migrate --yes                     copies the log beside itself, then migrates it"""


def command(
    ctx: typer.Context,
    check: bool = typer.Option(False, "--check", help="Only say whether it is needed; exit 7 if it is."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the plan."),
) -> None:
    """Bring an older log to this esctl's storage version, after a copy beside it."""
    from esctl.stores import migrations  # noqa: PLC0415 - sqlite-utils, for the two commands that need it

    log = path(ctx)
    steps = migrations.pending(log)
    record: dict[str, object] = {"log": str(log), "pending": len(steps), "steps": " ".join(steps), "copy": None}
    if not steps or check or dry_run:
        output.records([record], ctx.obj.rendering)
        if steps and check:
            raise StorageVersionError(f"{log} needs {len(steps)} migrations", fix=f"esctl migrate --log {log}")
        return
    agree(f"{log}: {', '.join(steps)}; a copy goes beside it first", yes=ctx.obj.yes)
    record["copy"] = str(migrations.migrate(log, ctx.obj.timeout))
    output.records([record], ctx.obj.rendering)
