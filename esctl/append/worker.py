"""A second process that parses parts of a batch of lines while the first one stores the parts before them.

It is a fork that never touches the log: it is given lines, and answers with events and the digests of their payloads.
Lines and answers lie in memory that both share, since a pipe holds less than a part; two pipes say what lies where.
A part that it cannot parse in full, because a line is wrong, blank or too long, or because it has died, is given back:
whoever sent it then parses it. So it is never needed, and knows nothing of errors and options.
"""

from __future__ import annotations

import gc
import marshal
import mmap
import os
import select
import signal
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import repeat

from esctl.errors import RefusedError
from esctl.events import chain
from esctl.events.event import NewEvent, Prepared
from esctl.events.lines import CHUNK_LINES, Defaults, Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from esctl.events.formats import Line

PART_LINES = 8 * CHUNK_LINES
FIRST_LINES = 2 * CHUNK_LINES
PART_BYTES = 512 * 1024
PARTS_AHEAD = 3  # that are sent before the first is answered
SLOT_BYTES = 2 * PART_BYTES  # of a part or its answer, which has salts, digests and sizes in addition
POLL_MS = 100
_MESSAGE = struct.Struct("<II")  # number of a slot, bytes in it; of an answer none, if the part is given back


def is_worthwhile() -> bool:
    """Whether this process may fork, and has a second core to run the fork on."""
    threading = sys.modules.get("threading")
    if not hasattr(os, "fork") or (threading is not None and threading.active_count() > 1):
        return False
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len(cores) > 1


def cut(batch: Sequence[Line]) -> Iterator[tuple[int, int]]:
    """Cut a batch into parts of up to PART_LINES lines and about PART_BYTES bytes: (start, end) of each.

    The first has FIRST_LINES: to parse and store them takes as long as the second process needs for its first part.
    """
    start = 0
    while start < len(batch):
        end = min(start + (PART_LINES if start else FIRST_LINES), len(batch))
        size = sum([len(line) for line in batch[start:end] if line is not None])
        if size > PART_BYTES:
            end = start + max(1, (end - start) * PART_BYTES // size)
        yield start, end
        start = end


class Worker:
    """The second process, as the first one sees it; `close` ends it."""

    def __init__(self, defaults: Defaults, waiting: Callable[[], None]) -> None:
        """Events without an id get an empty one. `waiting` is called while an answer is waited for, and may raise.

        Raises OSError where there can be no further process, or no memory for it.
        """
        self._waiting = waiting
        self._memory = mmap.mmap(-1, PARTS_AHEAD * SLOT_BYTES)
        self._sent: deque[int | None] = deque()  # the slot of each part that was not answered; None: it was not sent
        self._next = 0
        (requests, to_worker), (from_worker, answers) = os.pipe(), os.pipe()
        gc.disable()  # what it finds in the fork may be a connection, which only this process may close
        try:
            self.pid = os.fork()
            if not self.pid:
                gc.freeze()
                gc.enable()
                _serve(self._memory, requests, answers, defaults)
        except OSError:
            os.close(to_worker)
            os.close(from_worker)
            raise
        finally:
            gc.enable()
            os.close(requests)
            os.close(answers)
        self._requests, self._answers = open(to_worker, "wb", buffering=0), from_worker  # noqa: SIM115 - see close
        self._poll = select.poll()
        self._poll.register(from_worker, select.POLLIN)

    def send(self, lines: Sequence[Line]) -> None:
        """Give a part to the process. No more than PARTS_AHEAD may wait for `receive`."""
        text = b"" if None in lines else b"\n".join(lines)  # type: ignore[arg-type]
        slot = None
        if 0 < len(text) <= SLOT_BYTES:
            slot, self._next = self._next, (self._next + 1) % PARTS_AHEAD
            start = slot * SLOT_BYTES
            self._memory[start : start + len(text)] = text
            with suppress(BrokenPipeError):
                self._requests.write(_MESSAGE.pack(slot, len(text)))
        self._sent.append(slot)

    def receive(self) -> Prepared | None:
        """The events of the part that was sent first; None if it is given back."""
        slot = self._sent.popleft()
        if slot is None:
            return None
        while not self._poll.poll(POLL_MS):
            self._waiting()
        answer = os.read(self._answers, _MESSAGE.size)
        _, size = _MESSAGE.unpack(answer) if answer else (slot, 0)
        if not size:
            return None
        start = slot * SLOT_BYTES
        written = memoryview(self._memory)[start : start + size]
        columns, salts, digests, largest = marshal.loads(written)  # noqa: S302 - by its own fork
        return Prepared(list(map(NewEvent._make, zip(*columns, strict=True))), salts, digests, largest)

    def close(self) -> None:
        """End the process."""
        self._requests.close()
        os.close(self._answers)
        with suppress(ChildProcessError):  # this process may have been told to ignore its children
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)


def _serve(memory: mmap.mmap, requests: int, answers: int, defaults: Defaults) -> NoReturn:
    """Answer requests until the other process closes its end, or has died."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both: the other one decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _close_all_but(requests, answers)
        parser = Parser(defaults, repeat(""))
        with open(answers, "wb", buffering=0) as answering:
            while request := os.read(requests, _MESSAGE.size):
                slot, size = _MESSAGE.unpack(request)
                start = slot * SLOT_BYTES
                answer = _answer(parser, memory[start : start + size].split(b"\n"))
                if len(answer) > SLOT_BYTES:
                    answer = b""
                memory[start : start + len(answer)] = answer
                answering.write(_MESSAGE.pack(slot, len(answer)))
    finally:
        os._exit(0)  # nothing of the other process's is closed, flushed or removed


def _close_all_but(*kept: int) -> None:
    """Close inherited descriptors, so that who reads or writes their other ends waits for one process only."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor not in kept:
            with suppress(OSError):
                os.close(descriptor)


def _answer(parser: Parser, lines: Sequence[bytes]) -> bytes:
    """The columns of the events, their salts and digests; empty if a line is no event."""
    events: list[NewEvent] = []
    try:
        for start in range(0, len(lines), CHUNK_LINES):
            part = lines[start : start + CHUNK_LINES]
            events += parser.chunk(part) or [parser.line(line) for line in part]
    except RefusedError:
        return b""
    salts, sha256 = [os.urandom(chain.SALT_BYTES) for _ in events], chain.sha256
    payloads = [
        b"%b%b\0%b" % (salt, event.data.encode(), event.meta.encode())
        for salt, event in zip(salts, events, strict=True)
    ]
    digests = [sha256(payload).digest() for payload in payloads]
    largest = max(map(len, payloads)) - chain.SALT_BYTES - 1
    return marshal.dumps((tuple(zip(*events, strict=True)), salts, digests, largest), 2)
