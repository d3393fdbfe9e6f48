"""A log to apply models to, and models."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import Esctl

MODEL = """# orders
[aggregate.order]
streams = "order-*"
on.Placed.set = { status = "Placed" }
"""
WRONG = """
[evnt.Paid]
[event.Paid]
schem = 2
[aggregate.order]
streams = "order-*"
on.Placed.sett = { status = "Placed" }
"""
CHANGE = ("change", "kind", "name", "events", "snapshots", "projections", "misfits", "detail")


@pytest.fixture
def run(run: Esctl, log_path: Path) -> Esctl:
    """Runs esctl, as zoe, on a log of two events, one of which has no number for an amount."""

    def as_zoe(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return run(*arguments, env={"USER": "zoe", **(env or {})}, **options)

    with open_log(log_path, write=True) as log:
        log.append("order-1", "Placed")
        log.append("order-1", "Paid", {"amount": "much"})
    return as_zoe


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], str]:
    """Writes a model file and gives its name."""

    def write(text: str, name: str = "model.toml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


Model = Callable[..., str]


def ended(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stderr
