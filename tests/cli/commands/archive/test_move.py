"""`esctl archive move`: segments from one place to another."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.commands.archive.conftest import created, listed
from tests.conftest import Esctl, succeeded


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
