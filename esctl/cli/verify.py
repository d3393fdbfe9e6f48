"""`esctl verify`: check everything there is in a log."""

from __future__ import annotations

import typer

from esctl import output, progress, verify
from esctl.cli.options import opened
from esctl.errors import UsageError, VerificationError

EXAMPLES = """Examples:
  esctl verify                            every event, hash, name and index (--full is the default)
  esctl verify --quick                    SQLite's check, contiguity, versions and heads only
  esctl verify --expect-head 8577:ab12…   and that the event at 8577 still has the hash it had"""


def command(
    ctx: typer.Context,
    quick: bool = typer.Option(False, "--quick", help="SQLite's quick check, contiguity, versions, heads."),
    full: bool = typer.Option(False, "--full", help="Every event too: hash, id, names, times, JSON. The default."),
    expect_head: str | None = typer.Option(None, metavar="POSITION:HASH", help="A head written down earlier."),
) -> None:
    """Check that the log is whole and that nothing in it was altered; exit 6 if not."""
    if quick and full:
        raise UsageError("--quick and --full exclude each other", fix="esctl verify --full")
    with opened(ctx) as log:
        report = verify.verify(
            log,
            full=not quick,
            expect_head=expect_head,
            watch=lambda events, total: progress.watched(events, "verifying", total, lambda _: 1),
        )
    output.verification(report.record(), ctx.obj.rendering)
    if not report.ok:
        first, count = report.findings[0], len(report.findings)
        place = "" if first["position"] is None else f", position {first['position']}"
        raise VerificationError(
            f"the log is not whole: {count} finding{'s' if count > 1 else ''}",
            why=f"{first['check']}{place}: {first['problem']}",
            fix="esctl snapshot prune   (snapshots are made anew)"
            if all(finding["check"] == "snapshot" for finding in report.findings)
            else "restore a backup, and compare: esctl verify --log BACKUP",
        )
