"""A stream of lines into a log: batches, transactions, receipts."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Self

import msgspec

from esctl.append.expectations import AppendCondition, RunExpectation
from esctl.append.writer import Writer
from esctl.errors import EsctlError, RefusedError, Stopped
from esctl.events.event import NewEvent, Receipt, max_event_bytes
from esctl.events.lines import BOM, Defaults, parser, too_large

BATCH_LINES = 10_000
BATCH_BYTES = 8 * 1024 * 1024  # a batch of large events is cut sooner
GATHER_SECONDS = 0.1  # seconds that a batch waits for more lines; acknowledged within 0.2 with the commit
READ_BYTES = 256 * 1024


class Options(msgspec.Struct, frozen=True):
    """How a run appends: lines a transaction (None: all of them), what to do with bad lines, what to give back."""

    batch: int | None = BATCH_LINES
    skip_invalid: bool = False
    dry_run: bool = False
    receipts: bool = False
    expect: int | str | None = None
    condition: AppendCondition | None = None


class Tally:
    """What a run has stored so far, updated by every commit, so that it is right even after an error."""

    def __init__(self) -> None:
        self.appended = self.duplicates = self.invalid = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, receipts: list[Receipt]) -> None:
        """Count the events of a transaction."""
        if receipts:
            duplicates = sum([receipt.duplicate for receipt in receipts])
            self.duplicates += duplicates
            self.appended += len(receipts) - duplicates
            positions = [receipt.position for receipt in receipts]
            self._span(min(positions), max(positions))

    def take(self, other: Tally) -> None:
        """Count what another tally has counted."""
        self.appended += other.appended
        self.duplicates += other.duplicates
        if other.first is not None and other.last is not None:
            self._span(other.first, other.last)

    def _span(self, first: int, last: int) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def record(self) -> dict[str, int | None]:
        """The receipt of a run."""
        return {
            "appended": self.appended,
            "duplicates": self.duplicates,
            "first_position": self.first,
            "last_position": self.last,
        }


class Interrupts:
    """SIGINT and SIGTERM, held back but while the run waits for input: no commit is ever cut short or misreported."""

    def __init__(self) -> None:
        self._received = 0
        self._waiting = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # typeshed has no name for what signal() returns

    def _note(self, signum: int, _: FrameType | None) -> None:
        self._received = signum
        if self._waiting:
            raise Stopped(signum)

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        if self._received:
            raise Stopped(self._received)

    def listen(self) -> None:
        """From here on a signal raises Stopped at once: nothing is under way that it could cut short."""
        self._waiting = True
        self.check()

    def hold(self) -> None:
        """From here on signals wait for `check`."""
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
    """The lines of a descriptor in batches of (number of the first line, lines), as soon as one is full or has waited.

    A line longer than `limit` bytes comes as None, without ever being held whole.
    """

    def __init__(self, descriptor: int, interrupts: Interrupts, *, batch: int, limit: int) -> None:
        self._descriptor, self._interrupts, self._batch, self._limit = descriptor, interrupts, batch, limit
        self._parts: list[bytes] = []  # of the line that has not ended yet
        self._held = 0
        self._ended = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def __iter__(self) -> Iterator[tuple[int, list[bytes | None]]]:
        number = 1
        waiting: list[bytes | None] = []
        while not self._ended or waiting:
            lines, waiting = self._gather(waiting)
            if number == 1 and lines and lines[0]:
                lines[0] = lines[0].removeprefix(BOM)
            if lines:
                yield number, lines
            number += len(lines)

    def _gather(self, lines: list[bytes | None]) -> tuple[list[bytes | None], list[bytes | None]]:
        """One batch, and the lines that were read beyond it."""
        size = 0
        deadline: float | None = time.monotonic() + GATHER_SECONDS if lines else None
        while not self._ended and len(lines) < self._batch and size < BATCH_BYTES:
            if not self._interrupts.wait(self._poll, None if deadline is None else deadline - time.monotonic()):
                break
            more = self._read()
            size += sum(len(line) for line in more if line)
            lines += more
            if lines and deadline is None:
                deadline = time.monotonic() + GATHER_SECONDS
        return lines[: self._batch], lines[self._batch :]

    def _read(self) -> list[bytes | None]:
        """The lines that end in what can be read now."""
        chunk = os.read(self._descriptor, READ_BYTES)
        if not chunk:
            self._ended = True
            return [self._finish(b"")] if self._held else []
        *ends, rest = chunk.split(b"\n")
        lines: list[bytes | None] = []
        if ends:
            lines.append(self._finish(ends[0]))
            lines += ends[1:] if self._limit >= READ_BYTES else [x if len(x) <= self._limit else None for x in ends[1:]]
        self._held += len(rest)
        if self._held <= self._limit:
            self._parts.append(rest)
        else:
            self._parts = []  # too long already: only its length goes on being counted
        return lines

    def _finish(self, end: bytes) -> bytes | None:
        """The line that `end` ends, put together."""
        whole = self._held + len(end) <= self._limit
        line = b"".join([*self._parts, end]) if whole else None
        self._parts, self._held = [], 0
        return line


def ingest(
    writer: Writer,
    descriptor: int,
    defaults: Defaults,
    options: Options,
    tally: Tally,
    skipped: Callable[[RefusedError], None],
) -> Iterator[list[Receipt]]:
    """Append every line of `descriptor`; yield the receipts of each transaction once it is durable.

    Errors name `line` (and `byte`). With `skip_invalid` a bad line goes to `skipped` instead. `tally` counts what was
    committed. A signal raises Stopped: what was not committed is rolled back.
    """
    run = RunExpectation(options.expect) if options.expect not in (None, "any") else None
    with Interrupts() as interrupts:
        lines = Lines(descriptor, interrupts, batch=options.batch or BATCH_LINES, limit=max_event_bytes())
        batches = _batches(lines, parser(defaults), options, tally, skipped)
        if options.batch is None or options.dry_run:
            receipts = _all_or_none(writer, batches, run, options, tally, interrupts)
            interrupts.listen()
            yield receipts
            return
        try:
            for numbers, events in batches:
                for receipts in _portions(writer, numbers, events, run, options, tally, skipped, interrupts):
                    tally.add(receipts)
                    interrupts.listen()  # whoever prints the receipts may wait for a reader that is gone
                    yield receipts
                    interrupts.hold()
        except EsctlError as error:
            if tally.appended and error.again is not None:
                error.again = None  # a second run would store again what has no id
                stored = f"{tally.appended} events before it are stored: go on behind them"
                error.why = f"{error.why}; {stored}" if error.why else stored
            raise


def _portions(
    writer: Writer,
    numbers: list[int],
    events: list[NewEvent],
    run: RunExpectation | None,
    options: Options,
    tally: Tally,
    skipped: Callable[[RefusedError], None],
    interrupts: Interrupts,
) -> Iterator[list[Receipt]]:
    """Append a batch; with `skip_invalid`, around the events that the log's model refuses, in smaller transactions."""
    at, size = 0, len(events)
    while at < len(events):
        kept = run.kept() if run is not None else {}
        try:
            with writer.log.transaction(waiting=interrupts.check):
                receipts = _append(writer, numbers[at : at + size], events[at : at + size], run)
        except RefusedError as error:
            if not options.skip_invalid or "line" not in error.details:
                raise
            if run is not None:
                run.restore(kept)
            if size > 1:
                size = max(1, size // 8)
                continue
            tally.invalid += 1
            skipped(error)
            at += 1
        else:
            yield receipts
            at, size = at + size, min(size * 8, len(events))


def _all_or_none(
    writer: Writer,
    batches: Iterator[tuple[list[int], list[NewEvent]]],
    run: RunExpectation | None,
    options: Options,
    tally: Tally,
    interrupts: Interrupts,
) -> list[Receipt]:
    """One transaction for the whole input, rolled back in a dry run; the receipts only if they are asked for."""
    receipts: list[Receipt] = []
    counted, log = Tally(), writer.log
    with log.transaction(keep=not options.dry_run, waiting=interrupts.check):
        before = log.head().position
        for numbers, events in batches:
            made = _append(writer, numbers, events, run)
            counted.add(made)
            if options.condition:
                options.condition.check(log, made, before)
            if options.receipts:
                receipts += made
    tally.take(counted)
    return receipts


def _append(writer: Writer, numbers: list[int], events: list[NewEvent], run: RunExpectation | None) -> list[Receipt]:
    """Append a batch; an error that names an event's index gets its input line."""
    try:
        return writer.append(events, run)
    except EsctlError as error:
        index = error.details.pop("index", None)
        if isinstance(index, int):
            error.details = {"line": numbers[index], **error.details}
        raise


def _batches(
    lines: Lines,
    parse: Callable[[bytes], NewEvent],
    options: Options,
    tally: Tally,
    skipped: Callable[[RefusedError], None],
) -> Iterator[tuple[list[int], list[NewEvent]]]:
    """Batches of parsed events with the input line of each; blank lines count but hold nothing."""
    for first, batch in lines:
        numbers: list[int] = []
        events: list[NewEvent] = []
        for number, line in enumerate(batch, first):
            if line is not None and not line.strip():
                continue
            try:
                if line is None:
                    raise too_large(max_event_bytes())
                events.append(parse(line))
                numbers.append(number)
            except RefusedError as error:
                error.details = {"line": number, **error.details}
                if not options.skip_invalid:
                    if not error.fix and error.again is None:
                        error.again = "--skip-invalid"
                    raise
                tally.invalid += 1
                skipped(error)
        if events:
            yield numbers, events
