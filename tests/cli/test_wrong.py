"""Command lines that are no command: help that they ask for, and near misses."""

from __future__ import annotations

import re

import pytest

from esctl.cli.table import COMMANDS
from tests.conftest import Esctl, succeeded


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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples_in_plain_text(esctl: Esctl, command: str) -> None:
    text = succeeded(esctl(*command.split(), "--help", env={"FORCE_COLOR": "1"}))
    assert text == succeeded(esctl(*command.split(), "-h"))
    assert text.startswith(f"Usage: esctl {command} ")
    assert re.search(rf"^ +.*\besctl {command}\b", text.partition("Examples:")[2], re.MULTILINE)
    assert all(line.isprintable() for line in text.splitlines())
    assert "--log" in text


@pytest.mark.parametrize(
    "words",
    [[], ["-q"], ["archive"], ["-q", "archive"], ["archive", "-q"], ["model"], ["upcast"], ["snapshot"]],
    ids=" ".join,
)
def test_a_command_line_that_asks_for_nothing_gets_the_list_on_stderr(words: list[str], esctl: Esctl) -> None:
    done = esctl(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: esctl ")
    assert "\\n" not in done.stderr
    assert len(done.stderr.splitlines()) > 5


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("replai", "replay"),
        ("apend s T", "append"),
        ("archive crate", "archive create"),
        ("modl show", "model"),
        ("verison", "version"),
        ("model shwo", "model show?"),
        ("model chek x.toml", "model check?"),
        ("upcast rewrit", "upcast rewrite?"),
        ("snapshot verfy", "snapshot verify?"),
        ("replay --limitt 3", "--limit"),
        ("append --atomik", "--atomic"),
        ("head --formatt json", "--format"),
        ("model plan x.toml --chek", "--check"),
        ("snapshot take --du", "--due"),
    ],
)
def test_a_near_miss_of_a_command_or_an_option_is_suggested(words: str, near: str, esctl: Esctl) -> None:
    done = esctl(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert f"did you mean {near}" in done.stderr
    assert "fix: esctl" in done.stderr


def test_help_of_a_command_is_the_same_by_both_ways(esctl: Esctl) -> None:
    asked, told = esctl("archive", "create", "--help"), esctl("help", "archive", "create")
    assert asked.stdout == told.stdout != ""
    assert asked.returncode == told.returncode == 0


@pytest.mark.parametrize("words", ["model plan", "upcast show", "snapshot take --nope", "model show x"])
def test_a_wrong_command_line_names_the_help_of_its_command(esctl: Esctl, words: str) -> None:
    done = esctl(*words.split())
    assert done.returncode == 2
    group, verb, *_ = words.split()
    assert f"fix: esctl {group} {verb} --help" in done.stderr
