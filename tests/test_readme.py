"""What the README and the tour show is what happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transcripts import blocks, check, environment, matches

ROOT = Path(__file__).parents[1]


def test_the_readmes_transcripts_happen(tmp_path: Path) -> None:
    if not (shutil.which("jq") and shutil.which("sqlite3")):
        pytest.skip("jq and sqlite3 are not installed")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    ran = 0
    for command, expected in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
        check(command, expected, tmp_path)
        ran += 1
    assert ran > 10


def test_the_readmes_generated_parts_are_current() -> None:
    command = [sys.executable, "-m", "cogapp", "--check", "README.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "run: cog -r README.md\n" + done.stdout + done.stderr


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 OrderPlaced {'total': 99.9}", "2 PaymentReceived {'amount': 99.9}"]


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
