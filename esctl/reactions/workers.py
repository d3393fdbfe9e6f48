"""Handlers that stay alive: a worker reads one event a line, and answers each with one line, in the same order."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections import deque

import msgspec
from msgspec import Raw

from esctl.reactions.children import POLL_SECONDS, Child, descriptor_of, failure, has_ended, pipe, spawn
from esctl.reactions.definition import Command
from esctl.reactions.items import Item, share
from esctl.reactions.results import AGAIN, MAX_OUTPUT, MISSING, PARK, TIMED_OUT, Result

UNANSWERED = 64  # lines that a worker may have read ahead
END_SECONDS = 2.0  # for a worker to end by itself, when its stdin has ended
_ANSWERS = {"retry": AGAIN, "fail": 1, "park": PARK}
_decode = msgspec.json.Decoder(dict[str, Raw] | list[Raw]).decode
CURES = "jq --unbuffered, python -u, mawk -W interactive, or stdbuf -oL before it"


class Worker(Child):
    """A process that handles events of some keys, one after the other."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.unanswered: deque[Item] = deque()
        self.input = bytearray()  # lines that its pipe did not take yet
        self.given = self.answered = 0  # lines
        self.since = time.monotonic()  # when it got, or could begin with, the first event that it has not answered

    def give(self, item: Item) -> None:
        """Give it an event."""
        if not self.unanswered:
            self.since = time.monotonic()
        self.unanswered.append(item)
        self.given += 1
        self.input += item.line + b"\n"

    def write(self, descriptor: int) -> None:
        """Write what its pipe takes."""
        try:
            written = os.writev(descriptor, [self.input])
        except BlockingIOError:
            return
        except BrokenPipeError:  # its end says more
            self.input.clear()
            return
        del self.input[:written]

    def answers(self, *, appends: bool) -> list[Result]:
        """The results of the lines that it has answered."""
        results = []
        *lines, rest = bytes(self.output).split(b"\n")
        self.output[:] = rest
        for line in lines:
            self.answered += 1
            if self.unanswered:
                results.append(answer(self.unanswered.popleft(), line, appends=appends))
        if results:
            self.since = time.monotonic()
        return results


def answer(item: Item, line: bytes, *, appends: bool) -> Result:
    """What a line answers for an event: empty, `ok` or `{}`: done; `{"retry":…}`, `{"fail":…}`, `{"park":…}` with a
    reason; or, if these are to be appended, an array of events.
    """
    line = line.strip()
    if line in (b"", b"ok", b"{}"):
        return Result(item, 0)
    try:
        found = _decode(line)
    except (ValueError, RecursionError):
        found = {}
    if isinstance(found, list) and appends:
        return Result(item, 0, output=b"\n".join(found))
    for word, status in _ANSWERS.items():
        if isinstance(found, dict) and word in found:
            reason = bytes(found[word])
            text = msgspec.json.decode(reason) if reason.startswith(b'"') else reason.decode()
            return Result(item, status, f"answered {word}", text)
    shown = line[:200].decode("utf-8", "replace")
    return Result(item, 1, "answered with a line that is no answer", f"{shown}\nsee: esctl react --help")


