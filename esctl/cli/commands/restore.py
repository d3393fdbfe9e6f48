"""`esctl restore`: make a log from a backup."""

from __future__ import annotations

from pathlib import Path

from esctl.cli import locate
from esctl.errors import NotFoundError, VerificationError, word
from esctl.log import EventLog
from esctl.output import render
from esctl.upkeep import copies, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import ExpectHead

EXAMPLES = """Examples:
  esctl restore backup.db --log proved.db --expect-head "$(cat head.txt)"
  esctl restore backup.db --log shop.db    without --log, esctl.db in this folder"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The backup.")],
    expect_head: ExpectHead = None,
) -> None:
    """Make a log from a backup, after verifying the backup.

    The log is a new file: --log, else esctl.db in this folder.
    """
    if not Path(file).exists():  # otherwise the error for a missing log would offer to create an empty one here
        raise NotFoundError(f"there is no backup {file}", why="name a file that `esctl backup` wrote")
    target = Path(locate.place(shared.log))
    with EventLog(file, timeout=shared.timeout) as backup:
        report = verify.verify(backup, full=True, expect_head=expect_head)
        missing_head = [finding for finding in report.findings if finding["check"] == "expect-head"]
        if len(missing_head) < len(report.findings):
            raise VerificationError(
                f"{file} is damaged or altered, and was not restored",
                why=str(report.findings[0]["problem"]),
                fix=f"esctl verify --log {word(file)}",
            )
        head = copies.restore(backup, target)
    render.acknowledge({"log": str(target), "head": str(head)}, shared.rendering)
    if missing_head:
        raise VerificationError(
            f"{target} does not contain the head {expect_head}", why=str(missing_head[0]["problem"])
        )
