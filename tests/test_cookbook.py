"""What the cookbook shows is what happens."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.runner import ROOT
from tests.transcripts import check, commands, fences

HELP = ROOT / "esctl" / "help"


def lacks(tools: str) -> bool:
    """Whether a block cannot be run here: `zstd`, `duckdb`, `duckdb sqlite` for its extension, `pandas` in Python."""
    if tools == "pandas":
        return importlib.util.find_spec("pandas") is None
    if tools and not shutil.which(tools.split(maxsplit=1)[0]):
        return True
    load = ["duckdb", "-c", "load sqlite"]  # loads what is installed; fetches nothing
    return tools.endswith(" sqlite") and subprocess.run(load, capture_output=True, check=False).returncode != 0


@pytest.mark.slow
def test_the_cookbooks_recipes_work(tmp_path: Path) -> None:
    if missing := [tool for tool in ("bash", "jq", "python3", "sqlite3", "timeout") if not shutil.which(tool)]:
        pytest.skip(f"{', '.join(missing)} not installed")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    ran = 0
    for language, words, content in fences((HELP / "cookbook.md").read_text(encoding="utf-8")):
        if language != "console":
            (tmp_path / words).write_text(content, encoding="utf-8")
        elif not lacks(words):
            for command, expected in commands(content):
                check(command, expected, tmp_path, "bash")
                ran += 1
    assert ran > 100


def test_every_block_of_the_cookbook_is_known() -> None:
    known = {("console", tools) for tools in ("", "datasette", "duckdb", "duckdb sqlite", "pandas", "zstd")}
    for language, words, _ in fences((HELP / "cookbook.md").read_text(encoding="utf-8")):
        assert (language, words) in known or re.fullmatch(r"[a-z_]+\.(?:bash|py)", words), (language, words)


def test_help_fits_the_width_of_the_other_topics() -> None:
    for topic in ("environment", "cookbook", "model", "format", "time", "exit-codes", "reactions"):
        lines = (HELP / f"{topic}.md").read_text(encoding="utf-8").split("\n")
        assert [line for line in lines if len(line) > 120] == []


def test_a_continued_command_is_one_command() -> None:
    assert list(commands("$ a |\n> b\nout\n> more\n$ c\n")) == [("a |\nb", "out\n> more\n"), ("c", "")]
