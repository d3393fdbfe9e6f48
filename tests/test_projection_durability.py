"""Kills of runs, rebuilds, rollbacks, applied models and archiving, in short; see tests/long for all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.runner import ROOT


@pytest.mark.slow
def test_a_kill_at_a_random_moment_leaves_no_wrong_row_and_no_missing_table() -> None:
    command = [sys.executable, "-m", "tests.long.kill9_projections", "--rounds", "2", "--events", "1000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 wrong rows" in done.stdout
