"""All commands, and how a run ends: its exit code, its last words, the signal that it dies of."""

from __future__ import annotations

import difflib
import errno
import os
import signal
import traceback
from collections.abc import Callable
from types import FrameType, ModuleType

import typer
from typer.core import TyperCommand, TyperGroup

from esctl import __version__, output
from esctl.cli import (
    append,
    archive,
    backup,
    bisect,
    compact,
    completion,
    decide,
    diff,
    erase,
    fork,
    head,
    info,
    init,
    mark,
    marks,
    migrate,
    model,
    project,
    projection,
    query,
    replay,
    restore,
    show,
    snapshot,
    state,
    streams,
    types,
    upcast,
    verify,
)
from esctl.cli import help as help_
from esctl.cli.options import Command, hoist
from esctl.errors import EsctlError, UnavailableError, UsageError
from esctl.ingest import Stopped

EPILOG = (
    "Topics: esctl help exit-codes, time, format, model, environment, cookbook.   Each command: esctl COMMAND --help."
)

app = typer.Typer(
    name="esctl",
    help="An event store in one SQLite file: append facts, replay them as they stood at any moment, prove them.",
    epilog=EPILOG,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
WRITING = (init, append, decide, mark)
READING = (replay, state, diff, bisect, show, streams, types, info, marks, query, project, head)
MODELLING = (model, upcast, snapshot, projection)
ARCHIVING = (archive,)
GROUPS = (*MODELLING, *ARCHIVING)
KEEPING = (erase, verify, backup, restore, fork, compact, migrate, help_, completion)
_HELP = {"help_option_names": ["-h", "--help"]}


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _add(group: typer.Typer, name: str, function: Callable[..., None], examples: str) -> None:
    epilog = f"\b\n{examples}"  # as it stands, not wrapped
    group.command(name=name, cls=Command, epilog=epilog, context_settings=_HELP)(function)


for module in (*WRITING, *READING):
    _add(app, _name(module), module.command, module.EXAMPLES)
for module in GROUPS:
    group = typer.Typer(help=module.ABOUT, epilog=f"\b\n{module.EXAMPLES}", rich_markup_mode=None, no_args_is_help=True)
    for verb, function in module.COMMANDS.items():
        _add(group, verb, function, module.EXAMPLES)
    app.add_typer(group, name=_name(module), context_settings=_HELP)
for module in KEEPING:
    _add(app, _name(module), module.command, module.EXAMPLES)


@app.callback(invoke_without_command=True)
def main(version: bool = typer.Option(False, "--version", help="Show the version.")) -> None:
    """What holds without a command."""
    if version:
        output.text(f"esctl {__version__}\n")
        raise typer.Exit


def verbs() -> list[str]:
    """The commands' names."""
    return [_name(module) for module in (*WRITING, *READING, *GROUPS, *KEEPING)]


def subverbs(verb: str) -> list[str]:
    """The commands of a group of commands; none of any other."""
    return [verb_ for module in GROUPS if _name(module) == verb for verb_ in module.COMMANDS]


def options(verb: str, subverb: str = "") -> list[str]:
    """The long options of a command."""
    known: object = typer.main.get_command(app)
    for word in (verb, subverb):
        known = known.commands.get(word) if isinstance(known, TyperGroup) else known
    params = known.params if isinstance(known, TyperCommand) else ()
    return [name for option in params for name in option.opts if name.startswith("--")]


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; a signal ends the process instead."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _invoke(hoist(arguments, [_name(group) for group in GROUPS]))
    except BaseException as error:  # noqa: BLE001 - whatever ends a command gets its exit code and its last words here
        return ended_by(error, arguments)


def ended_by(error: BaseException, arguments: list[str]) -> int:
    """The exit code of a run that an exception ended, told on stderr; a signal ends the process as it would have."""
    if isinstance(error, KeyboardInterrupt | typer.Abort | Stopped | BrokenPipeError):
        _die_of(error)
    told = error if isinstance(error, EsctlError) else _bug(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
        output.silence()
        told = UnavailableError("cannot write to stdout", why=error.strerror or "")
    if isinstance(error, UnicodeEncodeError) and any(not _is_unicode(argument) for argument in arguments):
        told = UsageError("an argument is not valid UTF-8", why="names and paths are text in UTF-8")
    if "--debug" in arguments:
        output.say("".join(traceback.format_exception(error)).rstrip())
    output.report(told, "json" if _wants_json_errors(arguments) else "text")
    return told.exit_code


def _is_unicode(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bug(error: BaseException) -> EsctlError:
    return EsctlError(
        f"esctl failed: {type(error).__name__}: {error}",
        why="this is a bug in esctl",
        fix="run it again with --debug and report what it prints",
    )


def _invoke(arguments: list[str]) -> int:
    """Parse and run, without Click's own handling of errors and signals."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("esctl", arguments) as ctx:
            command.invoke(ctx)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as error:
        if not arguments or (len(arguments) == 1 and subverbs(arguments[0])):
            output.say(error.format_message())  # the help, which Typer gives to a command line that asks for nothing
            return UsageError.exit_code
        raise _usage(error, command, arguments) from error
    return 0


def _usage(error: typer.TyperException, group: object, arguments: list[str]) -> UsageError:
    """Typer's complaint in esctl's form, with what may have been meant."""
    verb = arguments[0]
    whole = " ".join(arguments[:2]) if arguments[1:2] and arguments[1] in subverbs(verb) else verb
    message = error.format_message()
    near: list[str] = list(getattr(error, "possibilities", None) or ())
    if isinstance(group, TyperGroup) and message.startswith("No such command"):
        words = subverbs(verb) or group.commands
        near = difflib.get_close_matches(message.split("'")[1], words, 3, 0.5)
    message = message.partition(" Did you mean")[0].partition(" (Possible options")[0].rstrip(".")
    known = isinstance(group, TyperGroup) and verb in group.commands
    return UsageError(
        message[0].lower() + message[1:],
        why=f"did you mean {' or '.join(near)}?" if near else "",
        fix=f"esctl {whole} --help" if known else "esctl --help",
    )


def _wants_json_errors(arguments: list[str]) -> bool:
    """Known before anything is parsed, so that a wrong command line is told in the form that was asked for."""
    joined = "\0".join(arguments)
    return "--error-format=json" in arguments or "--error-format\0json" in joined


def _stop(signum: int, _: FrameType | None) -> None:
    raise Stopped(signum)


def _die_of(ended: BaseException) -> None:
    """End as the signal would have ended a program that knows nothing of it, so that shells and loops see it."""
    if isinstance(ended, BrokenPipeError):
        output.silence()
        signum = signal.SIGPIPE
    else:
        signum = signal.Signals(ended.signum) if isinstance(ended, Stopped) else signal.SIGINT
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
