"""`esctl verify`: check a whole log."""

from __future__ import annotations

from esctl.errors import UsageError, VerificationError, word
from esctl.output import progress, render
from esctl.upkeep import verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import ExpectHead

EXAMPLES = """Examples:
  esctl verify                             every event, hash, name and index
  esctl verify --quick                     SQLite's quick check, positions, versions, heads
  esctl verify --expect-head "$(cat head.txt)"   also checks a head that was saved earlier"""


def command(
    shared: Shared,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="SQLite's quick check, positions, versions, heads.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also every event: hash, id, names, times, JSON. [default]")
    ] = False,
    expect_head: ExpectHead = None,
) -> None:
    """Check that the log is complete and unaltered; exit 6 if not."""
    if quick and full:
        raise UsageError("--quick and --full exclude each other", fix="esctl verify --help")
    try:
        with shared.opened() as log:
            report = verify.verify(
                log,
                full=not quick,
                expect_head=expect_head,
                watch=lambda events, total: progress.watched(events, "verifying", total, lambda _: 1),
            ).record()
    except VerificationError as error:  # SQLite cannot read on: say what was found, and what is whole nevertheless
        finding = {
            "check": "sqlite",
            "position": None,
            "problem": (error.why or error.what).removesuffix("; restore a backup"),
        }
        report = {"ok": False, "mode": "quick" if quick else "full", "findings": [finding], "notes": []}
    findings = report["findings"]
    assert isinstance(findings, list)
    checks = {finding["check"] for finding in findings}
    if damaged := bool(checks - {"expect-head", "projection", "snapshot"}):
        from esctl.upkeep import salvage  # noqa: PLC0415 - only a damaged log needs it

        report |= salvage.survey(shared.path).record()
    render.verification(report, shared.rendering)
    if findings:
        first, count, saved = findings[0], len(findings), f"{shared.path}.salvaged"
        place = "" if first["position"] is None else f", position {first['position']}"
        raise VerificationError(
            f"the log is damaged or altered: {count} finding{'s' if count > 1 else ''}",
            why=f"{first['check']}{place}: {first['problem']}; compare with a backup, and restore it",
            fix=f"esctl restore --salvage {word(shared.path)} --log {word(saved)}"
            if damaged
            else "esctl snapshot prune"
            if checks == {"snapshot"}
            else "",
        )
