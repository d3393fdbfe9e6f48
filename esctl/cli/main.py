"""The entry point: parses the command line from the table, then imports and runs the one command that it names.

This module also decides how a run ends: its exit code, its error message, the signal that ends the process. A shell
loop pays for a cold start per event, so this module loads nothing that the command does not need, least of all Typer.
"""

from __future__ import annotations

import os
import sys

from esctl import errors
from esctl.cli import parse
from esctl.cli.declare import Shared
from esctl.errors import EsctlError, Stopped, UnavailableError, UsageError
from esctl.output import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from sys import UnraisableHookArgs
    from types import FrameType

ALIASES = {"-V": "version", "--version": "version", "-h": "help", "--help": "help"}
"""Common flags that stand for commands."""


def main() -> None:
    """Run this process's command line, and end the process."""
    _require_stdout()
    from _signal import SIGTERM, signal  # type: ignore[import-not-found]  # noqa: PLC0415 - `signal` is slow: it makes enums

    signal(SIGTERM, _stop)
    sys.unraisablehook = _unraisable
    errors.ending = _end_at_once
    code = run(sys.argv[1:])
    _flush()
    os._exit(code)  # stdout is flushed, the log is closed; skip the interpreter's slow shutdown


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; a signal ends the process instead."""
    return outcome(argv)[0]


def outcome(argv: Sequence[str]) -> tuple[int, EsctlError | None]:
    """Like run; also return the error that ended the command. It is reported already."""
    if argv[:3] == ["completion", "words", "--"]:
        return _complete(argv[3:]), None
    argv = [ALIASES.get(argv[0], argv[0]), *argv[1:]] if argv else []
    line: parse.Line | None = None
    try:
        try:
            line = parse.read(argv)
        except parse.MalformedError as error:
            from esctl.cli import wrong  # noqa: PLC0415 - loads Typer, for malformed command lines only

            return wrong.explain(error), None
        return _call(line), None
    except BaseException as error:  # noqa: BLE001 - every exception gets its exit code and its message here
        failure = _ended_by(error, argv, line)
        return failure.exit_code, failure


def _call(line: parse.Line) -> int:
    """Run a command with its parsed values."""
    shared = Shared(**line.shared)
    shared.apply()
    if shared.format == "cloudevents" and line.verb != "replay":
        why = f"esctl {line.verb} has no such format"
        raise UsageError("-o cloudevents is for replay only", why=why, fix="esctl replay --help")
    module = __import__(
        f"esctl.cli.commands.{line.verb.replace(' ', '.').replace('-', '_')}", fromlist=("command",)
    )  # faster than importlib
    code: int | None = module.command(shared, **line.own)
    return code or 0


def _flush() -> None:
    """Flush stdout and stderr; their reader may be gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            console.silence()


def _complete(words: Sequence[str]) -> int:
    """Print completions for the scripts of `esctl completion`; not a public command."""
    from esctl.cli.complete import watched  # noqa: PLC0415

    console.text("".join(f"{word}\n" for word in watched(list(words))))
    return 0


def _ended_by(error: BaseException, argv: Sequence[str], line: parse.Line | None) -> EsctlError:
    """Report the exception that ended a run, and return it as an EsctlError."""
    if isinstance(error, KeyboardInterrupt | Stopped | BrokenPipeError):
        if not isinstance(error, BrokenPipeError):
            _flush()
        _die_of(error)
    failure = error if isinstance(error, EsctlError) else _translated(error, argv)
    if line is not None and failure.exit_code == EsctlError.exit_code:
        from esctl.cli import damage  # noqa: PLC0415 - only for what nobody expected

        failure = damage.behind(failure, line)
    if "--debug" in argv:
        import traceback  # noqa: PLC0415

        console.say("".join(traceback.format_exception(error)).rstrip())
    console.report(failure, "json" if _wants_json_errors(argv) else "text", fix=_fix(failure, argv, line))
    return failure


def _end_at_once(error: BaseException) -> None:
    """End this process, from a thread: the main one is busy for good, perhaps in a transaction, which is rolled back by
    the next process.
    """
    if not isinstance(error, Stopped):
        os._exit(_ended_by(error, sys.argv[1:], None).exit_code)
    import ctypes  # noqa: PLC0415 - only here: `signal` works in the main thread only

    ctypes.pythonapi.PyOS_setsig(error.signum, None)
    os.kill(os.getpid(), error.signum)


def _translated(error: BaseException, argv: Sequence[str]) -> EsctlError:
    """The EsctlError for an exception that is not one of esctl's own."""
    import errno  # noqa: PLC0415

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
        console.silence()
        return UnavailableError("cannot write to stdout", why=error.strerror or "")
    if isinstance(error, MemoryError):
        return UnavailableError("there is not enough memory")
    if isinstance(error, UnicodeEncodeError) and any(not _is_unicode(argument) for argument in argv):
        return UsageError("an argument is not valid UTF-8", why="names and paths are text in UTF-8")
    return EsctlError(
        f"esctl failed: {type(error).__name__}: {error}",
        why="this is a bug in esctl; --debug prints the traceback that a bug report needs",
        again="" if "--debug" in argv else "--debug",
    )


def _is_unicode(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fix(error: EsctlError, argv: Sequence[str], line: parse.Line | None) -> str:
    """The command that the error offers, ready to paste: it names the same log."""
    log: str | None = line.shared.get("log") if line else None
    if error.again is None and (log is None or not error.fix):
        return error.fix
    from esctl.cli import fixes  # noqa: PLC0415 - loads shlex, for failures only

    if error.again is None:
        return error.fix and fixes.about(error.fix, log or "")
    return fixes.fed(argv, error.feed, error.details.get("file")) if error.feed else fixes.again(argv, error.again)


def _wants_json_errors(argv: Sequence[str]) -> bool:
    """Looked up before parsing, so that a wrong command line is reported in this format too."""
    return "--error-format=json" in argv or "--error-format\0json" in "\0".join(argv)


def _require_stdout() -> None:
    """Refuse to run with a closed stdout: an event would be stored and never acknowledged."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - stays open
    if sys.stdout is None:
        closed = UnavailableError("stdout is closed", why="redirect it to /dev/null if you do not need the output")
        console.report(closed)
        os._exit(closed.exit_code)


def _stop(signum: int, _: FrameType | None) -> None:
    raise Stopped(signum)


def _unraisable(ignored: UnraisableHookArgs) -> None:
    """Python ignores an exception within a destructor or a callback of an import; a signal must end the process there,
    too. An open transaction is rolled back by the next process.
    """
    if isinstance(ignored.exc_value, Stopped | KeyboardInterrupt):
        _die_of(ignored.exc_value)
    sys.__unraisablehook__(ignored)


def _die_of(ended: BaseException) -> None:
    """Die of the signal itself, so that shells and loops see it."""
    import signal  # noqa: PLC0415

    if isinstance(ended, BrokenPipeError):
        console.silence()
        signum = signal.SIGPIPE
    else:
        signum = signal.Signals(ended.signum) if isinstance(ended, Stopped) else signal.SIGINT
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
