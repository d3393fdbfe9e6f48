"""`esctl restore`: make a log from a backup."""

from __future__ import annotations

from pathlib import Path

from esctl.cli import locate
from esctl.errors import NotFoundError, UsageError, VerificationError, word
from esctl.log import EventLog
from esctl.output import console, render
from esctl.upkeep import copies, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import ExpectHead

EXAMPLES = """Examples:
  esctl restore backup.db --log proved.db --expect-head "$(cat head.txt)"
  esctl restore backup.db --log shop.db    without --log, esctl.db in this folder
  esctl restore --salvage damaged.db --log saved.db   all that is whole of a damaged log"""


def command(
    shared: Shared,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The backup, or the damaged log.")],
    expect_head: ExpectHead = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="FILE is a damaged log: make a log of all that is whole in it.")
    ] = False,
) -> None:
    """Make a log from a backup, or from what is whole of a damaged log.

    The log is a new file: --log, else esctl.db in this folder.
    """
    if not Path(file).exists():  # otherwise the error for a missing log would offer to create an empty one here
        raise NotFoundError(f"there is no backup {file}", why="name a file that `esctl backup` wrote")
    target = Path(locate.place(shared.log))
    if salvage:
        _salvage(shared, file, target, expect_head)
        return
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
        paused = backup.store.reactions().all()
    for one in paused:
        console.note(
            f"effects of the reaction {one.name} after position {one.position} may happen again:"
            f" esctl reaction resume {word(one.name)} --log {word(target)}"
        )
    render.acknowledge({"log": str(target), "head": str(head)}, shared.rendering)
    if missing_head:
        raise VerificationError(
            f"{target} does not contain the head {expect_head}", why=str(missing_head[0]["problem"])
        )


def _salvage(shared: Shared, file: str, target: Path, expect_head: str | None) -> None:
    from esctl.upkeep import salvage  # noqa: PLC0415 - only a damaged log needs it

    if expect_head is not None:
        raise UsageError("--salvage excludes --expect-head", why="behind a loss, the new log has another chain")
    head, found = salvage.restore(file, target)
    for text in salvage.sentences(found):
        console.note(text)
    lost = found.last - found.events
    record = {"log": str(target), "head": str(head), "events": found.events, "lost": lost}
    render.acknowledge(record, shared.rendering)
