"""`esctl archive verify`: check segments byte by byte."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.archive import checking, listing
from esctl.errors import VerificationError
from esctl.output import progress, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl archive verify                     every segment; exit 6 if one is damaged
  esctl archive verify 1-100               one segment, as archive list names it"""

VERIFIED = ("segment", "ok", "events", "bytes", "problem")


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[SEGMENT …]", help="Only these. [all]")] = (),
) -> None:
    """Re-read every byte of each segment; exit 6 if anything differs.

    It computes everything that is recorded about a segment again, and compares.
    """
    with shared.opened() as log, log.store.one_state():
        chosen = listing.chosen(log, names) if names else listing.archived(log)
        total = sum(segment.events for segment in chosen)
        records: list[dict[str, object]] = []
        for segment in progress.watched(chosen, "verifying", total, lambda segment: segment.events):
            problem = next(checking.problems(log, segment), None)
            values = (segment.name, problem is None, segment.events, segment.size, problem)
            records.append(dict(zip(VERIFIED, values, strict=True)))
        render.acknowledge_each(records, shared.rendering, VERIFIED)
    damaged = [record for record in records if not record["ok"]]
    if damaged:
        raise VerificationError(
            f"{len(damaged)} of {len(records)} segments are damaged",
            why=f"{damaged[0]['segment']}: {damaged[0]['problem']}; restore a backup; other events can be read",
            fix="esctl replay --hot-only",
        )
