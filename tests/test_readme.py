"""What the README and the tour show is what happens."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.runner import ROOT
from tests.transcripts import check, commands, environment, fences, matches

Tour = subprocess.CompletedProcess[str]


def test_the_readmes_transcripts_happen(tmp_path: Path) -> None:
    if not (shutil.which("jq") and shutil.which("sqlite3")):
        pytest.skip("jq and sqlite3 are not installed")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    ran = 0
    for language, words, content in fences((ROOT / "README.md").read_text(encoding="utf-8")):
        if words:
            (tmp_path / words).write_text(content, encoding="utf-8")
        for command, expected in commands(content) if language == "console" else ():
            check(command, expected, tmp_path)
            ran += 1
    assert ran > 15


def test_the_readmes_generated_parts_are_current() -> None:
    command = [sys.executable, "-m", "cogapp", "--check", "README.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "run: cog -r README.md\n" + done.stdout + done.stderr


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1 OrderPlaced 3 {'order_id': '1', 'customer_id': '7', 'total_amount': 99.9}",
        "2 PaymentReceived 1 {'order_id': '1', 'payment_id': 'p-1', 'amount': 99.9}",
        "Placed Paid",
        "only a placed order can be paid",
        "99.9 0.0",
    ]


@pytest.fixture(scope="module")
def tour() -> Tour:
    """What the tour prints, run once."""
    command = ["sh", str(ROOT / "sample_data" / "tour.sh")]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def test_the_tour_ends_in_a_verified_log(tour: Tour) -> None:
    assert tour.returncode == 0, tour.stderr
    assert '{"ok":true,"mode":"full","events":422,"erased":2,' in tour.stdout.splitlines()[-3]


def test_the_tour_shows_what_is_archived_and_erased(tour: Tour) -> None:
    assert re.search(r"^1-100 .*\n101-200 ", tour.stdout, re.MULTILINE)
    assert len(re.findall(r"\(erased\)", tour.stdout)) == 2


def test_the_tour_shows_what_a_model_does(tour: Tour) -> None:
    firsts = [line for line in tour.stdout.splitlines() if line.startswith('{"order_id":') and '"items"' in line]
    assert [sorted(set(json.loads(line)) & {"amount", "total_amount", "discount"}) for line in firsts] == [
        ["amount"], ["amount", "discount"], *[["discount", "total_amount"]] * 4,
    ]  # fmt: skip
    assert re.findall(r"^exit (\d+)$", tour.stdout, re.MULTILINE) == ["10", "5", "4", "5"]
    assert "is refused: only a placed order can be paid" in tour.stderr
    assert re.search(r"^\$ esctl snapshot take --due.*\n35$", tour.stdout, re.MULTILINE)


def test_the_tour_shows_a_reaction(tour: Tour) -> None:
    assert '{"reaction":"mail","position":419,"handled":13,"failed":1,"parked":1,' in tour.stdout
    assert re.search(r"^mail +order-1042 +366 +OrderPlaced +parked ", tour.stdout, re.MULTILINE)


def test_the_saga_refunds_what_is_not_shipped() -> None:
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    command = ["sh", str(ROOT / "sample_data" / "payment-saga.sh")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^authorize +order-2 +2 +OrderPlaced +parked +2 +1 ", done.stdout, re.MULTILINE)
    assert "stderr    no answer from the bank for " in done.stdout
    told = re.findall(r"^\d (\w+) 50$", done.stdout, re.MULTILINE)
    assert told == ["OrderPlaced", "PaymentAuthorized", "PaymentCaptured", "ShippingFailed", "PaymentRefunded"]
    assert re.search(r"^ {12}└── #13 PaymentRefunded in order-2 v5 ", done.stdout, re.MULTILINE)
    assert '{"reaction":"capture","position":13,"handled":0,' in done.stdout


def test_the_tour_shows_projections(tour: Tour) -> None:
    assert '{"projection":"payments_by_status",' in tour.stdout
    assert re.search(r"^201 +9 +0 +923\.05 +2026-03-06$", tour.stdout, re.MULTILINE)
    assert re.search(r"^2026-03-04 .*█", tour.stdout, re.MULTILINE)
    shown = tour.stdout.partition("--until 2026-01-31 --total revenue")[2]
    assert re.findall(r"^2026-\S+", shown, re.MULTILINE)[:3] == ["2026-01-02", "2026-01-04", "2026-01-06"]
    assert re.search(r"^daily_revenue +\S+ +live ", shown, re.MULTILINE)


def test_the_readme_has_the_first_screens_of_the_samples_projections() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    sample = tomllib.loads((ROOT / "sample_data" / "shop.toml").read_text(encoding="utf-8"))
    section = page.partition("\n## Projections\n")[2].partition("\n## ")[0]
    shown = re.findall(r"^\$ esctl projection show (\w+)", section, re.MULTILINE)
    assert shown == list(sample["projection"])


def test_the_sample_is_what_its_script_makes() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "sample_data" / "make_orders.py")], capture_output=True, check=True
    ).stdout
    assert made == (ROOT / "sample_data" / "orders.ndjson").read_bytes()


def test_a_transcript_that_differs_is_noticed() -> None:
    assert matches('{"id":"…","n":1}', '{"id":"abc","n":1}\n')
    assert not matches('{"id":"…","n":1}', '{"id":"abc","n":2}\n')
    assert not matches("one", "one\ntwo")