class Workers:
    """So many workers; each has the events of its share of the keys."""

    def __init__(
        self, command: Command, log: str, *, concurrency: int = 1, timeout: float = 30.0, outputs: bool = False
    ) -> None:
        """As for `Processes`; the time is that between two answers."""
        self._command, self._outputs, self._timeout = command, outputs, timeout
        self._environment = {**os.environ, "ESCTL_LOG": os.path.abspath(log)}
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker | None] = [None] * concurrency
        self._failed: list[Result] = []

    def _place(self, key: str) -> int:
        return 0 if len(self._workers) == 1 else share(key, len(self._workers)) - 1

    def _alive(self) -> list[Worker]:
        return [worker for worker in self._workers if worker is not None]

    @property
    def running(self) -> int:
        """How many events are being handled."""
        return sum(len(worker.unanswered) for worker in self._alive()) + len(self._failed)

    @property
    def has_room(self) -> bool:
        """Whether any worker may get another event."""
        return any(worker is None or len(worker.unanswered) < UNANSWERED for worker in self._workers)

    def fits(self, key: str) -> bool:
        """Whether the worker of a key may get another event."""
        worker = self._workers[self._place(key)]
        return worker is None or len(worker.unanswered) < UNANSWERED

    def start(self, item: Item) -> None:
        """Give an event to the worker of its key; start that if need be."""
        place = self._place(item.key)
        worker = self._workers[place]
        if worker is None:
            try:
                worker = self._workers[place] = self._started()
            except OSError as error:
                why = error.strerror or str(error)
                self._failed.append(Result(item, MISSING, f"cannot run {self._command.program}: {why}"))
                return
        worker.give(item)

    def _started(self) -> Worker:
        files: list[int] = []
        try:
            (its_stdin, stdin), (stdout, its_stdout), (stderr, its_stderr) = (pipe(files) for _ in range(3))
            words, environment = self._command.words(), self._environment
            worker = Worker(spawn(self._command.program, words, environment, its_stdin, its_stdout, its_stderr))
            for descriptor, kind in ((stdin, "stdin"), (stdout, "stdout"), (stderr, "stderr")):
                files.remove(descriptor)
                os.set_blocking(descriptor, False)
                worker.files[descriptor] = kind
                if kind != "stdin":
                    self._selector.register(descriptor, selectors.EVENT_READ, worker)
        finally:
            for descriptor in files:
                os.close(descriptor)
        if (its_end := descriptor_of(worker.pid)) is not None:
            worker.files[its_end] = "pid"
            self._selector.register(its_end, selectors.EVENT_READ, worker)
        return worker

    def wait(self, seconds: float) -> list[Result]:
        """The results of events that were answered."""
        results, self._failed = self._failed, []
        for worker in self._alive():
            self._write(worker)
            if worker.unanswered:
                seconds = min(seconds, worker.since + self._timeout - time.monotonic())
        without = [worker for worker in self._alive() if "pid" not in worker.files.values()]
        seconds = 0.0 if results else max(0.0, min(seconds, POLL_SECONDS) if without else seconds)
        for key, _ in self._selector.select(seconds):
            worker = key.data
            kind = worker.files.get(key.fd)
            if kind == "stdin":
                self._write(worker)
            elif kind == "pid":
                results += self._ended(worker)
            elif kind is not None and not worker.read(key.fd):
                self._close(worker, key.fd)
            elif kind == "stdout":
                results += worker.answers(appends=self._outputs)
        for worker in without:
            if has_ended(worker.pid):
                results += self._ended(worker)
        return results + self._late()

    def _write(self, worker: Worker) -> None:
        """Write what the pipe takes now; the selector says when it takes the rest."""
        descriptor = next((number for number, kind in worker.files.items() if kind == "stdin"), None)
        if descriptor is None:
            return
        if worker.input:
            worker.write(descriptor)
        is_watched = descriptor in self._selector.get_map()
        if worker.input and not is_watched:
            self._selector.register(descriptor, selectors.EVENT_WRITE, worker)
        elif is_watched and not worker.input:
            self._selector.unregister(descriptor)

    def _late(self) -> list[Result]:
        """End the workers that have not answered for too long."""
        results: list[Result] = []
        for worker in self._alive():
            if worker.unanswered and time.monotonic() >= worker.since + self._timeout:
                lines = f"read {worker.given} line{'s' * (worker.given != 1)}, answered {worker.answered or 'none'}"
                hint = f"; does it flush its output? {CURES}" if not worker.answered else ""
                worker.signal(signal.SIGKILL)
                error = f"did not answer for {self._timeout:g} seconds and was ended: {lines}{hint}"
                results += self._ended(worker, (TIMED_OUT, error))
        return results

    def _ended(self, worker: Worker, why: tuple[int, str] | None = None) -> list[Result]:
        """The results of a worker that has ended: the first event that it did not answer has failed."""
        code = worker.ended()
        for descriptor, kind in list(worker.files.items()):
            if kind in ("stdout", "stderr"):
                worker.drain(descriptor)
            self._close(worker, descriptor)
        results = worker.answers(appends=self._outputs)
        self._workers[self._workers.index(worker)] = None
        status, error = why or failure(code)
        if worker.too_much:
            status, error = 1, f"prints a line of more than {MAX_OUTPUT} bytes and was ended"
        for number, item in enumerate(worker.unanswered):
            if number:
                results.append(Result(item, 0, "its worker has ended", counts=False))
            else:
                results.append(Result(item, status or 1, error or "ended without an answer", worker.stderr))
        worker.unanswered.clear()
        return results

    def _close(self, worker: Worker, descriptor: int) -> None:
        del worker.files[descriptor]
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        os.close(descriptor)

    def end(self) -> None:
        """End all workers: those without an event when they see the end of their stdin, others at once."""
        workers = self._alive()
        for worker in workers:
            if worker.unanswered:
                worker.signal(signal.SIGKILL)
            for descriptor in [number for number, kind in worker.files.items() if kind == "stdin"]:
                self._close(worker, descriptor)
        deadline = time.monotonic() + END_SECONDS
        for worker in workers:
            while not has_ended(worker.pid) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            worker.signal(signal.SIGKILL)
            self._ended(worker)
        self._selector.close()
