"""`esctl archive verify`: every byte of segments, read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands.archive.conftest import created
from tests.conftest import Esctl, succeeded


def test_verify_tells_every_segment(run: Esctl) -> None:
    created(run, "--segment-events", "20")
    done = [json.loads(line) for line in succeeded(run("archive", "verify")).splitlines()]
    assert [(record["segment"], record["ok"], record["problem"]) for record in done] == [
        ("1-20", True, None),
        ("21-40", True, None),
    ]
    (one,) = succeeded(run("archive", "verify", "21-40")).splitlines()
    assert json.loads(one) == done[1]


@pytest.mark.parametrize(
    ("damage", "code"), [("flipped", 6), ("truncated", 6), ("missing", 6), ("empty", 6), ("link", 6)]
)
def test_a_damaged_segment_is_named_and_the_rest_can_be_read(
    run: Esctl, tmp_path: Path, damage: str, code: int
) -> None:
    created(run, "--segment-events", "20", "--to", "cold")
    file = next((tmp_path / "cold").glob("*000001-*"))
    raw = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(raw[:30] + bytes([raw[30] ^ 1]) + raw[31:])
    elif damage == "truncated":
        file.write_bytes(raw[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.rename(tmp_path / "elsewhere")
        if damage == "link":
            file.symlink_to(tmp_path / "elsewhere")
    done = run("archive", "verify")
    assert done.returncode == code
    assert [json.loads(line)["ok"] for line in done.stdout.splitlines()] == [False, True]
    assert "1 of 2 segments" in done.stderr
    assert "esctl replay --hot-only" in done.stderr
    assert run("archive", "verify", "21-40").returncode == 0
    whole = run("replay")
    assert (whole.returncode in (6, 8), "1-20" in whole.stderr) == (True, True)
    assert len(succeeded(run("replay", "--hot-only")).splitlines()) == 20
    assert len(succeeded(run("replay", "--since", "#21")).splitlines()) == 40
    assert run("verify").returncode == 6


@pytest.mark.parametrize("verb", ["verify", "restore", "export", "move"])
@pytest.mark.parametrize("name", ["1-2", "../x"])
def test_a_segment_that_is_not_there_is_not_there(run: Esctl, verb: str, name: str) -> None:
    created(run)
    more = ["--to", "cold"] if verb == "move" else ["--yes"]
    done = run("archive", verb, name, *more)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"there is no segment {name}" in done.stderr
    assert "the archive has: 1-40" in done.stderr
