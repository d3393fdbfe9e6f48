"""`esctl snapshot verify`: compare snapshots with states folded from the first event."""

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
  esctl snapshot verify                    exit 6 if one differs
  esctl snapshot verify --sample 100       only about 100 of them"""

VERIFIED = ("stream", "aggregate", "version", "path", "before", "after")


def command(
    shared: Shared,
    *,
    streams: Annotated[Sequence[str], typer.Argument(metavar="[STREAM …]", help="Only these streams. [all]")] = (),
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only about N of them.")] = None,
) -> None:
    """Fold from the first event and compare; exit 6 if one differs.

    It prints every path that differs.
    """
    with shared.opened() as log:
        report = snapshot_care.verify(log, streams or None, sample)
        render.listed(report.differences, shared.rendering, names=VERIFIED)
    if not shared.quiet:
        plural = "" if report.checked == 1 else "s"
        console.say(f"{report.checked} snapshot{plural} verified, {report.stale} stale ones skipped")
    if report.differences:
        raise VerificationError(
            f"{report.wrong} of {report.checked} snapshots differ from the state of their stream",
            why="one with a wrong hash is never used; the others may have given wrong states",
            fix="esctl snapshot prune",
        )
