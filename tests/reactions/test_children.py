"""Child processes: their descriptors, their ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from esctl.errors import UsageError
from esctl.reactions.children import Child, failure, file_with, has_ended, require, spawn


def test_a_program_that_cannot_be_run_is_refused_at_the_start(tmp_path: Path) -> None:
    require("sh")
    (tmp_path / "x").write_text("true")
    with pytest.raises(UsageError, match="cannot run") as refused:
        require(str(tmp_path / "x"))
    assert "chmod" in refused.value.why
    with pytest.raises(UsageError):
        require("no-such-program-anywhere")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, (0, "")),
        (3, (3, "failed with status 3")),
        (-signal.SIGSEGV, (139, "died of SIGSEGV")),
        (-63, (191, "died of signal 63")),
    ],
)
def test_a_failure_is_a_status_and_a_reason(code: int, expected: tuple[int, str]) -> None:
    assert failure(code) == expected


def test_a_file_is_read_from_its_beginning() -> None:
    files: list[int] = []
    descriptor = file_with(b"abc" * 100_000, files)
    assert files == [descriptor]
    with os.fdopen(descriptor, "rb") as file:
        assert file.read() == b"abc" * 100_000


def test_a_child_that_has_ended_is_not_waited_for_by_looking() -> None:
    pid = spawn("sh", ["sh", "-c", "exit 4"], {}, 0, 1, 2)
    while not has_ended(pid):
        pass
    assert has_ended(pid)
    child = Child(pid)
    assert child.ended() == 4
    child.signal(signal.SIGTERM)  # nobody is there any more
