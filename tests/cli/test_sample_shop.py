"""The sample that `esctl demo` makes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from esctl import open_log
from esctl.cli import sample_shop
from esctl.errors import UnavailableError, UsageError
from tests.conftest import SAMPLE, Esctl


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the sample."""
    sample_shop.make(str(tmp_path / "shop"))
    return tmp_path / "shop"


def test_it_tells_what_it_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "shop"
    told = sample_shop.make(str(folder))
    with open_log(folder / "esctl.db") as log:
        assert told == {"folder": str(folder), "log": str(folder / "esctl.db"), "events": 418, "head": log.head()}


def test_the_files_are_those_of_the_sample(made: Path) -> None:
    names = {path.name for path in SAMPLE.iterdir() if path.is_file()} - {"make_orders.py"}
    assert {path.name for path in made.iterdir()} == names | {"esctl.db"}
    for name in names:
        assert (made / name).read_bytes() == (SAMPLE / name).read_bytes()


def test_payloads_are_stored_as_they_stand_in_the_file(made: Path, esctl: Esctl) -> None:
    stored = esctl("replay", "--raw-schema", "-o", "raw", cwd=made).stdout.splitlines()
    lines = (SAMPLE / "orders.ndjson").read_text(encoding="utf-8").splitlines()
    assert len(stored) == len(lines) == 418
    assert all(f'"data":{data},"meta":' in line for data, line in zip(stored, lines, strict=True))


def test_the_model_holds_and_its_projections_are_up_to_date(made: Path, esctl: Esctl) -> None:
    status = [json.loads(line) for line in esctl("projection", "status", cwd=made).stdout.splitlines()]
    assert {one["projection"]: one["lag"] for one in status} == dict.fromkeys(
        ("customer_orders", "daily_revenue", "payments_by_status"), 0
    )
    with open_log(made / "esctl.db") as log:
        assert log.state("order-1012").state["status"] == "Refunded"
        assert log.rows("customer_orders", where="customer_id = '201'")[0]["orders"] == 9
        assert log.verify().ok


def test_the_deciders_can_be_run(made: Path) -> None:
    for name in ("decide_cancel.sh", "decide_refund.py"):
        assert os.access(made / name, os.X_OK)


@pytest.mark.slow
def test_the_tour_runs_from_there(made: Path, tmp_path: Path) -> None:
    done = subprocess.run(["sh", str(made / "tour.sh")], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "This is the end of the tour." in done.stdout


def test_a_folder_with_other_files_will_do(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    sample_shop.make(str(tmp_path))
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", [*sample_shop.FILES, sample_shop.LOG])
def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_made(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(UsageError) as refused:
        sample_shop.make(str(tmp_path))
    assert refused.value.what == f"{tmp_path / name} exists already"
    assert refused.value.fix
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        sample_shop.make(str(tmp_path / "shop"))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop").touch()
    with pytest.raises(UnavailableError, match="cannot write"):
        sample_shop.make(str(tmp_path / "shop" / "within"))
