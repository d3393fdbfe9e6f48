"""`esctl snapshot verify`: snapshots, compared with what their streams add up to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands.snapshot.conftest import rows
from tests.conftest import Esctl
from tests.logs import alter


def test_sound_snapshots_verify(run: Esctl) -> None:
    assert run("snapshot", "take", "--all").returncode == 0
    done = run("snapshot", "verify")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "4 snapshots verified, 0 stale ones skipped\n"
    assert run("snapshot", "verify", "-q").stderr == ""
    assert run("snapshot", "verify", "order-1").stderr.startswith("1 snapshot verified")


def test_a_snapshot_that_was_altered_is_found_and_never_used(run: Esctl, log_path: Path) -> None:
    assert run("snapshot", "take", "order-3", "pay-1").returncode == 0
    alter(log_path, """update snapshots set state = '{"n":99}' where position = 6""")
    assert rows(run("state", "order-3"))[0]["state"] == {"n": 3}
    assert {row["stream"]: row["problem"] for row in rows(run("snapshot", "list"))} == {
        "order-3": "it is damaged",
        "pay-1": None,
    }
    done = run("snapshot", "verify", "--error-format", "json")
    assert done.returncode == 6
    (difference,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert difference == {
        "stream": "order-3", "aggregate": "order", "version": 3, "path": "n", "before": 99, "after": 3,
    }  # fmt: skip
    assert json.loads(done.stderr.splitlines()[-1])["error"] == "verification"


@pytest.mark.parametrize("text", ["{", "", "null", "[1]", '{"n":', "x" * 100])
def test_a_snapshot_of_garbage_is_found_and_never_used(run: Esctl, log_path: Path, text: str) -> None:
    assert run("snapshot", "take", "order-3").returncode == 0
    alter(log_path, f"update snapshots set state = '{text}'")
    assert rows(run("state", "order-3"))[0]["state"] == {"n": 3}
    assert run("snapshot", "verify").returncode == 6
    assert json.loads(run("snapshot", "prune").stdout) == {"pruned": 1}


VERIFIED = ("stream", "aggregate", "version", "path", "before", "after")


def test_no_difference_is_empty_in_every_format(run: Esctl) -> None:
    for format_, empty in (("json", "[]\n"), ("csv", ",".join(VERIFIED) + "\n"), ("table", "")):
        done = run("snapshot", "verify", "-o", format_, "-q")
        assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")
