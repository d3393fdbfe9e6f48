"""`esctl archive restore`: segments back among the hot events."""

from __future__ import annotations

import json
import re

from tests.cli.commands.archive.conftest import created, listed
from tests.conftest import Esctl, succeeded


def test_restore_brings_several_back(run: Esctl) -> None:
    before = succeeded(run("replay", "--hash"))
    created(run, "--segment-events", "10")
    done = run("archive", "restore", "1-10", "21-30", "--yes")
    assert [json.loads(line)["segment"] for line in done.stdout.splitlines()] == ["1-10", "21-30"]
    assert done.stderr == "this moves 20 events of 2 segments back into the table of hot events\n"
    assert [record["segment"] for record in listed(run)] == ["11-20", "31-40"]
    assert succeeded(run("replay", "--hash")) == before
    assert json.loads(succeeded(run("verify")))["ok"] is True


def test_restore_needs_a_yes_and_has_a_dry_run(run: Esctl) -> None:
    created(run)
    done = run("archive", "restore", "1-40")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"^fix: esctl .* --yes$", done.stderr, re.MULTILINE)
    assert json.loads(succeeded(run("archive", "restore", "1-40", "--dry-run")))["events"] == 40
    assert [record["segment"] for record in listed(run)] == ["1-40"]
    assert json.loads(run("archive", "restore", "1-40", "--yes").stdout)["segment"] == "1-40"
    assert listed(run) == []


def test_a_segment_named_twice_is_restored_once(run: Esctl) -> None:
    created(run)
    done = run("archive", "restore", "1-40", "1-40", "--yes")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "this moves 40 events of 1 segment back" in done.stderr


def test_restore_of_one_that_is_not_there_does_nothing_to_others(run: Esctl) -> None:
    created(run, "--segment-events", "10")
    assert run("archive", "restore", "1-10", "1-11", "--yes").returncode == 3
    assert len(listed(run)) == 4
