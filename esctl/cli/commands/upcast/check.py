"""`esctl upcast check`: check every stored event against the model."""

from __future__ import annotations

from esctl.errors import VerificationError
from esctl.evolution import conformance
from esctl.output import console, progress, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl upcast check                       exit 6 if an event does not fit the model
  esctl upcast check --sample 100          only about 100 events"""

FAILURES = ("position", "type", "schema", "kind", "reason")
COUNTS = ("type", "schema", "events", "read_as", "failed")


def command(
    shared: Shared,
    *,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only about N events, spread over the log.")
    ] = None,
) -> None:
    """Check every stored event against the model; exit 6 if one fails.

    Each event goes through its upcasts, JSON Schemas and, without --sample, its stream's aggregate. It also fails if it
    has the newest schema and a field that the chain renames away, a schema from which no chain leads, or a key twice in
    an object. Position, kind and reason are printed for those that do not fit.
    """
    with shared.opened() as log:
        rows = conformance.check(
            log,
            log.definitions,
            sample,
            lambda events, total: progress.watched(events, "checking", total, lambda _: 1),
            thorough=True,
        )
    failures = [failure for row in rows for failure in row.failures]
    whole = shared.rendering in ("ndjson", "json")
    render.listed((_record(row, whole=whole) for row in rows), shared.rendering, names=COUNTS)
    failed = sum(row.failed for row in rows)
    if failed:
        for failure in () if whole else failures:
            console.say(f"#{failure.position} {failure.type} {failure.schema}: {failure.reason}")
        for row in () if whole else rows:
            for kind, count in row.kinds.items():
                console.say(f"{row.type} {row.schema}: {count} of {row.events} events fail: {kind}")
        raise VerificationError(
            f"{failed} stored event{'s do' if failed > 1 else ' does'} not fit the model",
            why=f"position {failures[0].position}: {failures[0].reason}",
            fix=f"esctl replay --since '#{failures[0].position:d}' --limit 1 --raw-schema",
        )


def _record(row: conformance.Row, *, whole: bool) -> dict[str, object]:
    """The record of a row; `whole` adds its failures."""
    record: dict[str, object] = {name: getattr(row, name) for name in COUNTS}
    failures = [{name: getattr(failure, name) for name in FAILURES} for failure in row.failures]
    return record | ({"kinds": row.kinds, "failures": failures} if whole else {})
