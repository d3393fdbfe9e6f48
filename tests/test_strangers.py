"""Strangers' files: no command fails on one with a bug, runs on, or touches anything else. All commands, by hand:
`python -m tests.long.strangers`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.long.strangers import FILES, SHORT, base, examine

SLOW = {name for name in FILES if "huge" in name or "many" in name or "bomb" in name or name.startswith("odd-")}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    base(folder)
    return folder


@pytest.mark.parametrize("name", sorted(FILES.keys() - SLOW))
def test_a_strangers_file_does_no_harm(name: str, original: Path, tmp_path: Path) -> None:
    assert examine(name, original, tmp_path / "place", SHORT) == []
