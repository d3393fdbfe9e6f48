"""Append a stream of input lines: read them in batches, commit each in a transaction, yield receipts."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Self

import msgspec

from esctl import errors
from esctl.append.conflicts import Conflicts, explain
from esctl.append.expectations import AppendCondition, RunExpectation
from esctl.append.inputs import Inputs
from esctl.append.parsing import Batch, Parsing
from esctl.append.writer import Writer
from esctl.errors import EsctlError, RefusedError, Stopped
from esctl.events.event import Receipt, max_event_bytes
from esctl.events.lines import BOM, Defaults

BATCH_LINES = 10_000
BATCH_BYTES = 8 * 1024 * 1024  # a batch of large events ends at this size
GATHER_SECONDS = 0.1  # a batch waits this long for more lines, so that with the commit it is acknowledged within 0.2 s


class Options(msgspec.Struct, frozen=True):
    """How a run appends: lines per transaction (None: all), whether to skip bad lines, lines whose id another event has
    and lines of the log's own streams, whether to return receipts.
    """

    batch: int | None = BATCH_LINES
    skip_invalid: bool = False
    skip_conflicts: bool = False
    skip_system: bool = False
    dry_run: bool = False
    receipts: bool = False
    expect: int | str | None = None
    condition: AppendCondition | None = None


class Tally:
    """Counts what a run has stored so far; updated after every commit, so that it is right even after an error."""

    def __init__(self) -> None:
        self.appended = self.duplicates = self.invalid = self.conflicts = self.system = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, receipts: list[Receipt]) -> None:
        """Add the events of a transaction."""
        if receipts:
            duplicates = sum([receipt.duplicate for receipt in receipts])
            self.duplicates += duplicates
            self.appended += len(receipts) - duplicates
            positions = [receipt.position for receipt in receipts]
            self._span(min(positions), max(positions))

    def skip(self, conflicts: Conflicts) -> None:
        """Count the conflicts of a transaction apart from its duplicates, as which `add` counts them."""
        self.conflicts += len(conflicts.skipped)
        self.duplicates -= len(conflicts.skipped)

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.appended += other.appended
        self.duplicates += other.duplicates
        self.conflicts += other.conflicts
        if other.first is not None and other.last is not None:
            self._span(other.first, other.last)

    def _span(self, first: int, last: int) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def record(self) -> dict[str, int | None]:
        """The receipt of the run, as a record."""
        return {
            "appended": self.appended,
            "duplicates": self.duplicates,
            "first_position": self.first,
            "last_position": self.last,
        }


class Interrupts:
    """Defers SIGINT and SIGTERM except while the run waits for input, so that no commit is cut short or misreported."""

    def __init__(self) -> None:
        self._received = 0
        self._waiting = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # typeshed has no name for what signal() returns
        errors.deferred = 0

    def _receive(self, signum: int, _: FrameType | None) -> None:
        self._received = errors.deferred = signum
        if self._waiting:
            raise Stopped(signum)

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        if self._received:
            raise Stopped(self._received)

    def listen(self) -> None:
        """From here on a signal raises Stopped at once: no commit is in progress."""
        self._waiting = True
        self.check()

    def hold(self) -> None:
        """From here on signals are deferred until `check`."""
        self._waiting = False
        self.check()

    def wait(self, poll: select.poll, timeout: float | None) -> bool:
        """Wait for input up to `timeout` seconds; raise Stopped as soon as a signal comes."""
        self.listen()
        try:
            return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))
        finally:
            self._waiting = False


class Lines:
    """The lines of all inputs in batches: (number of the first line, lines). A batch ends when it is full, or
    GATHER_SECONDS after its first line. Numbers go on from one input to the next.

    A line longer than `limit` bytes is None; it is never buffered whole.
    """

    def __init__(self, inputs: Inputs, interrupts: Interrupts, *, batch: int, limit: int) -> None:
        self._inputs, self._interrupts, self._batch, self._limit = inputs, interrupts, batch, limit
        self._parts: list[bytes] = []  # of the unfinished line
        self._size = 0  # of the unfinished line
        self._next = 1  # the number of the unfinished line
        self._first = True  # it is the first of its input

    def __iter__(self) -> Iterator[tuple[int, list[bytes | None]]]:
        number = 1
        waiting: list[bytes | None] = []
        while not self._inputs.ended or waiting:
            lines, waiting = self._gather(waiting)
            if lines:
                yield number, lines
            number += len(lines)

    def _gather(self, lines: list[bytes | None]) -> tuple[list[bytes | None], list[bytes | None]]:
        """One batch, and the lines read beyond it."""
        size = 0
        deadline: float | None = time.monotonic() + GATHER_SECONDS if lines else None
        while not self._inputs.ended and len(lines) < self._batch and size < BATCH_BYTES:
            timeout = None if deadline is None else deadline - time.monotonic()
            if not self._inputs.pending and not self._interrupts.wait(self._inputs.poll, timeout):
                break
            more = self._read()
            size += sum(len(line) for line in more if line)
            lines += more
            if lines and deadline is None:
                deadline = time.monotonic() + GATHER_SECONDS
        return lines[: self._batch], lines[self._batch :]

    def _read(self) -> list[bytes | None]:
        """Read once; return the lines that are complete."""
        chunk = self._inputs.read(self._next + (self._size > 0))
        if chunk is None:
            last = [self._finish(b"")] if self._size else []
            self._first = True
            return last
        *ends, rest = chunk.split(b"\n")
        lines: list[bytes | None] = []
        if ends:
            lines.append(self._finish(ends[0]))
            lines += ends[1:] if len(chunk) <= self._limit else [x if len(x) <= self._limit else None for x in ends[1:]]
            self._next += len(ends) - 1
        self._size += len(rest)
        if self._size <= self._limit:
            self._parts.append(rest)
        else:
            self._parts = []  # too long already: only its size is still counted
        return lines

    def _finish(self, end: bytes) -> bytes | None:
        """The complete line, with `end` as its last part; None if it is too long."""
        whole = self._size + len(end) <= self._limit
        line = b"".join([*self._parts, end]) if whole else None
        if self._first and line is not None:
            line = line.removeprefix(BOM)
        self._parts, self._size, self._first = [], 0, False
        self._next += 1
        return line


def locate(inputs: Inputs, error: EsctlError) -> None:
    """Complete an error with the files of its lines."""
    inputs.locate(error)
    explain(error)


class Reports:
    """Gives the errors of lines that are passed over; as a block, at its end: printing them may block for ever, which
    no transaction should wait for.
    """

    def __init__(self, inputs: Inputs, skipped: Callable[[EsctlError], None]) -> None:
        self._inputs, self._skipped = inputs, skipped
        self._waiting: list[EsctlError] | None = None

    def __enter__(self) -> None:
        self._waiting = []

    def __exit__(self, *_: object) -> None:
        waiting, self._waiting = self._waiting or [], None
        for error in waiting:
            self._skipped(error)

    def add(self, error: EsctlError) -> None:
        """Give an error, or keep it until the block ends."""
        locate(self._inputs, error)
        if self._waiting is None:
            self._skipped(error)
        else:
            self._waiting.append(error)


def ingest(
    writer: Writer,
    inputs: Inputs,
    defaults: Defaults,
    options: Options,
    tally: Tally,
    skipped: Callable[[EsctlError], None],
) -> Iterator[list[Receipt]]:
    """Append every line of the inputs; yield the receipts of each transaction once it is durable.

    Errors have `line` (and `file`, `byte`) in `details`. With `skip_invalid` or `skip_conflicts`, the error of a line
    that is passed over goes to `skipped` instead. `tally` counts what was committed. A signal raises Stopped;
    uncommitted events are rolled back.
    """
    run = RunExpectation(options.expect) if options.expect not in (None, "any") else None

    reports = Reports(inputs, skipped)
    with Interrupts() as interrupts:
        lines = Lines(inputs, interrupts, batch=options.batch or BATCH_LINES, limit=max_event_bytes())
        parsing = Parsing(inputs, defaults, options, tally, reports.add, interrupts.check)
        batches = parsing.batches(lines)
        try:
            if options.batch is None or options.dry_run:
                receipts = _all_or_none(writer, batches, run, options, tally, reports, interrupts)
                interrupts.listen()
                yield receipts
                return
            for batch in batches:
                for receipts in _portions(writer, batch, run, options, tally, reports, interrupts):
                    tally.add(receipts)
                    interrupts.listen()  # printing the receipts may block for ever
                    yield receipts
                    interrupts.hold()
        except EsctlError as error:
            locate(inputs, error)
            if tally.appended and error.again is not None:
                error.again = None  # a second run would store events without an id again
                stored = f"{tally.appended} events before it are stored: continue after them"
                error.why = f"{error.why}; {stored}" if error.why else stored
            raise
        finally:
            parsing.close()


def _portions(
    writer: Writer,
    batch: Batch,
    run: RunExpectation | None,
    options: Options,
    tally: Tally,
    reports: Reports,
    interrupts: Interrupts,
) -> Iterator[list[Receipt]]:
    """Append a batch. With `skip_invalid`, split it into smaller transactions to skip events that the model refuses."""
    portion, start, size = batch, 0, 0
    while portion.events:
        before = run.copy() if run is not None else {}
        try:
            with reports, writer.transaction(waiting=interrupts.check):
                conflicts = Conflicts(writer.log.head().position, skip=options.skip_conflicts)
                receipts = _append(writer, portion, run, conflicts)
        except RefusedError as error:
            if not options.skip_invalid or "line" not in error.details:
                raise
            if run is not None:
                run.restore(before)
            size = len(portion.events)
            if size == 1:
                tally.invalid += 1
                reports.add(error)
                start += 1
            else:
                size = max(1, size // 8)
        else:
            tally.skip(conflicts)
            for conflict in conflicts.skipped:
                reports.add(conflict)
            yield receipts
            start, size = start + len(portion.events), min(len(portion.events) * 8, len(batch.events))
        portion = Batch(batch.numbers[start : start + size], batch.events[start : start + size])


def _all_or_none(
    writer: Writer,
    batches: Iterator[Batch],
    run: RunExpectation | None,
    options: Options,
    tally: Tally,
    reports: Reports,
    interrupts: Interrupts,
) -> list[Receipt]:
    """Append the whole input in one transaction, rolled back in a dry run; return receipts only if options say so."""
    receipts: list[Receipt] = []
    counted, log = Tally(), writer.log
    with writer.transaction(keep=not options.dry_run, waiting=interrupts.check):
        before = log.head().position
        conflicts = Conflicts(before, skip=options.skip_conflicts)
        for batch in batches:
            batch_receipts = _append(writer, batch, run, conflicts)
            counted.add(batch_receipts)
            if options.condition:
                options.condition.check(log, batch_receipts, before)
            if options.receipts:
                receipts += batch_receipts
    counted.skip(conflicts)
    for conflict in conflicts.skipped:
        reports.add(conflict)
    tally.merge(counted)
    return receipts


def _append(writer: Writer, batch: Batch, run: RunExpectation | None, conflicts: Conflicts) -> list[Receipt]:
    """Append a batch; in an error, replace the event's index by its input line."""
    try:
        receipts = writer.append(batch.events, run, conflicts.keep, batch.more)
    except EsctlError as error:
        for _ in batch.more:  # a line that is no event comes first, wherever in the batch it is
            pass
        conflicts.place(error, batch.numbers, batch.events)
        raise
    conflicts.stored(batch.numbers, batch.events, receipts)
    return receipts
