"""esctl as its users run it, without the start of an interpreter: a fork of a server that has it loaded.

Each command is a process with its own descriptors, folder, environment and signals; it ends as it would by itself. What
only a new interpreter shows (which modules are loaded, its flags) takes a real one.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from ctypes import CDLL
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZE = 8  # bytes of the number that says how long a request is


def run(
    arguments: Sequence[str],
    *,
    input: bytes = b"",
    cwd: Path,
    env: Mapping[str, str],
    seconds: int = 0,
    memory: int = 0,
    preload: str = "",
    lane: int = 0,
    source: Path = ROOT,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line; the return code is negative for a signal that ended it, as of `subprocess`. If they are
    given, it may take so many seconds, and so many bytes of memory.

    `preload` is a library that obeys the environment's SHIM_… (tests/long/shim.py). Commands that run at the same time
    need a lane each. `source` is the folder that has the package.
    """
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        request = json.dumps([list(arguments), str(cwd), dict(env), seconds, memory]).encode()
        server = _server(preload, lane, source)
        socket.send_fds(server, [len(request).to_bytes(SIZE)], [stdin.fileno(), stdout.fileno(), stderr.fileno()])
        server.sendall(request)
        code = os.waitstatus_to_exitcode(int.from_bytes(_received(server, SIZE)))
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(["esctl", *arguments], code, stdout.read(), stderr.read())


@cache
def _server(preload: str, lane: int, source: Path) -> socket.socket:  # noqa: ARG001 - a server for each lane
    """The connection to a server of this process, which ends when the connection does."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tests.runner", str(theirs.fileno())]
    env = {**os.environ, "LD_PRELOAD": preload} if preload else None
    process = subprocess.Popen(command, cwd=source, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


@cache
def cache_home() -> str:
    """Where commands keep compiled models: not in the home of who runs the tests, and shared by a process's tests."""
    folder = tempfile.mkdtemp(prefix="esctl-cache-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# The server


def load() -> None:
    """Import all that commands need, so that a fork of this process need not."""
    from esctl.cli.table import COMMANDS

    for verb in COMMANDS:
        import_module(f"esctl.cli.commands.{verb.replace(' ', '.').replace('-', '_')}")
    for module in (
        "append.ingest",
        "output.tables",
        "archive.moving",
        "store.segments",
        "cli.lines",
        "cli.wrong",
        "cli.fixes",
    ):
        import_module(f"esctl.{module}")
    gc.freeze()


def serve(descriptor: int) -> None:
    """Run one command after the other, for as long as somebody asks."""
    load()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    while True:
        size, streams, _, _ = socket.recv_fds(connection, SIZE, 3)
        if not size:
            return
        request = json.loads(_received(connection, int.from_bytes(size)))
        child = os.fork()
        if not child:
            arguments, cwd, env, seconds, memory = request
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            become(arguments, cwd, env, streams, seconds)
        for stream in streams:
            os.close(stream)
        connection.sendall(os.waitpid(child, 0)[1].to_bytes(SIZE))


def become(
    arguments: Sequence[str], cwd: str, env: Mapping[str, str], streams: Sequence[int], seconds: int = 0
) -> None:
    """Be the command from here on, as a new interpreter would be at its start."""
    from esctl.cli import main

    try:
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(seconds)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for target, source in enumerate(streams):
            os.dup2(source, target)
        os.closerange(3, 64)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        sys.argv = ["esctl", *arguments]
        sys.stdin = open(0, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        if "SHIM_MODE" in env:
            CDLL(None).shim_arm()
        main.main()
    except BaseException:  # noqa: BLE001 - the test sees what it was
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(99)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
