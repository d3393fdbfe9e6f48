"""Typer's part: the help of a command, and what is wrong with a command line. Loaded for these two only.

Typer reads the signature of a command's function, from which the parser's table is generated too.
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

WIDTH = 80  # columns of help, on any terminal


class HelpRequested(Exception):  # noqa: N818 - it is no error
    """The command line asks for help; the message is the help text."""


class Command(TyperCommand):
    """A command whose help shows examples, then its own options, then one line about the shared options."""

    shared: Sequence[Param] = ()
    examples = ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help as plain text."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        formatter.write(f"\n{_wrapped(self.examples)}\n")
        own = [param for param in self.params if param not in self.shared]
        for title, kind in (("Arguments", TyperArgument), ("Options", TyperOption)):
            rows = [row for param in own if isinstance(param, kind) and (row := param.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        formatter.write("\nOptions of every command, such as --log, -o and -q: esctl help options\n")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments without braces: Typer writes {STREAM} for a required one."""
        return [piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)]

    def get_help(self, ctx: Any) -> str:
        """Raise the help instead of returning it: Typer would print it."""
        raise HelpRequested(super().get_help(ctx) + "\n")


def _wrapped(examples: str) -> str:
    """Examples, one per line; the comment of a long one goes to the next line."""
    lines = (
        line if len(line) <= WIDTH else re.sub(r"(?<=\S) {2,}", "\n      ", line, count=1)
        for line in examples.splitlines()
    )
    return "\n".join(lines)


def command(verb: str) -> Command:
    """The Typer command of a verb."""
    module = module_of(verb)
    return _build(verb, params(module.command), inspect.getdoc(module.command), module.EXAMPLES)


def _build(verb: str, own: list[Param], about: str | None, examples: str) -> Command:
    shared = shared_params()
    built = Command(
        name=verb,
        params=[*own, *shared],
        help=about,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH, "terminal_width": WIDTH},
        callback=lambda **_: None,
    )
    built.shared, built.examples = shared, examples
    return built


def help_of(verb: str) -> str:
    """The text of `esctl COMMAND --help`."""
    return help_or_complaint(verb, ["--help"])


def help_of_shared() -> str:
    """The text of `esctl help options`."""
    built = _build("COMMAND", [], "", "")
    with built.make_context("esctl COMMAND", []) as ctx:
        formatter = ctx.make_formatter()
        formatter.write("Every command takes these options, before or after its name.\n")
        with formatter.section("Options"):
            formatter.write_dl([row for param in built.shared if (row := param.get_help_record(ctx))])
        return str(formatter.getvalue())


def values(typer_command: Command, words: Sequence[str]) -> dict[str, Any]:
    """The values of all parameters, as Typer parses them. Raises HelpRequested, and Typer's exceptions."""
    with typer_command.make_context(f"esctl {typer_command.name}", list(words)) as ctx:
        return dict(ctx.params)


def help_or_complaint(verb: str, words: Sequence[str]) -> str:
    """The help that the words after a command ask for. Raises UsageError if they are wrong."""
    try:
        values(command(verb), words)
    except HelpRequested as help_requested:
        return str(help_requested)
    except typer.TyperException as error:
        complaint = _complaint(error, verb, [*shared_options(), *options_of(verb)])
        if corrected := _with_log(verb, words):
            complaint.why, complaint.fix = "name the log with --log", corrected
        raise complaint from error
    raise AssertionError(f"Typer accepts esctl {verb} {' '.join(words)}")


def _with_log(verb: str, words: Sequence[str]) -> str:
    """The command line with --log before a word that ends in .db, if that makes it well-formed."""
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
    """Raise UsageError if the options before a command are wrong."""
    try:
        with _build("", [], "", "").make_context("esctl", list(words), allow_interspersed_args=False):
            return
    except typer.TyperException as error:
        raise _complaint(error, group, shared_options()) from error


def _complaint(error: Any, verb: str, options: Sequence[Option]) -> UsageError:
    """Typer's message as an error of esctl, with similar options as a hint."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = re.sub("is not a valid int( range)?", "is not a whole number", message)
    message = " ".join(message.partition(" Did you mean")[0].partition(" (Possible options")[0].split()).rstrip(".")
    known = [flag for option in options for flag in option.flags if flag.startswith("--")]
    wrong = getattr(error, "option_name", "") if hasattr(error, "possibilities") else ""
    # Compare without the dashes, which would make all options similar.
    near = [f"--{name}" for name in difflib.get_close_matches(wrong[2:], [flag[2:] for flag in known], 3, 0.65)]
    return UsageError(
        message[0].lower() + message[1:],
        why=f"did you mean {' or '.join(near)}?" if near else "",
        fix=f"esctl {verb} --help" if verb else "esctl --help",
    )
