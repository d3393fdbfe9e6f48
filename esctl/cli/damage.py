"""Tells damage from bugs: a failure that nobody expected may come from a value in the log that no esctl stores."""

from __future__ import annotations

from esctl.cli import locate
from esctl.cli.fixes import NEEDS_NO_LOG
from esctl.cli.parse import Line
from esctl.errors import EsctlError, VerificationError, word
from esctl.upkeep import verify

SECONDS = 10.0  # that the checks of the log may take


def behind(failure: EsctlError, line: Line) -> EsctlError:
    """The damage of the command's log, if there is any, in place of a failure that nobody expected."""
    if line.verb in NEEDS_NO_LOG:
        return failure
    try:
        path = locate.find(line.shared.get("log"))
    except EsctlError:  # so the command had none open
        return failure
    found = verify.damage(path, SECONDS)
    if found is None:
        return failure
    check, position, problem = found
    place = "" if position is None else f", position {position}"
    return VerificationError(
        f"{path} is damaged or altered",
        why=f"{check}{place}: {problem}; so {failure.what}",
        fix=f"esctl verify --log {word(path)}",
    )
