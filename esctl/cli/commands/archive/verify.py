"""`esctl archive verify`: every byte of segments, read again."""

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
  esctl archive verify                     every byte; exit 6 if one is wrong
  esctl archive verify 1-100               one segment, as list names it"""

VERIFIED = ("segment", "ok", "events", "bytes", "problem")


def command(
    shared: Shared,
    *,
    names: Annotated[Sequence[str], typer.Argument(metavar="[SEGMENT …]", help="Only these; else all.")] = (),
) -> None:
    """Re-read every byte of each segment; exit 6 if anything differs.

    Everything that is recorded about a segment is computed again and compared.
    """
    with shared.opened() as log:
        chosen = listing.chosen(log, names) if names else listing.archived(log)
        total = sum(segment.events for segment in chosen)
        records: list[dict[str, object]] = []
        for segment in progress.watched(chosen, "verifying", total, lambda segment: segment.events):
            problem = next(checking.problems(log, segment), None)
            known = (segment.name, problem is None, segment.events, segment.size, problem)
            records.append(dict(zip(VERIFIED, known, strict=True)))
        render.acknowledge_each(records, shared.rendering, VERIFIED)
    wrong = [record for record in records if not record["ok"]]
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(records)} segments are damaged",
            why=f"{wrong[0]['segment']}: {wrong[0]['problem']}; restore a backup; all else can still be read",
            fix="esctl replay --hot-only",
        )
