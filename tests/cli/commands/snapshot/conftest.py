"""A log with aggregates whose policies ask for snapshots."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import Esctl, records, succeeded

COLUMNS = ("stream", "aggregate", "version", "position", "time", "bytes", "taken", "problem")
MODEL = """
[aggregate.order]
streams = "order-*"
snapshot = { every = 3, on = ["Closed"] }
on."*".add = { n = 1 }
[aggregate.pay]
streams = "pay-*"
on."*".add = { n = 2 }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with three orders (one closed, one long), a payment and a cart; it is copied, never used."""
    folder = tmp_path_factory.mktemp("snapshot")
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(folder / "log.db", write=True, create=True) as log:
        for stream, type_ in (
            ("order-1", "Placed"), ("order-1", "Closed"), ("order-2", "Placed"), ("order-3", "Placed"),
            ("order-3", "Paid"), ("order-3", "Sent"), ("pay-1", "Paid"), ("cart-1", "Filled"),
        ):  # fmt: skip
            log.append(stream, type_, {"a": 1})
        log.apply_model(folder / "model.toml")
    return folder / "log.db"


@pytest.fixture
def run(run: Esctl, made: Path, log_path: Path) -> Esctl:
    """Run esctl on such a log of this test's own."""
    shutil.copy(made, log_path)
    return run


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The records of a command that went well."""
    succeeded(done)
    return records(done)


def streams(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [row["stream"] for row in rows(done)]
