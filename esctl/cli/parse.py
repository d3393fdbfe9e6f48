"""Parses a command line with the generated table, without Typer.

It accepts what Typer accepts. For what Typer refuses it raises MalformedError, and Typer then says what is wrong
(`esctl.cli.typer_app`). A test runs both parsers over every command and every option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esctl.cli.table import COMMANDS, GROUPS, SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.cli.table import Row

HELP = ("-h", "--help")


class Option:
    """An option, or an argument (which has no flags); `limits` are its choices, or its minimum and maximum."""

    __slots__ = ("flags", "kind", "limits", "many", "metavar", "name", "required")

    def __init__(self, row: Row) -> None:
        self.name, self.flags, self.kind, self.limits, self.many, self.required, self.metavar = row


def shared_options() -> list[Option]:
    """The options that every command takes."""
    return [Option(row) for row in SHARED]


def options_of(verb: str) -> list[Option]:
    """A command's own options."""
    return [Option(row) for row in COMMANDS[verb][1]]


def arguments_of(verb: str) -> list[Option]:
    """A command's arguments, in order."""
    return [Option(row) for row in COMMANDS[verb][2]]


class MalformedError(Exception):
    """A command line that is wrong or asks for help. `verb` is the part of the command that was recognised."""

    def __init__(self, verb: str, words: Sequence[str]) -> None:
        super().__init__(verb)
        self.verb = verb
        self.words = list(words)


class Line:
    """A well-formed command line: `verb` is `replay` or `archive create`; values are keyed by parameter name.

    An option that was not given has no value: the command's function has the default.
    """

    __slots__ = ("own", "shared", "verb")

    def __init__(self, verb: str, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.verb, self.shared, self.own = verb, shared, own


def read(argv: Sequence[str]) -> Line:
    """Parse a command line. Raises MalformedError if it is wrong or asks for help."""
    verb, shared, words = split(argv)
    if verb not in COMMANDS:
        raise MalformedError(verb, words)
    own_options, all_shared = options_of(verb), shared_options()
    values: dict[str, Any] = {}
    rest = list(words)
    try:
        positionals = _parse_options(rest, by_flag([*all_shared, *own_options]), values, interspersed=True)
        _assign(positionals, arguments_of(verb), values)
        _check_required(own_options, values)
    except ValueError as error:
        raise MalformedError(verb, words) from error
    for option in all_shared:
        if option.name in values:
            shared[option.name] = values.pop(option.name)
    return Line(verb, shared, values)


def split(argv: Sequence[str]) -> tuple[str, dict[str, Any], list[str]]:
    """Split a command line into the command, the values of shared options before it, and the words after it.

    Raises MalformedError if the words before the command are wrong, or if there is no command.
    """
    rest = list(argv)
    shared: dict[str, Any] = {}
    verb = _next_verb("", rest, shared)
    if verb in GROUPS:
        verb = f"{verb} {_next_verb(verb, rest, shared)}"
    return verb, shared, rest


def _next_verb(before: str, rest: list[str], shared: dict[str, Any]) -> str:
    """Remove shared options and the next word from `rest`; return that word."""
    words = list(rest)
    try:
        _parse_options(rest, by_flag(shared_options()), shared, interspersed=False)
        return rest.pop(0)
    except (ValueError, IndexError) as error:
        raise MalformedError(before, words) from error


def by_flag(options: Sequence[Option]) -> dict[str, Option]:
    """The options, keyed by each of their flags."""
    return {flag: option for option in options for flag in option.flags}


def _parse_options(
    rest: list[str], known: Mapping[str, Option], values: dict[str, Any], *, interspersed: bool
) -> list[str]:
    """Remove options and their values from `rest`; return the positional words.

    Unless `interspersed`, stop at the first positional word. Raises ValueError for an unknown option or a bad value.
    """
    positionals: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-":
            if not interspersed:
                rest.insert(0, word)
                break
            positionals.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag in known and len(flag) > 2:
            if equals:
                rest.insert(0, value)
            _parse_option(known[flag], rest, values, attached=bool(equals))
        elif word[1] != "-":
            _parse_letters(word, rest, known, values)
        else:
            raise ValueError(word)
    if interspersed:
        positionals += rest
        rest.clear()
    return positionals


def _parse_letters(word: str, rest: list[str], known: Mapping[str, Option], values: dict[str, Any]) -> None:
    """Parse one-letter options in one word, the last perhaps with its value: -q, -qv, -qo json, -ojson."""
    for at, letter in enumerate(word[1:], 2):
        option = known.get(f"-{letter}")
        if option is None:
            raise ValueError(word)
        if option.kind != "flag":
            if attached := word[at:]:
                rest.insert(0, attached)
            _parse_option(option, rest, values)
            return
        _parse_option(option, rest, values)


def _parse_option(option: Option, rest: list[str], values: dict[str, Any], *, attached: bool = False) -> None:
    if option.kind == "flag":
        if attached:
            raise ValueError(option.name)
        values[option.name] = True
        return
    if not rest:
        raise ValueError(option.name)
    value = _value(option, rest.pop(0))
    if option.many:
        values.setdefault(option.name, []).append(value)
    else:
        values[option.name] = value


def _value(option: Option, text: str) -> Any:
    """Convert a word to the option's kind. Raises ValueError."""
    kind, limits = option.kind, option.limits
    if kind == "text":
        return text
    if kind == "choice":
        if text not in limits:
            raise ValueError(text)
        return text
    number = int(text) if kind == "int" else float(text)
    low, high = limits
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(text)
    return number


def _check_required(options: Sequence[Option], values: Mapping[str, Any]) -> None:
    for option in options:
        if option.required and option.name not in values:
            raise ValueError(option.name)


def _assign(positionals: list[str], arguments: Sequence[Option], values: dict[str, Any]) -> None:
    """Assign words to the arguments in order; an argument that repeats, always the last one, takes all the rest."""
    rest = list(positionals)
    for argument in arguments:
        if argument.many:
            words, rest = rest, []
            if words:
                values[argument.name] = [_value(argument, word) for word in words]
        elif rest:
            values[argument.name] = _value(argument, rest.pop(0))
        if argument.required and argument.name not in values:
            raise ValueError(argument.name)
    if rest:
        raise ValueError(rest[0])
