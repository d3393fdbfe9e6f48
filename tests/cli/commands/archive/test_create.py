"""`esctl archive create`: the oldest events into segments."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.cli.commands.archive.conftest import RECORD, created, listed
from tests.conftest import Esctl, succeeded


def test_a_segment_is_told_when_it_is_made_as_it_is_listed(run: Esctl, tmp_path: Path) -> None:
    before = succeeded(run("replay", "--hash"))
    made = created(run, "--segment-events", "15")
    assert [tuple(record) for record in made] == [RECORD] * 3
    assert [(record["segment"], record["events"], record["where"]) for record in made] == [
        ("1-15", 15, "log"),
        ("16-30", 15, "log"),
        ("31-40", 10, "log"),
    ]
    assert listed(run) == made
    assert succeeded(run("replay", "--hash")) == before
    assert [file.name for file in tmp_path.iterdir()] == ["esctl.db"]


def test_without_a_yes_the_plan_is_told_and_nothing_is_done(run: Esctl) -> None:
    done = run("archive", "create", "--keep-last", "20", "--segment-events", "15")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("this archives 40 events, up to position 40, in 3 segments\n")
    assert re.search(r"^fix: esctl .* --yes$", done.stderr, re.MULTILINE)
    assert listed(run) == []


def test_one_segment_is_one(run: Esctl) -> None:
    done = run("archive", "create", "--keep-last", "20")
    assert done.stderr.startswith("this archives 40 events, up to position 40, in 1 segment\n")


def test_a_dry_run_prints_the_plan_and_does_nothing(run: Esctl, tmp_path: Path) -> None:
    plan = json.loads(succeeded(run("archive", "create", "--keep-last", "20", "--segment-events", "15", "--dry-run")))
    assert plan == {"segments": 3, "events": 40, "until": 40, "to": "log"}
    plan = json.loads(succeeded(run("archive", "create", "--before", "#11", "--to", "cold", "--dry-run")))
    assert plan == {"segments": 1, "events": 10, "until": 10, "to": "cold"}
    assert listed(run) == []
    assert not (tmp_path / "cold").exists()


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (["--before", "#11"], 10),
        (["--before", "#1"], 0),
        (["--before", "#0"], 0),
        (["--before", "2000-01-01"], 0),
        (["--before", "2999-01-01"], 61),
        (["--before", "here"], 59),
        (["--older-than", "0s"], 61),
        (["--older-than", "90d"], 0),
        (["--keep-last", "0"], 61),
        (["--keep-last", "60"], 1),
        (["--keep-last", "1000"], 0),
        (["--keep-last", "20", "--before", "#11"], 10),
        (["--keep-last", "55", "--before", "#11"], 6),
        (["--keep-last", "1", "--older-than", "1d"], 0),
    ],
)
def test_what_is_archived_is_what_every_option_allows(run: Esctl, arguments: list[str], last: int) -> None:
    run("mark", "here")  # event 61
    plan = json.loads(succeeded(run("archive", "create", *arguments, "--dry-run")))
    assert plan["events"] == max(last, 0)


def test_nothing_to_archive_is_quiet_and_fine(run: Esctl) -> None:
    created(run)
    assert succeeded(run("archive", "create", "--keep-last", "20")) == ""
    assert succeeded(run("archive", "create", "--older-than", "90d")) == ""
    assert "nothing to archive" in run("archive", "create", "--keep-last", "20", "-v").stderr


def test_an_empty_log_has_nothing_to_archive(esctl: Esctl) -> None:
    esctl("init")
    assert succeeded(esctl("archive", "create", "--keep-last", "0", "--yes")) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--yes"],
        ["--keep-last", "-1"],
        ["--keep-last", "x"],
        ["--keep-last", "1", "--segment-events", "0"],
        ["--keep-last", "1", "--level", "0"],
        ["--keep-last", "1", "--level", "23"],
        ["--before", "garbage"],
        ["--older-than", "soon"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(run: Esctl, arguments: list[str]) -> None:
    done = run("archive", "create", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert listed(run) == []


def test_a_position_that_is_not_there_is_not_there(run: Esctl) -> None:
    assert run("archive", "create", "--before", "#999", "--yes").returncode == 3


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_an_object_store_is_refused_before_anything_is_made(run: Esctl, tmp_path: Path, dry: list[str]) -> None:
    done = run("archive", "create", "--keep-last", "20", "--to", "s3://bucket/prefix", "--yes", *dry)
    assert (done.returncode, done.stdout) == (2, "")
    assert "s3://bucket/prefix" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["esctl.db"]
    assert listed(run) == []


@pytest.mark.parametrize("level", ["1", "22"])
def test_every_level_is_read_alike(run: Esctl, level: str) -> None:
    before = succeeded(run("replay"))
    created(run, "--level", level)
    assert succeeded(run("replay")) == before


def test_a_folder_is_named_where_it_was_given(run: Esctl, tmp_path: Path) -> None:
    (made,) = created(run, "--to", "cold")
    assert made["where"] == "cold"
    (file,) = (tmp_path / "cold").iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == made["sha256"]
    assert file.stat().st_size == made["bytes"]


def test_an_imported_past_is_reported_and_archived_by_time(esctl: Esctl) -> None:
    esctl("init")
    lines = [f'{{"stream":"s","type":"T","time":"2026-0{month}-15T12:00:00Z"}}' for month in (1, 2, 3, 4)]
    assert esctl("append", input="\n".join(lines)).returncode == 0
    note = "note: nothing was recorded before {}; {} events happened before then; --by time counts these\n"
    for arguments, happened in ((["--before", "2026-03"], 2), (["--older-than", "1d"], 4)):
        done = esctl("archive", "create", *arguments, "--dry-run")
        assert (json.loads(done.stdout)["events"], done.returncode) == (0, 0)
        assert done.stderr == note.format(arguments[1], happened)
        plan = json.loads(succeeded(esctl("archive", "create", *arguments, "--by", "time", "--dry-run")))
        assert plan["events"] == happened
    assert [record["events"] for record in created(esctl, "--before", "2026-03", "--by", "time")] == [2]


def test_by_goes_with_a_time(run: Esctl) -> None:
    assert run("archive", "create", "--keep-last", "2", "--by", "time").returncode == 2
    assert run("archive", "create", "--before", "#2", "--by", "time").returncode == 2


def test_a_table_of_segments_leaves_out_what_only_programs_need(run: Esctl) -> None:
    done = run("archive", "create", "--keep-last", "20", "--yes", "-o", "table")
    assert (done.returncode, "1-40" in done.stdout) == (0, True)
    assert "sha256" not in done.stdout
