"""Typer's part: help of a command, and what is wrong with a command line. Loaded for these two only.

A command is built from its function's signature: Typer reads there what the parser's table was generated from.
"""

from __future__ import annotations

import difflib
import inspect
import re
import shlex
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from esctl.cli.parse import MalformedError, Option, options_of, read, shared_options
from esctl.cli.signatures import Param, module_of, params, shared_params
from esctl.errors import UsageError

WIDTH = 80  # columns that help is written for, whatever the terminal has


class HelpAsked(Exception):  # noqa: N818 - it is no error
    """A command line asks for help; the text is what it gets."""


class Command(TyperCommand):
    """A command whose help shows examples first, then its own options, then where the shared ones are explained."""

    shared: Sequence[Param] = ()
    examples = ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Plain text; the shared options are one line."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        formatter.write(f"\n{_laid(self.examples)}\n")
        own = [param for param in self.params if param not in self.shared]
        for title, kind in (("Arguments", TyperArgument), ("Options", TyperOption)):
            rows = [row for param in own if isinstance(param, kind) and (row := param.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        formatter.write("\nOptions of every command, such as --log, -o and -q: esctl help options\n")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments under their own names: Typer writes {STREAM} where one is required, which no shell would take."""
        return [piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)]

    def get_help(self, ctx: Any) -> str:
        """Typer asks for this where a command line has --help, and would print it."""
        raise HelpAsked(super().get_help(ctx) + "\n")


def _laid(examples: str) -> str:
    """Examples, each in one line; where that has no room, its explanation comes beneath."""
    lines = (
        line if len(line) <= WIDTH else re.sub(r"(?<=\S) {2,}", "\n      ", line, count=1)
        for line in examples.splitlines()
    )
    return "\n".join(lines)


def command(verb: str) -> Command:
    """The command of a verb, as Typer has it."""
    module = module_of(verb)
    return _made(verb, params(module.command), inspect.getdoc(module.command), module.EXAMPLES)


def _made(verb: str, own: list[Param], about: str | None, examples: str) -> Command:
    shared = shared_params()
    made = Command(
        name=verb,
        params=[*own, *shared],
        help=about,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH, "terminal_width": WIDTH},
        callback=lambda **_: None,
    )
    made.shared, made.examples = shared, examples
    return made


def help_of(verb: str) -> str:
    """What `esctl COMMAND --help` prints."""
    return help_or_complaint(verb, ["--help"])


def help_of_shared() -> str:
    """What `esctl help options` prints."""
    made = _made("COMMAND", [], "", "")
    with made.make_context("esctl COMMAND", []) as ctx:
        formatter = ctx.make_formatter()
        formatter.write("Every command takes these options, before its name or behind it.\n")
        with formatter.section("Options"):
            formatter.write_dl([row for param in made.shared if (row := param.get_help_record(ctx))])
        return str(formatter.getvalue())


def values(made: Command, words: Sequence[str]) -> dict[str, Any]:
    """The values of all parameters, as Typer reads the words behind a command. Raises HelpAsked, and what it raises."""
    with made.make_context(f"esctl {made.name}", list(words)) as ctx:
        return dict(ctx.params)


def help_or_complaint(verb: str, words: Sequence[str]) -> str:
    """The help that the words behind a command ask for. Raises UsageError for what is wrong with them."""
    try:
        values(command(verb), words)
    except HelpAsked as asked:
        return str(asked)
    except typer.TyperException as error:
        complaint = _complaint(error, verb, [*shared_options(), *options_of(verb)])
        if meant := _with_log(verb, words):
            complaint.why, complaint.fix = "a log is named by --log", meant
        raise complaint from error
    raise AssertionError(f"Typer finds nothing wrong with esctl {verb} {' '.join(words)}")


def _with_log(verb: str, words: Sequence[str]) -> str:
    """The command line with --log before a word that looks like a log's file, if that makes it well-formed."""
    for at, word in enumerate(words):
        if word.endswith(".db"):
            line = [*verb.split(), *words[:at], "--log", *words[at:]]
            try:
                read(line)
            except MalformedError:
                continue
            return shlex.join(["esctl", *line])
    return ""


def check_shared(group: str, words: Sequence[str]) -> None:
    """Raise UsageError for what is wrong with the options that stand before a command."""
    try:
        with _made("", [], "", "").make_context("esctl", list(words), allow_interspersed_args=False):
            return
    except typer.TyperException as error:
        raise _complaint(error, group, shared_options()) from error


def _complaint(error: Any, verb: str, options: Sequence[Option]) -> UsageError:
    """What Typer says in esctl's form, with what may have been meant."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = " ".join(message.partition(" Did you mean")[0].partition(" (Possible options")[0].split()).rstrip(".")
    known = [flag for option in options for flag in option.flags if flag.startswith("--")]
    wrong = getattr(error, "option_name", "") if hasattr(error, "possibilities") else ""
    # Without the dashes, which every option has: --match is not like --utc.
    near = [f"--{name}" for name in difflib.get_close_matches(wrong[2:], [flag[2:] for flag in known], 3, 0.65)]
    return UsageError(
        message[0].lower() + message[1:],
        why=f"did you mean {' or '.join(near)}?" if near else "",
        fix=f"esctl {verb} --help" if verb else "esctl --help",
    )
