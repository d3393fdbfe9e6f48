"""What is whole of a damaged log is given, nothing else is, and a log of it passes every check."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.long import salvage as harness


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> harness.Original:
    path = tmp_path_factory.mktemp("salvage") / "whole" / "log.db"
    path.parent.mkdir()
    harness.make(path)
    return harness.original(path)


def test_a_whole_log_is_whole(first: harness.Original, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(first.path.parent, folder)
    assert harness.check(first, folder, set()) == "whole"


@pytest.mark.parametrize("seed", range(4))
def test_all_that_is_whole_is_given_and_nothing_else(first: harness.Original, tmp_path: Path, seed: int) -> None:
    what, ended = harness.one(first, tmp_path / "work", seed)
    assert not ended.startswith("FAILED"), f"{what}: {ended}"
