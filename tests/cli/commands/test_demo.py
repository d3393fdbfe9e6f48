"""`esctl demo`: a sample log and its model, to try things on."""

from __future__ import annotations

import json
from pathlib import Path

from esctl.cli.sample_shop import FILES
from tests.conftest import Esctl, records, succeeded


def test_a_folder_is_made_and_told(esctl: Esctl, tmp_path: Path) -> None:
    told = json.loads(succeeded(esctl("demo", "shop", "-o", "json")))
    assert (told["folder"], told["log"], told["events"]) == ("shop", "shop/esctl.db", 418)
    assert {path.name for path in (tmp_path / "shop").iterdir()} == {*FILES, "esctl.db"}
    assert succeeded(esctl("head", cwd=tmp_path / "shop")) == f"{told['head']}\n"


def test_the_folder_has_a_name_where_none_is_given(esctl: Esctl, tmp_path: Path) -> None:
    assert succeeded(esctl("demo", "-q")) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["esctl-demo"]
    assert len(records(esctl("types", "-l", "esctl-demo/esctl.db"))) > 1


def test_a_demo_that_is_there_is_kept(esctl: Esctl, tmp_path: Path) -> None:
    esctl("demo", "shop")
    before = {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()}
    done = esctl("demo", "shop")
    assert (done.returncode, done.stdout) == (2, "")
    assert {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()} == before
