"""A log of 60 events to archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

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
