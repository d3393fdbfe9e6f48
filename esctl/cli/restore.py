"""`esctl restore`: a log from a backup."""

from __future__ import annotations

from pathlib import Path

import typer

from esctl import copies, output, verify
from esctl.cli import locate
from esctl.errors import VerificationError
from esctl.log import EventLog

EXAMPLES = """Examples:
  esctl restore /mnt/backup/shop-2026-03-01.db               makes esctl.db here
  esctl restore backup.db --log shop.db --expect-head 8577:ab12…   and says if that head is not in it"""


def command(
    ctx: typer.Context,
    file: Path = typer.Argument(metavar="FILE", help="The backup."),
    expect_head: str | None = typer.Option(None, metavar="POSITION:HASH", help="A head written down earlier."),
) -> None:
    """Make a log of a backup, which is verified first, under a name that is not taken."""
    target = locate.place(ctx.obj.log)
    with EventLog(file, timeout=ctx.obj.timeout) as backup:
        report = verify.verify(backup, full=True, expect_head=expect_head)
        lacking = [finding for finding in report.findings if finding["check"] == "expect-head"]
        if len(lacking) < len(report.findings):
            raise VerificationError(
                f"{file} is not whole, and was not restored",
                why=str(report.findings[0]["problem"]),
                fix=f"esctl verify --log {file}",
            )
        head = copies.restore(backup, target)
    output.records([{"log": str(target), "head": output.head_text(head)}], ctx.obj.rendering)
    if lacking:
        raise VerificationError(f"{target} lacks the head {expect_head}", why=str(lacking[0]["problem"]))
