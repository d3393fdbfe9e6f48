"""No damage to an archive goes unseen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.runner import ROOT


def ran(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the long tests, in short. In a process of its own: it forks."""
    command = [sys.executable, "-m", f"tests.long.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_flipped_bit_is_told_unless_it_changes_nothing() -> None:
    done = ran("bitflips", "--flips", "100", "--seed", "3", "--rows")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
