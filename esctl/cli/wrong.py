"""Explains a malformed command line: prints the help that it asks for, or says what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from esctl.cli import overview, typer_app
from esctl.cli.commands import version
from esctl.cli.parse import HELP, MalformedError
from esctl.cli.table import COMMANDS, GROUPS
from esctl.errors import UsageError
from esctl.output import console


def explain(error: MalformedError) -> int:
    """Print help and return 0 if help was asked for, or 2 if there was no command.

    Raises UsageError that says what is wrong.
    """
    verb, words = error.verb, error.words
    group, _, inner = verb.partition(" ")
    if verb in COMMANDS:
        return _print(typer_app.help_or_complaint(verb, words))
    if group in GROUPS and not inner:
        return _without_command(group, words)
    if group in GROUPS or verb:
        raise _unknown(verb, [*overview.subverbs(group)] if group in GROUPS else overview.verbs())
    return _without_command("", words)


def _without_command(group: str, words: Sequence[str]) -> int:
    """There is no command: help was asked for, nothing was given, or an option is wrong."""
    text = overview.group(group) if group else overview.commands()
    if any(word in HELP for word in words):
        return _print(text)
    if not group and {"-V", "--version"} & set(words):  # after other options; at the front it is an alias of `version`
        return _print(version.text())
    typer_app.check_shared(group, words)
    console.say(text.rstrip("\n"))
    return UsageError.exit_code


def _print(text: str) -> int:
    console.text(text)
    return 0


def _unknown(verb: str, known: Sequence[str]) -> UsageError:
    group, _, inner = verb.rpartition(" ")
    names = [name.removeprefix(f"{group} ") for name in known]
    near = [f"{group} {name}".strip() for name in difflib.get_close_matches(inner, names, 3, 0.5)]
    return UsageError(
        f"no such command {verb!r}",
        why=f"did you mean {' or '.join(near)}?" if near else "",
        fix=f"esctl {group} --help" if group else "esctl --help",
    )
