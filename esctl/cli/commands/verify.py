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

MOST_NAMED = 5  # of the damaged parts, in the error

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
    parts: list[verify.Part] = []
    try:
        with shared.opened() as log:
            verified = verify.verify(
                log,
                full=not quick,
                expect_head=expect_head,
                watch=lambda numbers, total: progress.watched(numbers, "verifying", total, lambda number: number),
            )
        report, parts = verified.record(), verified.parts
    except VerificationError as error:  # SQLite cannot read on: say what was found, and what is whole nevertheless
        problem = (error.why or error.what).removesuffix("; restore a backup")
        finding = {"check": "sqlite", "position": None, "problem": problem}
        report = {"ok": False, "mode": "quick" if quick else "full", "findings": [finding], "notes": []}
    findings = report["findings"]
    assert isinstance(findings, list)
    checks = {finding["check"] for finding in findings}
    if damaged := bool(checks - {"expect-head"} and (checks - verify.DERIVED - {"expect-head"} or not parts)):
        from esctl.upkeep import salvage  # noqa: PLC0415 - only a damaged log needs it

        report |= salvage.survey(shared.path).record()
    render.verification(report, shared.rendering)
    if findings:
        raise _failed(shared.path, findings, parts if checks <= verify.DERIVED else [], damaged=damaged)


def _failed(
    path: str, findings: list[dict[str, object]], parts: list[verify.Part], *, damaged: bool
) -> VerificationError:
    """The error for what was found. Parts that are derived from events can be built again, where they are."""
    first, count, saved = findings[0], len(findings), f"{path}.salvaged"
    place = "" if first["position"] is None else f", position {first['position']}"
    found = f"{first['check']}{place}: {first['problem']}"
    if not parts:
        return VerificationError(
            f"the log is damaged or altered: {count} finding{'s' if count > 1 else ''}",
            why=f"{found}; compare with a backup, and restore it",
            fix=f"esctl restore --salvage {word(path)} --log {word(saved)}" if damaged else "",
        )
    part = parts[0]
    return VerificationError(
        f"parts that are derived from events are damaged: {', '.join(map(str, parts[:MOST_NAMED]))}",
        why=f"{found}; nothing else was found",
        fix=f"esctl projection rebuild {word(part.name)}"
        if part.kind == "projection"
        else "esctl snapshot prune"
        if part.kind == "snapshot"
        else "esctl compact --full",
    )
