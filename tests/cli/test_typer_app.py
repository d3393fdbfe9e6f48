"""What Typer says: help of a command, and what is wrong with a command line."""

from __future__ import annotations

import re

import pytest

from esctl.cli import typer_app
from esctl.cli.parse import options_of
from esctl.cli.table import COMMANDS
from esctl.errors import UsageError


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_of_a_command_shows_examples_before_its_own_options_and_names_where_the_shared_ones_are(verb: str) -> None:
    text = typer_app.help_of(verb)
    assert text.startswith(f"Usage: esctl {verb}")
    examples, options = text.index("\nExamples:\n"), text.find("\nOptions:\n")
    assert examples < options or options == -1
    assert re.search(rf"^  (.*\| |.*&& |source <\(|.*; )?esctl {verb}\b", text[examples:], re.MULTILINE)
    assert "esctl help options" in text
    assert "--safe-csv" not in text
    for option in options_of(verb):
        assert option.flags[-1] in text[options:]


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_of_a_command_fits_80_columns_but_for_commands_that_are_longer(verb: str) -> None:
    lines = typer_app.help_of(verb).splitlines()
    examples = lines.index("Examples:")
    for line in lines[:examples] + lines[lines.index("", examples) :]:
        assert len(line) <= 80
    for line in lines[examples : lines.index("", examples)]:
        assert len(line) <= (110 if line.startswith("  ") and line[2:3] != " " and "   " not in line.strip() else 80)


@pytest.mark.parametrize("verb", COMMANDS)
def test_usage_names_arguments_as_the_rest_of_the_help_does(verb: str) -> None:
    usage, _, _ = typer_app.help_of(verb).partition("\n\n")
    assert not set("{}") & set(usage)


def test_the_shared_options_are_explained_once() -> None:
    text = typer_app.help_of_shared()
    for flag in ("--log", "--format", "--quiet", "--safe-csv", "--error-format"):
        assert flag in text


@pytest.mark.parametrize(
    ("verb", "words", "what", "why"),
    [
        ("replay", ["--limitt", "3"], "no such option: --limitt", "did you mean --limit?"),
        ("bisect", ["--fields", "a"], "no such option: --fields", ""),
        ("head", ["--formatt", "json"], "no such option: --formatt", "did you mean --format?"),
        ("diff", [], "missing argument 'STREAM'", ""),
        ("completion", ["tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'", ""),
        ("replay", ["a", "b"], "got unexpected extra argument(s) (b)", ""),
        ("replay", ["--limit"], "option '--limit' requires an argument", ""),
        ("replay", ["--limit", "x"], "'x' is not a whole number", ""),
    ],
)
def test_a_complaint_names_what_is_wrong_and_what_may_have_been_meant(
    verb: str, words: list[str], what: str, why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        typer_app.help_or_complaint(verb, words)
    assert what in caught.value.what
    assert caught.value.why == why
    assert caught.value.fix == f"esctl {verb} --help"


@pytest.mark.parametrize(
    ("verb", "words", "fix"),
    [
        ("init", ["a.db"], "esctl init --log a.db"),
        ("archive list", ["my log.db", "-q"], "esctl archive list --log 'my log.db' -q"),
        ("replay", ["s", "a.db"], "esctl replay s --log a.db"),
        ("head", ["a.db", "b.db"], "esctl head --help"),
        ("head", ["--log", "a.db", "b.db"], "esctl head --log a.db --log b.db"),
    ],
)
def test_a_log_that_stands_where_no_argument_does_is_offered_with_its_option(
    verb: str, words: list[str], fix: str
) -> None:
    with pytest.raises(UsageError) as caught:
        typer_app.help_or_complaint(verb, words)
    assert caught.value.fix == fix


def test_words_before_a_command_are_complained_of_too() -> None:
    with pytest.raises(UsageError, match="--log"):
        typer_app.check_shared("", ["--log"])
    typer_app.check_shared("", ["-q"])
