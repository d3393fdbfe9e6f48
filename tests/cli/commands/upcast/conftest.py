"""A log with a payment, a heartbeat and a cart, and upcasts of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import Esctl

MODEL = """
[[event.Paid.upcast]]
from = 1
rename = { amount = "sum" }
[[event.Heartbeat.upcast]]
from = 1
drop = true
[[event.Cart.upcast]]
from = 1
split = [ { type = "A" }, { type = "B", remove = ["x"] } ]
"""
MISFIT = '[[event.Paid.upcast]]\nfrom = 1\nconvert = { amount = "number" }\n'


@pytest.fixture
def run(run: Esctl, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on a log with a payment, a heartbeat, a cart, and a payment over no number."""
    with open_log(log_path, write=True) as log:
        log.append("p", "Paid", {"amount": 5}, id="a", schema=1)
        log.append("p", "Heartbeat", id="b", schema=1)
        log.append("p", "Cart", {"x": 1}, id="c", schema=1)
        log.append("p", "Paid", {"amount": "much"}, id="d", schema=1)
        (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
        log.apply_model(tmp_path / "model.toml")
        (tmp_path / "misfit.toml").write_text(MISFIT, encoding="utf-8")
    return run


def misfitting(log_path: Path, tmp_path: Path) -> None:
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "misfit.toml")
