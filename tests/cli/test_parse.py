"""The parser of the table reads what Typer reads, for every command and every option, and refuses what it refuses."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from inspect import Parameter, signature
from itertools import islice
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.cli import parse, signatures, typer_app
from esctl.cli.declare import Shared
from esctl.cli.parse import MalformedError, Option, arguments_of, options_of, read, shared_options
from esctl.cli.table import COMMANDS, GROUPS

VALUES = {"text": "x", "int": "3", "float": "3"}


def plain(value: Any) -> Any:
    """A value as both parsers give it, to be compared: what is repeated is a list, also as a default; nan is nan."""
    return list(value) if isinstance(value, list | tuple) else repr(value) if isinstance(value, float) else value


def by_table(words: list[str]) -> dict[str, Any] | None:
    """What the table's parser reads, with the defaults of the functions; None: it refuses."""
    try:
        line = read(words)
    except MalformedError:
        return None
    given = line.own | line.shared
    declared = [*signature(signatures.function_of(line.verb)).parameters.values()]
    declared += signature(Shared.__init__).parameters.values()
    values = {p.name: given.get(p.name, p.default) for p in declared if p.name not in ("self", "shared")}
    return {name: plain(value) for name, value in values.items() if value is not Parameter.empty}


command = functools.cache(typer_app.command)


def by_typer(verb: str, words: list[str]) -> dict[str, Any] | None:
    """What Typer reads; None: it refuses, or prints help."""
    try:
        values = typer_app.values(command(verb), words)
    except (typer_app.HelpRequested, typer.TyperException):
        return None
    return {name: plain(value) for name, value in values.items()}


def value_for(option: Option) -> str:
    if option.kind == "choice":
        return str(option.limits[-1])
    if option.kind in ("int", "float") and option.limits[0] is not None:
        return str(option.limits[0])
    return VALUES[option.kind]


def needed(verb: str) -> list[str]:
    """The fewest words that a command takes."""
    words = [value_for(argument) for argument in arguments_of(verb) if argument.required]
    for option in options_of(verb):
        words += [option.flags[-1], value_for(option)] if option.required else []
    return words


def spellings(option: Option) -> Iterable[list[str]]:
    """An option in every way that it can be written, well or not."""
    for flag in option.flags:
        if option.kind == "flag":
            yield [flag]
            yield [flag, flag]
            yield [f"{flag}=x"]
            continue
        value = value_for(option)
        yield [flag, value]
        yield [f"{flag}={value}"]
        yield [flag, value, flag, value]
        yield [flag]
        yield [f"{flag}{value}"]
        for wrong in ("", "-1", "1e9", "nan", "--", "-x", "0.5", "99999999999999999999"):
            yield [flag, wrong]


@pytest.mark.parametrize("verb", COMMANDS)
def test_both_parsers_read_every_option_of_a_command_alike(verb: str) -> None:
    least, taken = needed(verb), 0
    # What all commands share is read in one place: one command sees every spelling of it, the others one an option.
    most = None if verb == "head" else 1
    shared = [spelling for option in shared_options() for spelling in islice(spellings(option), most)]
    for words in [*shared, *(spelling for option in options_of(verb) for spelling in spellings(option))]:
        for line in ([*words, *least], [*least, *words]):
            expected = by_typer(verb, line)
            assert by_table([*verb.split(), *line]) == expected, line
            taken += expected is not None
    assert taken >= 2 * len(shared_options())


@pytest.mark.parametrize("verb", COMMANDS)
def test_both_parsers_take_as_many_words_for_arguments(verb: str) -> None:
    least = needed(verb)
    for more in ([], ["a"], ["1"], ["a", "b"], ["a", "b", "c"], ["--", "-a"], ["-"], [""]):
        assert by_table([*verb.split(), *least, *more]) == by_typer(verb, [*least, *more])
        assert by_table([*verb.split(), *more]) == by_typer(verb, more)


FLAGS = sorted(
    {flag for verb in COMMANDS for option in [*options_of(verb), *shared_options()] for flag in option.flags}
)
WORDS = st.sampled_from(
    [*FLAGS, *[f"{flag}=1" for flag in FLAGS], "a", "1", "json", "-", "--", "", "-qv", "-qojson", "-h"]
)


@given(st.sampled_from(sorted(COMMANDS)), st.lists(WORDS, max_size=7))
@example("append", ["s", "T", "-qo", "json", "--id=x", "--meta", "a=b", "--meta=c=d", "--", "--id"])
@example("replay", ["-lx", "-qojson", "--limit", "--last"])
def test_both_parsers_read_any_words_alike(verb: str, words: list[str]) -> None:
    assert by_table([*verb.split(), *words]) == by_typer(verb, words)


@pytest.mark.parametrize("verb", ["append", "archive list", "projection show", "model apply"])
@pytest.mark.parametrize(
    "shared",
    [["--log", "x"], ["--log=x"], ["-l", "x"], ["-lx"], ["-qo", "json"], ["-qvojson", "--yes"], []],
    ids=" ".join,
)
def test_shared_options_mean_the_same_wherever_they_stand(verb: str, shared: list[str]) -> None:
    least = needed(verb)
    first, *second = verb.split()
    lines = [[*shared, first, *second, *least], [first, *shared, *second, *least], [first, *second, *least, *shared]]
    found = [by_table(line) for line in lines]
    assert found[0] is not None
    assert found[0] == found[1] == found[2]


def test_what_stands_behind_the_command_wins() -> None:
    assert read(["--log", "a", "head", "--log", "b"]).shared == {"log": "b"}


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        ([], ""), (["--log"], ""), (["--zzz", "head"], ""), (["-q"], ""), (["nonsense"], "nonsense"),
        (["archive"], "archive"), (["archive", "-q"], "archive"), (["archive", "nope"], "archive nope"),
        (["-h"], ""), (["archive", "-h"], "archive"), (["head", "-h"], "head"), (["head", "--zzz"], "head"),
    ],
)  # fmt: skip
def test_a_command_line_that_is_not_well_formed_says_how_far_it_was_understood(words: list[str], verb: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read(words)
    assert caught.value.verb == verb


def test_no_option_of_a_command_takes_a_name_from_the_shared_ones() -> None:
    shared = {flag for option in shared_options() for flag in option.flags} | {
        option.name for option in shared_options()
    }
    for verb in COMMANDS:
        own = {flag for option in options_of(verb) for flag in option.flags} | {
            option.name for option in options_of(verb)
        }
        assert own & (shared | set(parse.HELP)) == set(), verb


def test_an_argument_that_takes_many_words_stands_last() -> None:
    for verb in COMMANDS:
        assert not any(argument.many for argument in arguments_of(verb)[:-1]), verb


def test_a_group_is_no_command() -> None:
    assert set(GROUPS) & set(COMMANDS) == set()
