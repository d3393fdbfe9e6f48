"""Commands in, events out: a program of any language decides on a stream's state what happens next."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence

from esctl.append.writer import Writer
from esctl.errors import ConflictError, EsctlError, HandlerError, NotFoundError, RefusedError
from esctl.events.event import NewEvent, Receipt, check_expected
from esctl.events.lines import BOM, Defaults, parser
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding

MAX_OUTPUT = 64 * 1024 * 1024  # bytes: a program that prints more has lost its way
REFUSES = 1  # the exit status by which a program refuses


def decide(
    log: EventLog,
    stream: str,
    arguments: Sequence[str],
    *,
    aggregate: str | None = None,
    retries: int = 5,
    named: str = "",
) -> list[Receipt]:
    """Fold a stream, run a program on its state, append the events that it prints, all or none.

    When the stream has moved on meanwhile, all of it is done again, up to `retries` times. The program gets the state
    as `esctl state` prints it on stdin, and ESCTL_STREAM and ESCTL_VERSION. Raises RefusedError where it refuses (exit
    1; what it said is the reason), HandlerError where it fails, ConflictError where others were faster every time.
    `named` is what errors call the program.
    """
    while True:
        folded = _state(log, stream, aggregate)
        numbers, events = _parsed(stream, _asked(arguments, folded, named or arguments[0]))
        if not events:
            return []
        try:
            return _append(log, numbers, events, stream, folded.version)
        except ConflictError as error:
            if error.details.get("stream") != stream or not retries:
                raise
            retries -= 1


def _state(log: EventLog, stream: str, aggregate: str | None) -> folding.StateAt:
    """The state; of a stream that is not there yet, what it begins with."""
    try:
        return folding.state(log, Query(stream=stream), aggregate)
    except NotFoundError:
        if log.store.stream_version(stream):
            raise
        definitions = log.definitions
        found = definitions.aggregate(aggregate) if aggregate else definitions.of_stream(stream)
        initial = definitions.program(found).initial
        return folding.StateAt(stream, found.name if found else None, 0, 0, None, initial, None, 0)


def _asked(arguments: Sequence[str], folded: folding.StateAt, named: str) -> bytes:
    """What the program prints."""
    environment = {**os.environ, "ESCTL_STREAM": folded.stream, "ESCTL_VERSION": str(folded.version)}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(folded.line())
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - to run it is what was asked for
                list(arguments), stdin=given, stdout=subprocess.PIPE, stderr=said, env=environment
            )
        except OSError as error:
            raise HandlerError(f"cannot run {named}", why=error.strerror or str(error)) from error
        with process:
            assert process.stdout is not None
            printed = process.stdout.read(MAX_OUTPUT + 1)
            if len(printed) > MAX_OUTPUT:
                process.kill()
        said.seek(0)
        reason = said.read().decode("utf-8", "replace").strip()
    if len(printed) > MAX_OUTPUT:
        raise HandlerError(f"{named} prints more than {MAX_OUTPUT} bytes", why="it was stopped")
    if process.returncode == REFUSES:
        raise RefusedError(
            f"{named} refuses: {reason or 'without a reason'}", stream=folded.stream, version=folded.version
        )
    if process.returncode:
        raise HandlerError(f"{named} failed with status {process.returncode}", why=reason[-2000:])
    return printed


def _parsed(stream: str, printed: bytes) -> tuple[list[int], list[NewEvent]]:
    """The events of the program's output, one a line, for the stream unless they say another; and their lines."""
    parse = parser(Defaults(stream=stream))
    numbers: list[int] = []
    events: list[NewEvent] = []
    for number, line in enumerate(printed.removeprefix(BOM).split(b"\n"), 1):
        if line.strip():
            try:
                events.append(parse(line))
                numbers.append(number)
            except RefusedError as error:
                error.details = {"line": number, **error.details}
                error.fix = "esctl decide --help"
                error.again = None
                raise
    return numbers, events


def _append(log: EventLog, numbers: list[int], events: list[NewEvent], stream: str, version: int) -> list[Receipt]:
    """Append what was decided, whatever the streams, if the one that was folded is still at that version."""
    try:
        with log.transaction():
            check_expected(version, stream, log.store.stream_version(stream))
            return Writer(log).append(events)
    except EsctlError as error:
        index = error.details.pop("index", None)
        if isinstance(index, int):
            error.details = {"line": numbers[index], **error.details}
        raise
