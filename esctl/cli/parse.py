"""A command line -> the command that is meant and its values, by the generated table; without Typer.

It reads what Typer reads, and gives up on what Typer refuses: Typer then says what is wrong (`esctl.cli.typer_app`). A
test runs both over every command and every option.
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
    """An option, or an argument, which has no flags; `limits` are its choices, or its least and greatest value."""

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
    """A command's arguments, in their order."""
    return [Option(row) for row in COMMANDS[verb][2]]


class MalformedError(Exception):
    """A command line that is to be explained: wrong, or a question for help. `verb` is as far as it was understood."""

    def __init__(self, verb: str, words: Sequence[str]) -> None:
        super().__init__(verb)
        self.verb = verb
        self.words = list(words)


class Line:
    """A command line that is well-formed: `verb` is `replay` or `archive create`; values by the names of parameters.

    An option that was not given has no value: the default of the command's function holds.
    """

    __slots__ = ("own", "shared", "verb")

    def __init__(self, verb: str, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.verb, self.shared, self.own = verb, shared, own


def read(argv: Sequence[str]) -> Line:
    """Read a command line. Raises MalformedError for one that is wrong, or that asks for help."""
    verb, shared, words = split(argv)
    if verb not in COMMANDS:
        raise MalformedError(verb, words)
    options, shared_ones = options_of(verb), shared_options()
    given: dict[str, Any] = {}
    rest = list(words)
    try:
        loose = _taken(rest, by_flag([*shared_ones, *options]), given, interspersed=True)
        _placed(loose, arguments_of(verb), given)
        _complete(options, given)
    except ValueError as error:
        raise MalformedError(verb, words) from error
    for option in shared_ones:
        if option.name in given:
            shared[option.name] = given.pop(option.name)
    return Line(verb, shared, given)


def split(argv: Sequence[str]) -> tuple[str, dict[str, Any], list[str]]:
    """The command, the values of shared options that stand before it, and the words behind it.

    Raises MalformedError where what stands before the command is wrong, or no command is there.
    """
    rest = list(argv)
    shared: dict[str, Any] = {}
    verb = _next_verb("", rest, shared)
    if verb in GROUPS:
        verb = f"{verb} {_next_verb(verb, rest, shared)}"
    return verb, shared, rest


def _next_verb(before: str, rest: list[str], shared: dict[str, Any]) -> str:
    """Take shared options and the word behind them off the words."""
    words = list(rest)
    try:
        _taken(rest, by_flag(shared_options()), shared, interspersed=False)
        return rest.pop(0)
    except (ValueError, IndexError) as error:
        raise MalformedError(before, words) from error


def by_flag(options: Sequence[Option]) -> dict[str, Option]:
    """Options by each of their flags."""
    return {flag: option for option in options for flag in option.flags}


def _taken(rest: list[str], known: Mapping[str, Option], given: dict[str, Any], *, interspersed: bool) -> list[str]:
    """Take options and their values off the words; what is neither, up to the first of it if not `interspersed`.

    Raises ValueError for an option that is not known or a value that it cannot have.
    """
    loose: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-":
            if not interspersed:
                rest.insert(0, word)
                break
            loose.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag in known and len(flag) > 2:
            if equals:
                rest.insert(0, value)
            _take(known[flag], rest, given, attached=bool(equals))
        elif word[1] != "-":
            _take_short(word, rest, known, given)
        else:
            raise ValueError(word)
    if interspersed:
        loose += rest
        rest.clear()
    return loose


def _take_short(word: str, rest: list[str], known: Mapping[str, Option], given: dict[str, Any]) -> None:
    """Take options of one letter that stand together, the last perhaps with its value: -q, -qv, -qo json, -ojson."""
    for at, letter in enumerate(word[1:], 2):
        option = known.get(f"-{letter}")
        if option is None:
            raise ValueError(word)
        if option.kind != "flag":
            if attached := word[at:]:
                rest.insert(0, attached)
            _take(option, rest, given)
            return
        _take(option, rest, given)


def _take(option: Option, rest: list[str], given: dict[str, Any], *, attached: bool = False) -> None:
    if option.kind == "flag":
        if attached:
            raise ValueError(option.name)
        given[option.name] = True
        return
    if not rest:
        raise ValueError(option.name)
    value = _value(option, rest.pop(0))
    if option.many:
        given.setdefault(option.name, []).append(value)
    else:
        given[option.name] = value


def _value(option: Option, text: str) -> Any:
    """A value as the option's kind reads it. Raises ValueError."""
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


def _complete(options: Sequence[Option], given: Mapping[str, Any]) -> None:
    for option in options:
        if option.required and option.name not in given:
            raise ValueError(option.name)


def _placed(loose: list[str], arguments: Sequence[Option], given: dict[str, Any]) -> None:
    """Give words to the arguments in their order; one that takes many, the last, takes all that are left."""
    left = list(loose)
    for argument in arguments:
        if argument.many:
            values, left = left, []
            if values:
                given[argument.name] = [_value(argument, text) for text in values]
        elif left:
            given[argument.name] = _value(argument, left.pop(0))
        if argument.required and argument.name not in given:
            raise ValueError(argument.name)
    if left:
        raise ValueError(left[0])
