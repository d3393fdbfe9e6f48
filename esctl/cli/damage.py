"""Tells damage from bugs: a failure that nobody expected may come from a value in the log that no esctl stores."""

from __future__ import annotations

from esctl.cli import locate
from esctl.cli.fixes import NEEDS_NO_LOG
from esctl.cli.parse import Line
from esctl.errors import EsctlError, VerificationError, word

SECONDS = 10.0  # that the checks of the log may take


def behind(failure: EsctlError, line: Line) -> EsctlError:
    """The damage of the command's log, if there is any, in place of a failure that nobody expected."""
    if line.verb in NEEDS_NO_LOG:
        return failure
    try:
        from esctl.upkeep import verify  # noqa: PLC0415 - what broke the command may break this import

        path = locate.find(line.shared.get("log"))
        found = verify.damage(path, SECONDS)
    except Exception:  # noqa: BLE001 - the command had no log open, or the bug is in the checks, too
        return failure
    if found is None:
        return failure
    check, position, problem = found
    place = "" if position is None else f", position {position}"
    return VerificationError(
        f"{path} is damaged or altered",
        why=f"{check}{place}: {problem}; so {failure.what}",
        fix=f"esctl verify --log {word(path)}",
    )
