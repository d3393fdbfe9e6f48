"""`esctl projection drop`: remove the tables of a projection."""

from __future__ import annotations

from esctl.errors import NotFoundError
from esctl.output import render
from esctl.projections import admin, status, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import DryRun

EXAMPLES = """Examples:
  esctl projection drop daily_revenue --dry-run
  esctl projection drop daily_revenue --yes   projection run builds it again"""


def command(
    shared: Shared,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection.")],
    dry_run: DryRun = False,
) -> None:
    """Drop a projection's tables; `projection run` builds them again."""
    with shared.opened(write=not dry_run) as log:
        records = [
            record
            for record in status.listed(log)
            if record["projection"] == name and record["state"] not in ("dropped", "new")
        ]
        if not records:
            versions.declared(log, name)
            raise NotFoundError(f"the projection {name} has no tables to drop", fix="esctl projection list")
        brief = [{key: record[key] for key in ("projection", "version", "tables")} for record in records]
        if dry_run:
            render.listed(brief, shared.rendering)
            return
        tables = ", ".join(str(record["tables"]) for record in records)
        shared.confirm(f"this drops tables that can be built again: {tables}")
        admin.drop(log, name)
        render.acknowledge_each(brief, shared.rendering)
