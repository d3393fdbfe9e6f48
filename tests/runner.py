"""esctl as its users run it, without the start of an interpreter: a fork of this process becomes the command.

It has its own descriptors, folder, environment and signals, ends as it would by itself, and nothing that it does
reaches the tests. What only a new interpreter shows (which modules are loaded, its flags) takes a real process.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import apsw

from esctl import aggregates, archive, ingest, projections, tables  # noqa: F401 - a command finds them loaded
from esctl.cli import commands, main
from esctl.cli.table import COMMANDS

for verb in COMMANDS:
    import_module(f"{commands.__name__}.{verb.replace(' ', '.')}")


ESCTL = Path(sys.executable).with_name("esctl")


def run(
    arguments: Sequence[str], *, input: bytes = b"", cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line; the return code is negative for a signal that ended it, as of `subprocess`.

    Where this process has a log open it takes a real process: a fork would inherit what SQLite knows of locks here, but
    not the locks.
    """
    if any(connection.filename for connection in apsw.connections()):
        command = [str(ESCTL), *arguments]
        return subprocess.run(command, input=input, capture_output=True, cwd=cwd, env=env, check=False)
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        code = os.waitstatus_to_exitcode(
            os.waitpid(start(arguments, (stdin.fileno(), stdout.fileno(), stderr.fileno()), cwd, env), 0)[1]
        )
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(["esctl", *arguments], code, stdout.read(), stderr.read())


def start(arguments: Sequence[str], streams: tuple[int, int, int], cwd: Path, env: Mapping[str, str]) -> int:
    """Start a command line on three open descriptors; its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the one that forks goes on, no other is asked
        child = os.fork()
    if child:
        return child
    try:
        _become(arguments, streams, cwd, env)
    except BaseException:  # noqa: BLE001 - the test sees what it was
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(99)


def _become(arguments: Sequence[str], streams: tuple[int, int, int], cwd: Path, env: Mapping[str, str]) -> NoReturn:
    """Be the command from here on, as a new interpreter would be at its start."""
    gc.freeze()  # what the tests have open is not this process's to close
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for target, source in enumerate(streams):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["esctl", *arguments]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    main.main()
    raise AssertionError
