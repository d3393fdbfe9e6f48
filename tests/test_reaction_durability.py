"""Kills of reactions, handlers that behave badly, and a halt, in short; see tests/long for all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.runner import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "what"),
    [("kills", "order kept"), ("bad", "400 events"), ("halt", "none began later")],
)
def test_reactions_keep_what_they_promise(part: str, what: str) -> None:
    command = [sys.executable, "-m", "tests.long.reactions", part]
    command += ["--kills", "6", "--events", "600", "--bad-events", "400"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert what in done.stdout
