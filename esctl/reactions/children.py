"""Child processes in groups of their own, and what they write."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress

from esctl.errors import UsageError
from esctl.reactions.results import MAX_OUTPUT, TAIL_BYTES

READ_BYTES = 64 * 1024
READ_AT_END = 64  # so often at most: a child that left the group may write for ever
POLL_SECONDS = 0.01  # where no descriptor says that a process has ended
DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores these, and a process would inherit that


class Child:
    """A process in a group of its own. `files` are its descriptors on this side: "pid", "stdin", "stdout", "stderr"."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.tail = b""  # the end of its stderr
        self.output = bytearray()  # of its stdout
        self.too_much = False
        self.files: dict[int, str] = {}

    def signal(self, number: int) -> None:
        """Send a signal to the group. The process is not yet waited for, so the group's number is still its own."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def read(self, descriptor: int) -> bool:
        """Read what it has written; False at the end of that."""
        try:
            block = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return True
        if self.files[descriptor] == "stderr":
            self.tail = (self.tail + block)[-TAIL_BYTES:]
        else:
            self.output += block
            if len(self.output) > MAX_OUTPUT:
                self.too_much = True
                self.output.clear()
                self.signal(signal.SIGKILL)
        return bool(block)

    def drain(self, descriptor: int) -> None:
        """Read what is left when the process has ended."""
        for _ in range(READ_AT_END):
            try:
                if not self.read(descriptor) or self.too_much:
                    return
            except OSError:
                return

    def ended(self) -> int:
        """End what is left of the group of a process that has ended; return its exit code, negative for a signal."""
        self.signal(signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def stderr(self) -> str:
        """The end of what it wrote to stderr, as text."""
        return self.tail.decode("utf-8", "replace")


def spawn(
    program: str, arguments: list[str], environment: Mapping[str, str], stdin: int, stdout: int, stderr: int
) -> int:
    """Start a program with these descriptors; return its process id."""
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in ((0, stdin), (1, stdout), (2, stderr))]
    return os.posix_spawnp(
        program, arguments, environment, file_actions=actions, setpgroup=0, setsigdef=DEFAULTS, setsigmask=()
    )


def file_with(content: bytes, files: list[int]) -> int:
    """A file with some content, to be read from its beginning. Nobody has to feed it, and nobody has to read it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("event")
        files.append(descriptor)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
            files.append(descriptor)
    view, written = memoryview(content), 0
    while written < len(view):
        written += os.pwrite(descriptor, view[written:], written)  # which leaves the descriptor at its beginning
    return descriptor


def pipe(files: list[int]) -> tuple[int, int]:
    """The ends of a pipe, for reading and for writing."""
    ends = os.pipe()
    files += ends
    return ends


def descriptor_of(pid: int) -> int | None:
    """A descriptor that can be read when the process has ended; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it still has to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def failure(code: int) -> tuple[int, str]:
    """The exit status of a process as a shell says it, and how it failed (empty: it did not)."""
    if code >= 0:
        return code, f"failed with status {code}" if code else ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return 128 - code, f"died of {name}"


def require(program: str) -> None:
    """Raise UsageError unless a program can be run."""
    import shutil  # noqa: PLC0415 - once at the start

    if shutil.which(program) is None:
        is_there = os.path.exists(program)
        raise UsageError(
            f"cannot run {program}", why="it is not executable: chmod +x" if is_there else "there is no such program"
        )
