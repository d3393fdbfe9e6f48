"""Run a process for each event.

One loop serves all of them: a selector with a file descriptor for the process itself, where the system has these, and
with what it writes. A thread or a `subprocess.Popen` for each event would take twice the time of the processor.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import time

from esctl.reactions.children import POLL_SECONDS, Child, descriptor_of, failure, file_with, has_ended, pipe, spawn
from esctl.reactions.definition import Command
from esctl.reactions.items import Item
from esctl.reactions.results import MAX_OUTPUT, MISSING, TIMED_OUT, Result

SHORT = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL


class Process(Child):
    """The process of an event."""

    def __init__(self, pid: int, item: Item, deadline: float) -> None:
        super().__init__(pid)
        self.item, self.deadline = item, deadline
        self.timed_out = False


class Processes:
    """The processes that handle events, at most so many at a time."""

    def __init__(
        self, command: Command, log: str, *, concurrency: int = 1, timeout: float = 30.0, outputs: bool = False
    ) -> None:
        """`log` is the path of the log, for ESCTL_LOG; a process is ended after `timeout` seconds; with `outputs`, what
        it prints is collected.
        """
        self._command, self._outputs = command, outputs
        self._concurrency, self._timeout = concurrency, timeout
        self._environment = {**os.environ, "ESCTL_LOG": os.path.abspath(log)}
        self._selector = selectors.DefaultSelector()
        self._processes: set[Process] = set()
        self._failed: list[Result] = []

    @property
    def running(self) -> int:
        """How many events are being handled."""
        return len(self._processes) + len(self._failed)

    @property
    def has_room(self) -> bool:
        """Whether another event may be started."""
        return len(self._processes) + len(self._failed) < self._concurrency

    def fits(self, _: str) -> bool:
        """Whether an event may be started, of whatever key."""
        return self.has_room

    def start(self, item: Item) -> None:
        """Start the process of an event."""
        try:
            self._start(item)
        except (OSError, ValueError) as error:  # there is no such program; an argument has a NUL
            if getattr(error, "errno", None) in SHORT and self._processes:  # of descriptors, processes or memory
                self._concurrency = len(self._processes)
                self._failed.append(Result(item, 0, str(error), counts=False))
                return
            why = getattr(error, "strerror", None) or str(error)
            self._failed.append(Result(item, MISSING, f"cannot run {self._command.program}: {why}"))

    def _start(self, item: Item) -> None:
        arguments = self._command.arguments(item)
        files: list[int] = []
        try:
            stdin = file_with(item.line + b"\n", files)
            stderr, its_stderr = pipe(files)
            stdout, its_stdout = pipe(files) if self._outputs else (-1, 2)
            environment = self._environment | variables(item)
            pid = spawn(self._command.program, arguments, environment, stdin, its_stdout, its_stderr)
            process = Process(pid, item, time.monotonic() + self._timeout)
            for descriptor, kind in ((stderr, "stderr"), (stdout, "stdout")):
                if descriptor >= 0:
                    files.remove(descriptor)
                    os.set_blocking(descriptor, False)
                    self._watch(process, descriptor, kind)
        finally:
            for descriptor in files:
                os.close(descriptor)
        if (its_end := descriptor_of(pid)) is not None:
            self._watch(process, its_end, "pid")
        self._processes.add(process)

    def _watch(self, process: Process, descriptor: int, kind: str) -> None:
        process.files[descriptor] = kind
        self._selector.register(descriptor, selectors.EVENT_READ, process)

    def wait(self, seconds: float) -> list[Result]:
        """The results of the processes that have ended."""
        results, self._failed = self._failed, []
        now = time.monotonic()
        seconds = 0.0 if results else max(0.0, min([seconds, *(p.deadline - now for p in self._processes)]))
        without = [process for process in self._processes if "pid" not in process.files.values()]
        for key, _ in self._selector.select(min(seconds, POLL_SECONDS) if without else seconds):
            process: Process = key.data
            # It may be of a process whose end was in the same batch.
            kind = process.files.get(key.fd)
            if kind == "pid":
                results.append(self._ended(process))
            elif kind is not None and not process.read(key.fd):
                self._close(process, key.fd)
        results += [self._ended(process) for process in without if has_ended(process.pid)]
        self._end_late()
        return results

    def _end_late(self) -> None:
        """End the processes whose time is up: first they are asked to."""
        now = time.monotonic()
        for process in self._processes:
            if now >= process.deadline:
                process.signal(signal.SIGKILL if process.timed_out else signal.SIGTERM)
                process.timed_out = True
                process.deadline = now + GRACE_SECONDS

    def _ended(self, process: Process) -> Result:
        """The result of a process that has ended, and the end of all that is left of its group."""
        code = process.ended()
        for descriptor, kind in list(process.files.items()):
            if kind != "pid":
                process.drain(descriptor)
            self._close(process, descriptor)
        self._processes.discard(process)
        return result_of(process, code, self._timeout)

    def _close(self, process: Process, descriptor: int) -> None:
        del process.files[descriptor]
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def end(self) -> None:
        """End all processes at once; none can be started any more."""
        for process in list(self._processes):
            self._ended(process)
        self._selector.close()


def result_of(process: Process, code: int, timeout: float) -> Result:
    """The result of a process by its exit code, negative for a signal."""
    status, error = failure(code)
    if process.timed_out:
        status, error = TIMED_OUT, f"ran for more than {timeout:g} seconds and was ended"
    elif process.too_much:
        status, error = 1, f"prints more than {MAX_OUTPUT} bytes and was ended"
    return Result(process.item, status, error, process.stderr, bytes(process.output))


def variables(item: Item) -> dict[str, str]:
    """What the environment of a handler says of its event."""
    event = item.event
    return {
        "ESCTL_POSITION": str(event.position),
        "ESCTL_STREAM": event.stream,
        "ESCTL_TYPE": event.type,
        "ESCTL_ID": event.id,
        "ESCTL_ATTEMPT": str(item.attempts + 1),
    }
