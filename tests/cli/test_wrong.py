"""Command lines that are no command: help that they ask for, and near misses."""

from __future__ import annotations

import pytest

from tests.conftest import Esctl


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["-q", "--help"]], ids=" ".join)
def test_help_without_a_command_lists_the_commands(words: list[str], esctl: Esctl) -> None:
    done = esctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nWrite:\n" in done.stdout


@pytest.mark.parametrize("words", [["archive", "--help"], ["archive", "-h"], ["help", "archive"]], ids=" ".join)
def test_help_of_a_group_lists_its_commands(words: list[str], esctl: Esctl) -> None:
    done = esctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: esctl archive COMMAND")


@pytest.mark.parametrize("words", [[], ["-q"], ["archive"], ["-q", "archive"], ["archive", "-q"]], ids=" ".join)
def test_a_command_line_that_asks_for_nothing_gets_the_list_on_stderr(words: list[str], esctl: Esctl) -> None:
    done = esctl(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: esctl ")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["replai"], "replay"),
        (["archive", "crate"], "archive create"),
        (["modl", "show"], "model"),
        (["verison"], "version"),
    ],
)
def test_a_near_miss_of_a_command_is_suggested(words: list[str], near: str, esctl: Esctl) -> None:
    done = esctl(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"did you mean {near}" in done.stderr


def test_help_of_a_command_is_the_same_by_both_ways(esctl: Esctl) -> None:
    asked, told = esctl("archive", "create", "--help"), esctl("help", "archive", "create")
    assert asked.stdout == told.stdout != ""
    assert asked.returncode == told.returncode == 0
