"""Make the frames of segments: the lines of hot events, compressed, in a process of their own where that pays."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import IO, NamedTuple

import msgspec

from esctl.archive.checking import hash_before
from esctl.archive.listing import Span
from esctl.errors import ConflictError, EsctlError
from esctl.events.chain import SALT_BYTES
from esctl.log import EventLog
from esctl.output import console
from esctl.store import segments
from esctl.store.segments import Frame

HASH_BYTES = 32
PAYLOAD_BYTES_PER_READ = 64 * 1024 * 1024  # an upper bound on the payload in memory when lines are made
EVENTS_FOR_TWO = 20_000  # from so many on, another process compresses; fewer take less time than its start
FRAMES_AHEAD = 32  # that are made while a segment is committed; a pipe alone holds less than one
SIZE_BYTES = 4
# What the other process runs. The way in may be any program that uses esctl, so it is not run again. Ctrl-C is for this
# process, at whose end the other one can no longer write.
_RUN = "import sys; sys.path[:] = sys.argv[4:]; from esctl.archive.making import send; send(*sys.argv[1:4])"


class Made(NamedTuple):
    """A frame as it was made: its bytes, the SHA-256 of its lines, and the salts and hashes of its events."""

    frame: Frame
    packed: bytes
    digest: bytes
    salts: bytes
    hashes: bytes


def frames(log: EventLog, pieces: Sequence[Span], level: int) -> Generator[Made, None, None]:
    """The frames of segments for these ranges of hot events, in order. A thread has some ready before they are asked
    for; until they end, the log is for it alone.
    """
    many = sum(last - first + 1 for first, last in pieces) >= EVENTS_FOR_TWO
    other = _start(log.path, pieces, level) if many and _cores() > 1 else None
    with ThreadPoolExecutor(1) as pool:
        made = _made(log, pieces, level, other.stdout if other else None)
        try:
            waiting = deque(pool.submit(next, made, None) for _ in range(FRAMES_AHEAD))
            while (item := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, made, None))
                yield item
        finally:
            if other is not None:
                with other:
                    other.kill()  # the thread reads no more
                    pool.shutdown(cancel_futures=True)
            pool.shutdown(cancel_futures=True)


def _made(log: EventLog, pieces: Sequence[Span], level: int, stream: IO[bytes] | None) -> Iterator[Made]:
    """The frames that the other process sends. If it ends before its time, this one makes the rest, and meets what that
    one may have met.
    """
    made: Made | None = None
    for made in _received(stream) if stream else ():
        yield made
    done = made.frame.last if made else 0
    for first, last in pieces:
        if last > done:
            yield from _frames(log, first, last, level, made if first <= done else None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _frames(log: EventLog, first: int, last: int, level: int, made: Made | None = None) -> Iterator[Made]:
    """The frames of a segment, or those after one of them."""
    compress, start = segments.compressor(level), first
    if made is None:
        before, number, offset = hash_before(log, first), 0, 0
    else:
        frame, before = made.frame, made.hashes[-HASH_BYTES:]
        first, number, offset = frame.last + 1, frame.number + 1, frame.offset + frame.size
    while first <= last:
        events, lines, salts, hashes = _frame_at(log, first, last)
        packed = compress(lines)
        digest = hashlib.sha256(packed).digest()
        own = events - segments.without_own(lines).count(b"\n")
        ends = first + events - 1
        frame = Frame(first, ends, start, number, before, offset, len(packed), len(lines), digest, own)
        yield Made(frame, packed, hashlib.sha256(lines).digest(), salts, hashes)
        first, before, number, offset = ends + 1, hashes[-HASH_BYTES:], number + 1, offset + len(packed)


def _frame_at(log: EventLog, first: int, last: int) -> tuple[int, bytes, bytes, bytes]:
    """The next frame's number of events (FRAME_EVENTS, or fewer if they are large), lines, salts and hashes."""
    limit = max(1, min(segments.FRAME_EVENTS, PAYLOAD_BYTES_PER_READ // max(1, log.store.archiving().largest())))
    until = min(last, first + limit - 1)
    events, lines, salts, hashes = log.store.archiving().sealed_lines(first, until)
    if events != until - first + 1:
        raise ConflictError(f"positions {first} and on were archived just now", again="")
    if len(lines) > segments.FRAME_BYTES:
        each = lines.splitlines(keepends=True)
        events = max(1, bisect_right(list(accumulate(map(len, each))), segments.FRAME_BYTES))
        lines = b"".join(each[:events])
    return events, lines, salts[: SALT_BYTES * events], hashes[: HASH_BYTES * events]


# The other process


def send(path: str, pieces: str, level: str) -> None:
    """In the other process: write the frames to stdout, each behind its size."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def packed() -> Iterator[bytes]:
        for first, last in msgspec.json.decode(pieces, type=list[Span]):
            for made in _frames(log, first, last, int(level)):
                content = msgspec.msgpack.encode(made)
                yield len(content).to_bytes(SIZE_BYTES) + content
                yield b""

    try:
        with EventLog(path) as log:
            console.write(packed())
    except (EsctlError, OSError):
        os._exit(1)  # the first process will meet it, or has ended


def _start(path: str, pieces: Sequence[Span], level: int) -> subprocess.Popen[bytes] | None:
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = [os.path.abspath(path), msgspec.json.encode(pieces).decode(), str(level), *filter(None, sys.path), here]
    command = [sys.executable, "-I", "-S", "-c", _RUN, *arguments]
    try:
        return subprocess.Popen(  # noqa: S603 - it is this interpreter
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None


def _received(stream: IO[bytes]) -> Iterator[Made]:
    """The frames that the other process sends, up to the last whole one."""
    decode = msgspec.msgpack.Decoder(Made).decode
    while len(size := stream.read(SIZE_BYTES)) == SIZE_BYTES:
        packed = stream.read(number := int.from_bytes(size))
        if len(packed) < number:
            return
        yield decode(packed)
