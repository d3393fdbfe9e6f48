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
    assert any(said in done.stdout for said in (" 0 failed", "reached", " 0 not found"))


def cases(*verbs: str) -> list[str]:
    """The options for the cases of commands that begin so."""
    return [word for case in faults.CASES if case.verb.startswith(verbs) for word in ("--case", case.name)]


SHORT = ["--mode", "kill", "--mode", "kill half", "--points", "4"]
SLOW = [
    ("kills", [*SHORT, *cases("append", "batch", "decide", "mark", "init")]),
    ("kills", [*SHORT, *cases("archive")]),
    ("kills", [*SHORT, *cases("erase")]),
    ("kills", [*SHORT, *cases("projection", "model", "snapshot", "upcast")]),
    ("kills", [*SHORT, "--mode", "EIO", *cases("react", "dead-letter")]),
    ("kills", [*SHORT, *cases("backup", "restore", "fork", "compact", "migrate")]),
    ("kills", ["--mode", "kill", "--case", "init --model", "--at", "110"]),
    ("interleavings", ["--first", "erase all", "--second", "archive move", "--points", "2"]),
    ("kills", ["--seeded"]),
    ("interleavings", ["--seeded"]),
]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("kills", ["--points", "2", "--mode", "kill", "--case", "append --batch", "--case", "archive create --to"]),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_fault_or_another_command_at_any_file_operation_loses_nothing(module: str, arguments: list[str]) -> None:
    ran(module, *arguments)
