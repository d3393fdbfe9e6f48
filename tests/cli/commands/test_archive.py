"""`esctl archive`: plans, questions, what is printed, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard  # noqa: TID253 - what any reader of segments would use

from esctl.api import open_log
from tests.conftest import Esctl, succeeded, write_empty_log

RECORD = (
    "segment",
    "first_position",
    "last_position",
    "events",
    "first_recorded",
    "last_recorded",
    "bytes",
    "raw_bytes",
    "ratio",
    "where",
    "sha256",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 60 events, which tests copy."""
    path = tmp_path_factory.mktemp("archive") / "esctl.db"
    write_empty_log(path)
    with open_log(path, write=True) as log:
        log.append_all({"stream": f"s-{n % 3}", "type": "T", "data": {"n": n}} for n in range(1, 61))
    return path


@pytest.fixture
def run(esctl: Esctl, made: Path, tmp_path: Path) -> Esctl:
    """Runs esctl where there is a log of 60 events."""
    shutil.copy(made, tmp_path / "esctl.db")
    return esctl


def created(run: Esctl, *arguments: str) -> list[dict[str, Any]]:
    cut = ("--keep-last", "20") if not {"--keep-last", "--before", "--older-than"} & set(arguments) else ()
    done = run("archive", "create", *cut, *arguments, "--yes")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def listed(run: Esctl) -> list[dict[str, Any]]:
    return [json.loads(line) for line in succeeded(run("archive", "list")).splitlines()]


# create


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
    assert done.stderr.startswith("40 events up to position 40 go into 3 segments\n")
    assert re.search(r"^fix: esctl .* --yes$", done.stderr, re.MULTILINE)
    assert listed(run) == []


def test_one_segment_is_one(run: Esctl) -> None:
    done = run("archive", "create", "--keep-last", "20")
    assert done.stderr.startswith("40 events up to position 40 go into 1 segment\n")


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


# list, as a table


def test_a_table_has_what_a_person_asks(run: Esctl) -> None:
    created(run, "--segment-events", "20")
    head, *rows = succeeded(run("archive", "list", "-o", "table")).splitlines()
    assert head.split() == [
        "segment",
        "first_recorded",
        "last_recorded",
        "events",
        "bytes",
        "raw_bytes",
        "ratio",
        "where",
    ]
    assert [row.split()[0] for row in rows] == ["1-20", "21-40"]


@pytest.mark.parametrize("format_", ["table", "ndjson"])
def test_a_log_without_an_archive_lists_nothing(run: Esctl, format_: str) -> None:
    assert len(succeeded(run("archive", "list", "-o", format_)).splitlines()) <= 1
    assert len(succeeded(run("archive", "verify", "-o", format_)).splitlines()) <= 1


# verify


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


# export


def test_an_export_is_what_zstd_reads_and_the_log_printed(run: Esctl, tmp_path: Path) -> None:
    before = succeeded(run("replay", "--raw-schema", "--system", "--until", "#40"))
    (made,) = created(run)
    told = json.loads(succeeded(run("archive", "export", "1-40", "out.ndjson.zst")))
    raw = (tmp_path / "out.ndjson.zst").read_bytes()
    assert told == {"segment": "1-40", "file": "out.ndjson.zst", "bytes": len(raw)}
    assert hashlib.sha256(raw).hexdigest() == made["sha256"]
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    assert reader.read().decode() == before
    end = int.from_bytes(raw[-8:-4], "little")
    assert raw[-end:][:4] == b"\x5e\x2a\x4d\x18"
    assert json.loads(raw[-end + 8 :].partition(b"\n")[0])["last"] == 40


def test_an_export_goes_to_stdout_and_nothing_else_does(run: Esctl, tmp_path: Path) -> None:
    (made,) = created(run)
    command = [str(Path(sys.executable).with_name("esctl")), "archive", "export", "1-40", "--log", "esctl.db"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).hexdigest() == made["sha256"]


def test_an_export_overwrites_nothing(run: Esctl, tmp_path: Path) -> None:
    created(run)
    (tmp_path / "there").write_text("mine")
    assert run("archive", "export", "1-40", "there").returncode == 2
    assert (tmp_path / "there").read_text() == "mine"


def test_a_damaged_segment_is_not_exported(run: Esctl, tmp_path: Path) -> None:
    created(run, "--to", "cold")
    (file,) = (tmp_path / "cold").iterdir()
    raw = file.read_bytes()
    file.write_bytes(raw[:30] + bytes([raw[30] ^ 1]) + raw[31:])
    done = run("archive", "export", "1-40", "out")
    assert (done.returncode, done.stdout) == (6, "")
    assert not (tmp_path / "out").exists()


# restore and move


def test_restore_brings_several_back(run: Esctl) -> None:
    before = succeeded(run("replay", "--hash"))
    created(run, "--segment-events", "10")
    done = run("archive", "restore", "1-10", "21-30", "--yes")
    assert [json.loads(line)["segment"] for line in done.stdout.splitlines()] == ["1-10", "21-30"]
    assert done.stderr == "20 events of 2 segments go back into the table of hot events\n"
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
    assert "40 events of 1 segment go" in done.stderr


def test_restore_of_one_that_is_not_there_does_nothing_to_others(run: Esctl) -> None:
    created(run, "--segment-events", "10")
    assert run("archive", "restore", "1-10", "1-11", "--yes").returncode == 3
    assert len(listed(run)) == 4


def test_move_goes_out_and_back(run: Esctl, tmp_path: Path) -> None:
    before = succeeded(run("replay", "--hash"))
    made = created(run, "--segment-events", "20")
    moved = [
        json.loads(line) for line in succeeded(run("archive", "move", "1-20", "21-40", "--to", "cold")).splitlines()
    ]
    assert [(record["segment"], record["where"]) for record in moved] == [("1-20", "cold"), ("21-40", "cold")]
    assert len(list((tmp_path / "cold").iterdir())) == 2
    assert [record["sha256"] for record in listed(run)] == [record["sha256"] for record in made]
    assert succeeded(run("replay", "--hash")) == before
    succeeded(run("archive", "move", "1-20", "21-40", "--to", "log"))
    assert list((tmp_path / "cold").iterdir()) == []
    assert listed(run) == made
    assert succeeded(run("replay", "--hash")) == before
    assert json.loads(succeeded(run("verify")))["ok"] is True


def test_a_move_to_where_it_is_changes_nothing(run: Esctl, tmp_path: Path) -> None:
    created(run, "--to", "cold")
    for name in ("cold", "./cold", "cold/../cold", str(tmp_path / "cold")):
        assert json.loads(succeeded(run("archive", "move", "1-40", "--to", name)))["where"] == "cold"
        assert len(list((tmp_path / "cold").iterdir())) == 1
    assert json.loads(succeeded(run("verify")))["ok"] is True


def test_a_move_to_an_object_store_is_refused(run: Esctl, tmp_path: Path) -> None:
    created(run)
    done = run("archive", "move", "1-40", "--to", "s3://bucket/prefix")
    assert (done.returncode, done.stdout) == (2, "")
    assert [file.name for file in tmp_path.iterdir()] == ["esctl.db"]


def test_a_table_of_several_is_one_table(run: Esctl) -> None:
    created(run, "--segment-events", "20")
    done = run("archive", "move", "1-20", "21-40", "--to", "cold", "-o", "table")
    head, *rows = done.stdout.splitlines()
    assert head.split()[0] == "segment"
    assert [row.split()[0] for row in rows] == ["1-20", "21-40"]
