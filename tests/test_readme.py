"""What the README and the tour show is what happens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The commands of the console blocks, each with what it is said to print."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def matches(expected: str, printed: str) -> bool:
    """Whether a text was printed; `…` stands for whatever varies, and blanks at the ends of lines do not count."""
    pattern = ".*?".join(re.escape(part) for part in expected.rstrip().split("…"))
    return (
        re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.rstrip().split("\n")), re.DOTALL) is not None
    )


def environment() -> dict[str, str]:
    """A terminal's environment in which this interpreter's esctl is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ESCTL_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "120", "TZ": "UTC"}


def run(command: str, folder: Path) -> str:
    """What a command prints to stdout and stderr, in the order in which it does."""
    return subprocess.run(
        ["sh", "-c", command],
        check=False,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def test_the_readmes_transcripts_happen(tmp_path: Path) -> None:
    if not (shutil.which("jq") and shutil.which("sqlite3")):
        pytest.skip("jq and sqlite3 are not installed")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    ran = 0
    for command, expected in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
        printed = run(command, tmp_path)
        expected_lines = "\n".join(line.rstrip() for line in expected.split("\n"))
        assert matches(expected_lines, printed), f"$ {command}\nexpected:\n{expected}\nprinted:\n{printed}"
        ran += 1
    assert ran > 10


def test_the_readmes_generated_parts_are_current() -> None:
    command = [sys.executable, "-m", "cogapp", "--check", "README.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "run: cog -r README.md\n" + done.stdout + done.stderr


def test_the_tour_ends_in_a_verified_log() -> None:
    done = subprocess.run(
        ["sh", str(ROOT / "sample_data" / "tour.sh")], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '{"ok":true,"mode":"full","events":419,' in done.stdout


def test_the_sample_is_what_its_script_makes() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "sample_data" / "make_orders.py")], capture_output=True, check=True
    ).stdout
    assert made == (ROOT / "sample_data" / "orders.ndjson").read_bytes()


def test_a_transcript_that_differs_is_noticed() -> None:
    assert matches('{"id":"…","n":1}', '{"id":"abc","n":1}\n')
    assert not matches('{"id":"…","n":1}', '{"id":"abc","n":2}\n')
    assert not matches("one", "one\ntwo")
