"""An archive that is killed at any step loses nothing and leaves nothing lying about; no damage to it goes unseen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.runner import ROOT

CASES = (
    "create",
    "create-folder",
    "move-out",
    "move-in",
    "restore",
    "restore-folder",
    "erase-hot",
    "erase",
    "erase-folder",
    "erase-across",
    "erase-after-create",
    "erase-after-move",
)


def ran(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the long tests, in short. In a process of its own: it forks."""
    command = [sys.executable, "-m", f"tests.long.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


QUICK = "create-folder"


@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c == QUICK else pytest.mark.slow) for c in CASES])
def test_a_kill_at_any_step_loses_nothing_and_the_same_command_finishes_the_work(case: str) -> None:
    done = ran("kill9_archive", "--every", "--writes", "40", "--only", case)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"{case} " in done.stdout


@pytest.mark.slow
def test_a_flipped_bit_is_told_unless_it_changes_nothing() -> None:
    done = ran("bitflips", "--flips", "100", "--seed", "3", "--rows")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
