"""Run a program that reads a stream's state and prints the events to append."""

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

MAX_OUTPUT = 64 * 1024 * 1024  # bytes; a program that prints more is stopped
REFUSES = 1  # the exit status with which a program refuses


def decide(
    log: EventLog,
    stream: str,
    arguments: Sequence[str],
    *,
    aggregate: str | None = None,
    retries: int = 5,
    named: str = "",
) -> list[Receipt]:
    """Fold a stream, run a program on its state, and append the events that it prints, all or none.

    If the stream got new events meanwhile, everything is repeated, up to `retries` times. The program gets the state on
    stdin, as `esctl state` prints it, and ESCTL_STREAM and ESCTL_VERSION in its environment. Raises RefusedError if it
    refuses (exit status 1; its stderr is the reason), HandlerError if it fails, ConflictError after the last retry.
    `named` is the program's name in errors.
    """
    while True:
        folded = _state(log, stream, aggregate)
        numbers, events = _parsed(stream, _output(arguments, folded, named or arguments[0]))
        if not events:
            return []
        try:
            return _append(log, numbers, events, stream, folded.version)
        except ConflictError as error:
            if error.details.get("stream") != stream or not retries:
                raise
            retries -= 1


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


def _parsed(stream: str, printed: bytes) -> tuple[list[int], list[NewEvent]]:
    """The line numbers and events of the program's output; an event's stream is by default the folded one."""
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
    """Append the events, to any streams, if the folded stream is still at this version."""
    try:
        with log.transaction():
            check_expected(version, stream, log.store.stream_version(stream))
            return Writer(log).append(events)
    except EsctlError as error:
        index = error.details.pop("index", None)
        if isinstance(index, int):
            error.details = {"line": numbers[index], **error.details}
        raise
