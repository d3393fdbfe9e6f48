"""`esctl snapshot verify`: snapshots, compared with what their streams add up to."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import VerificationError
from esctl.output import console, render
from esctl.states import snapshot_care

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl snapshot verify                    exit 6 if one holds another state
  esctl snapshot verify --sample 100       only about so many"""

VERIFIED = ("stream", "aggregate", "version", "path", "before", "after")


def command(
    shared: Shared,
    *,
    streams: Annotated[Sequence[str], typer.Argument(metavar="[STREAM …]", help="Only of these streams.")] = (),
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only about N of them.")] = None,
) -> None:
    """Fold again from the beginning and compare; exit 6 if one differs.

    It prints what differs, path by path.
    """
    with shared.opened() as log:
        report = snapshot_care.verify(log, streams or None, sample)
        render.listed(report.differences, shared.rendering, names=VERIFIED)
    if not shared.quiet:
        plural = "" if report.checked == 1 else "s"
        console.say(f"{report.checked} snapshot{plural} verified, {report.stale} stale ones left out")
    if report.differences:
        raise VerificationError(
            f"{report.wrong} of {report.checked} snapshots: not what the stream adds up to",
            why="they are never used where their hash tells; others may have given wrong states",
            fix="esctl snapshot prune",
        )
