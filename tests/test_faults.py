"""A command that is killed or fails at any file operation loses nothing; run again, it ends as if undisturbed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.long import faults, shim
from tests.runner import ROOT

pytestmark = pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "-")


def test_every_command_has_a_case_or_writes_nothing() -> None:
    assert faults.uncovered() == []
    assert not faults.READERS & {case.verb for case in faults.CASES}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--points", "2", "--mode", "kill", "--case", "backup", "--case", "erase, folder"],
        ["--mode", "kill", "--case", "init --model", "--at", "110"],
        pytest.param(["--points", "4", "--mode", "kill"], marks=pytest.mark.slow),
        pytest.param(["--points", "2", "--mode", "EIO", "--mode", "full"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_fault_at_any_file_operation_loses_nothing(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tests.long.kills", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reached" in done.stdout
