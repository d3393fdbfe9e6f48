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


def ran(module: str, *arguments: str) -> None:
    """Run one of the harnesses, in short."""
    command = [sys.executable, "-m", f"tests.long.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and done.stderr.startswith("only root"):
        pytest.skip(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert " 0 failed" in done.stdout or "reached" in done.stdout


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
    ran("kills", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--first", "erase all", "--second", "archive move", "--points", "2"],
        pytest.param(["--points", "1"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_command_that_comes_between_the_file_operations_of_another_damages_nothing(arguments: list[str]) -> None:
    ran("interleavings", *arguments)


@pytest.mark.slow
def test_a_full_disk_leaves_what_is_whole_and_says_what_failed() -> None:
    ran("full_disks", "--rooms", "3", "--step", "90")
