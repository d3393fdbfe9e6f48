"""The way in: a command line is read by the table, the one command that it names is imported and run.

This module also says how a run ends: its exit code, its last words, the signal that it dies of. A shell loop pays a
cold start per event, so that nothing is loaded here that the command does not need; Typer least of all.
"""

from __future__ import annotations

import os
import sys

from esctl.cli import parse
from esctl.cli.declare import Shared
from esctl.errors import EsctlError, Stopped, UnavailableError, UsageError
from esctl.output import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

ALIASES = {"-V": "version", "--version": "version", "-h": "help", "--help": "help"}
"""What people type without knowing the commands."""


def main() -> None:
    """Run this process's command line, and end the process."""
    _have_streams()
    from _signal import SIGTERM, signal  # type: ignore[import-not-found]  # noqa: PLC0415 - `signal` makes enums of all

    signal(SIGTERM, _stop)
    code = run(sys.argv[1:])
    _flush()
    os._exit(code)  # stdout is flushed and the log closed: all that the interpreter's own end would do takes time


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; a signal ends the process instead."""
    return outcome(argv)[0]


def outcome(argv: Sequence[str]) -> tuple[int, EsctlError | None]:
    """The same, with the error that ended it, which is reported already."""
    if argv[:3] == ["completion", "words", "--"]:
        return _complete(argv[3:]), None
    argv = [ALIASES.get(argv[0], argv[0]), *argv[1:]] if argv else []
    named: str | None = None
    try:
        try:
            line = parse.read(argv)
        except parse.MalformedError as error:
            from esctl.cli import wrong  # noqa: PLC0415 - Typer, which a well-formed command line does without

            return wrong.explain(error), None
        named = line.shared.get("log")
        return _call(line), None
    except BaseException as error:  # noqa: BLE001 - whatever ends a command gets its exit code and its last words here
        failure = _ended_by(error, argv, named)
        return failure.exit_code, failure


def _call(line: parse.Line) -> int:
    """Run a command with its values."""
    shared = Shared(**line.shared)
    shared.settle()
    if shared.format == "cloudevents" and line.verb != "replay":
        why = f"esctl {line.verb} prints none"
        raise UsageError("-o cloudevents is for events", why=why, fix="esctl replay --help")
    module = __import__(f"esctl.cli.commands.{line.verb.replace(' ', '.')}", fromlist=("command",))  # importlib is slow
    code: int | None = module.command(shared, **line.own)
    return code or 0


def _flush() -> None:
    """Write what is buffered, as the interpreter's own end would; who reads it may be gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            console.silence()


def _complete(words: Sequence[str]) -> int:
    """What the completion scripts ask for; not a command that people type."""
    from esctl.cli.complete import candidates  # noqa: PLC0415

    console.text("".join(f"{word}\n" for word in candidates(list(words))))
    return 0


def _ended_by(error: BaseException, argv: Sequence[str], log: str | None) -> EsctlError:
    """What an exception that ended a run means, after it is reported; `log` is the log that was named."""
    if isinstance(error, KeyboardInterrupt | Stopped | BrokenPipeError):
        if not isinstance(error, BrokenPipeError):
            _flush()
        _die_of(error)
    failure = error if isinstance(error, EsctlError) else _translated(error, argv)
    if "--debug" in argv:
        import traceback  # noqa: PLC0415

        console.say("".join(traceback.format_exception(error)).rstrip())
    console.report(failure, "json" if _wants_json_errors(argv) else "text", fix=_fix(failure, argv, log))
    return failure


def _translated(error: BaseException, argv: Sequence[str]) -> EsctlError:
    """What an error that is none of esctl's own means."""
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
        why="this is a bug in esctl; --debug shows where, which a report of it needs",
        again="" if "--debug" in argv else "--debug",
    )


def _is_unicode(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fix(error: EsctlError, argv: Sequence[str], log: str | None) -> str:
    """The command that helps, as it can be pasted: about the log that was named."""
    if error.again is None and (log is None or not error.fix):
        return error.fix
    from esctl.cli import fixes  # noqa: PLC0415 - shlex, for failures only

    return error.fix and fixes.about(error.fix, log or "") if error.again is None else fixes.again(argv, error.again)


def _wants_json_errors(argv: Sequence[str]) -> bool:
    """Known before anything is parsed, so that a wrong command line is reported in the form that was asked for."""
    return "--error-format=json" in argv or "--error-format\0json" in "\0".join(argv)


def _have_streams() -> None:
    """Refuse to work towards a closed stdout: an event would be stored and never acknowledged."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - stays open
    if sys.stdout is None:
        closed = UnavailableError("stdout is closed", why="/dev/null takes output that nobody needs")
        console.report(closed)
        os._exit(closed.exit_code)


def _stop(signum: int, _: FrameType | None) -> None:
    raise Stopped(signum)


def _die_of(ended: BaseException) -> None:
    """End as the signal would have ended a program that knows nothing of it, so that shells and loops see it."""
    import signal  # noqa: PLC0415

    if isinstance(ended, BrokenPipeError):
        console.silence()
        signum = signal.SIGPIPE
    else:
        signum = signal.Signals(ended.signum) if isinstance(ended, Stopped) else signal.SIGINT
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
