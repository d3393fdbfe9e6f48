"""Run a program that reads a stream's state and prints the events to append."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import msgspec

from esctl.append.writer import Writer
from esctl.errors import ConflictError, EsctlError, HandlerError, NotFoundError, RefusedError, UnavailableError
from esctl.events.event import NewEvent, Receipt, check_expected, check_name
from esctl.events.lines import BOM, Defaults, deeper, parser
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding
from esctl.store.errors import BUSY

MAX_OUTPUT = 64 * 1024 * 1024  # bytes; a program that prints more is stopped
MAX_PAUSE_SECONDS = 2.0
REFUSES = 1  # the exit status with which a program refuses
RETRIES = 3


class Decision(NamedTuple):
    """What is to be decided: on which stream, folded by which aggregate (None: the stream's own), by which program,
    `named` in errors; `id`, the id of the command (empty: it has none).
    """

    stream: str
    arguments: Sequence[str]
    aggregate: str | None = None
    named: str = ""
    id: str = ""


def decide(log: EventLog, decision: Decision, *, retries: int = RETRIES) -> list[Receipt]:
    """Fold a stream, run a program on its state, and append the events that it prints, all or none.

    If the stream got new events meanwhile, everything is repeated, up to `retries` times; the last time with the write
    lock held, so that no other writer can be faster. The program gets the state on stdin, as `esctl state` prints it,
    and ESCTL_STREAM and ESCTL_VERSION in its environment.

    If the command has an id, the ids of its events follow from it (`ID/1`, `ID/2` …), and if they are in the log, the
    program is not run: the receipts are those of the stored events. Raises RefusedError if the program refuses (exit
    status 1; its stderr is the reason), HandlerError if it fails, ConflictError without retries, or if the id is that
    of a command on another stream.
    """
    for attempt in range(retries + 1):
        began = time.monotonic()
        try:
            return _attempt(log, decision, locked=0 < attempt == retries)
        except ConflictError as error:
            if error.details.get("stream") != decision.stream or ("line" in error.details and attempt == retries):
                raise
            if attempt == retries:
                error.fix, error.again = "", f"--retries {RETRIES}"
                raise
        # Those that were beaten together should not meet again.
        time.sleep(random.random() * min(MAX_PAUSE_SECONDS, (time.monotonic() - began) * 2**attempt))  # noqa: S311
    raise AssertionError


def _attempt(log: EventLog, decision: Decision, *, locked: bool) -> list[Receipt]:
    """Decide once; `locked`: with the write lock held from the beginning."""
    with _transaction(log) if locked else nullcontext():
        if receipts := _stored(log, decision):
            return receipts
        folded = _state(log, decision.stream, decision.aggregate)
        printed = _output(decision.arguments, folded, decision.named or decision.arguments[0])
        numbers, events = _parsed(decision, printed)
        if not events:
            return []
        with nullcontext() if locked else _transaction(log):
            return _append(log, numbers, events, decision.stream, folded.version)


@contextmanager
def _transaction(log: EventLog) -> Iterator[None]:
    """A transaction. The wait for the write lock begins anew whenever another writer has got on: many commands may
    hold it one after the other, each as long as its program runs.
    """
    while True:
        position, transaction = log.head().position, log.transaction()
        try:
            transaction.__enter__()
        except UnavailableError as error:
            if error.code != BUSY or log.head().position == position:
                raise
        else:
            break
    try:
        yield
    except BaseException as error:
        transaction.__exit__(type(error), error, error.__traceback__)
        raise
    transaction.__exit__(None, None, None)


def _state(log: EventLog, stream: str, aggregate: str | None) -> folding.StateAt:
    """The state of a stream; for a stream without events, the initial state."""
    try:
        return folding.state(log, Query(stream=stream), aggregate)
    except NotFoundError:
        if log.store.stream_version(stream):
            raise
        definitions = log.definitions
        chosen = definitions.aggregate(aggregate) if aggregate else definitions.of_stream(stream)
        initial = definitions.program(chosen).initial
        return folding.StateAt(stream, chosen.name if chosen else None, 0, 0, None, initial, None, 0)


def _output(arguments: Sequence[str], folded: folding.StateAt, named: str) -> bytes:
    """Run the program and return what it prints."""
    environment = {**os.environ, "ESCTL_STREAM": folded.stream, "ESCTL_VERSION": str(folded.version)}
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(folded.line())
        stdin.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - the user asked to run it
                list(arguments), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment
            )
        except OSError as error:
            raise HandlerError(f"cannot run {named}", why=error.strerror or str(error)) from error
        with process:
            assert process.stdout is not None
            printed = process.stdout.read(MAX_OUTPUT + 1)
            if len(printed) > MAX_OUTPUT:
                process.kill()
        stderr.seek(0)
        reason = stderr.read().decode("utf-8", "replace").strip()
    if len(printed) > MAX_OUTPUT:
        raise HandlerError(f"{named} prints more than {MAX_OUTPUT} bytes", why="it was stopped")
    if process.returncode == REFUSES:
        raise RefusedError(
            f"{named} refuses: {reason or 'without a reason'}", stream=folded.stream, version=folded.version
        )
    if process.returncode:
        raise HandlerError(f"{named} failed with status {process.returncode}", why=reason[-2000:])
    return printed


def _parsed(decision: Decision, printed: bytes) -> tuple[list[int], list[NewEvent]]:
    """The line numbers and events of the program's output; an event's stream is by default the folded one."""
    parse = parser(Defaults(stream=decision.stream))
    numbers: list[int] = []
    events: list[NewEvent] = []
    for number, line in enumerate(printed.removeprefix(BOM).split(b"\n"), 1):
        if line.strip():
            try:
                events.append(parse(line))
                numbers.append(number)
                if decision.id:
                    _refuse_own_id(line)
            except RefusedError as error:
                error.what = f"in the output of {decision.named or decision.arguments[0]}, {error.what}"
                error.details = {"line": number, **error.details}
                error.fix = "esctl decide --help"
                error.again = None
                raise
    return numbers, _identified(decision, events) if decision.id and events else events


def _append(log: EventLog, numbers: list[int], events: list[NewEvent], stream: str, version: int) -> list[Receipt]:
    """Append the events, to any streams, if the folded stream is still at this version."""
    check_expected(version, stream, log.store.stream_version(stream))
    try:
        return Writer(log).append(events)
    except EsctlError as error:
        index = error.details.pop("index", None)
        if isinstance(index, int):
            error.details = {"line": numbers[index], **error.details}
        raise


# Commands that have an id


def _refuse_own_id(line: bytes) -> None:
    """Refuse an event that names its id."""
    with deeper(line):
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    if bytes(fields.get("id", b"null")) != b"null":
        raise RefusedError("the event has an id", why="with --id, the ids of the events follow from it")


def _identified(decision: Decision, events: list[NewEvent]) -> list[NewEvent]:
    """The events with ids that follow from the command's. Those of its stream are numbered first, so that `ID/1` is in
    the stream on which the command decided.
    """
    order = sorted(range(len(events)), key=lambda n: events[n].stream != decision.stream)  # sorting is stable
    if events[order[0]].stream != decision.stream:
        raise RefusedError(
            f"no event is in {decision.stream}",
            why="with --id one has to be, since it says that this command has been decided",
            fix="esctl decide --help",
        )
    ids = {n: f"{decision.id}/{number}" for number, n in enumerate(order, 1)}
    for id_ in ids.values():
        check_name("id", id_)
    return [event._replace(id=ids[n]) for n, event in enumerate(events)]


def _stored(log: EventLog, decision: Decision) -> list[Receipt]:
    """The receipts of the events that the command stored earlier; none if it has no id, or stored none."""
    receipts: list[Receipt] = []
    while decision.id and (position := log.store.places().find(f"{decision.id}/{len(receipts) + 1}")):
        for event, _, _ in log.store.read(Query(since=position, until=position, raw_schema=True)):
            receipts.append(Receipt(position, event.stream, event.version, event.id, True))
    if receipts and receipts[0].stream != decision.stream:
        first = receipts[0]
        raise ConflictError(
            f"the id {decision.id} is that of a command on {first.stream}",
            why=f"the event {first.id} is at position {first.position}; a new command needs a new id",
            fix=f"esctl show {first.position:d}",
            id=decision.id,
            position=first.position,
            actual=first.stream,
        )
    return sorted(receipts)
