"""`esctl react`: run a command for each event."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from esctl.append import pins
from esctl.errors import Stopped, UsageError
from esctl.output import console, render
from esctl.reactions.definition import EXEC, EXEC_STREAM, Definition
from esctl.reactions.react import HANDLER_SECONDS, Wanted, react
from esctl.reactions.runner import Settings, Stop, Summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import (
        AllowLoop,
        AppendOutput,
        Backoff,
        BreakerLimit,
        CategoryFilter,
        Changed,
        Concurrency,
        FirstEvent,
        Follow,
        GroupShare,
        HandlerCommand,
        HandlerWorker,
        Independent,
        InShell,
        Once,
        OnError,
        OrderKey,
        Retries,
        StreamFilter,
        TypeFilter,
        WhereFilter,
    )

EXAMPLES = """Examples:
  esctl react mail --exec cat --type OrderPlaced --from beginning   the event on stdin
  esctl react mail --follow                as it was declared, then wait for new events
  esctl react hello --exec 'echo {data.customer_id}' --type OrderPlaced --from now   a field as argument
  esctl react ids --shell --exec 'jq .id >> ids' --category order --from '#400'
  esctl react hi --append --type CustomerRegistered --from now --exec 'echo {\\"type\\":\\"Hi\\"}'   a new event
  esctl react score --exec-stream 'jq --unbuffered -c {}' --type OrderPlaced --from now   it stays
  esctl react all --exec true --from beginning --on-error park --concurrency 4"""


def command(
    shared: Shared,
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The reaction's name; its place in the log is kept by it.")
    ],
    exec_: HandlerCommand = None,
    exec_stream: HandlerWorker = None,
    shell: InShell = False,
    type_: TypeFilter = (),
    category: CategoryFilter = None,
    stream: StreamFilter = None,
    where: WhereFilter = None,
    from_: FirstEvent = None,
    once: Once = False,
    follow: Follow = False,
    append: AppendOutput = False,
    allow_loop: AllowLoop = False,
    retries: Retries = 5,
    backoff: Backoff = 1.0,
    on_error: OnError = "stop",
    independent: Independent = False,
    concurrency: Concurrency = 1,
    key: OrderKey = None,
    group: GroupShare = None,
    breaker: BreakerLimit = 10,
    changed: Changed = False,
) -> None:
    """Run a command for each event, in order, with retries.

    The command gets the event on stdin, and fields of it as arguments, such as {data.email}. Exit 0: the event is done;
    75: try again; 65: park it; any other: it failed. The log keeps by NAME which events are done: run again, it goes on
    there. Each event is handled, after a crash perhaps twice, and those of a stream in order, one at a time.

    If an event still fails after --retries, the reaction stops, unless --on-error says otherwise. See esctl help
    reactions: all that handlers get and may answer, what is promised, dead letters, --append, --exec-stream.
    """
    if once and follow:
        raise UsageError("--once and --follow exclude each other", fix="esctl react --help")
    if exec_ is not None and exec_stream is not None:
        raise UsageError("--exec and --exec-stream exclude each other", fix="esctl react --help")
    filters = (stream, category, tuple(type_), where, key)
    definition = None
    if exec_ is not None or exec_stream is not None:
        kind, text = (EXEC, exec_) if exec_stream is None else (EXEC_STREAM, exec_stream)
        definition = Definition(kind, text or "", shell, *filters, append, independent)
    elif any((shell, append, independent, *filters)):
        raise UsageError(
            "a filter without --exec",
            why="esctl react NAME goes on with the command and the filter of before; name both for others",
            fix="esctl react --help",
        )
    settings = Settings(retries, backoff, on_error, breaker, follow, allow_loop)
    seconds = HANDLER_SECONDS if shared.sql_timeout is None else shared.timeout
    wanted = Wanted(name, definition, from_, _group(group), changed, concurrency, seconds)
    with shared.opened(write=True) as log, _stopping() as stop:
        log.pins = pins.from_environment()
        summary = react(log, wanted, settings, stop, tell=console.note)
    _end(summary, stop, shared)


def _end(summary: Summary, stop: Stop, shared: Shared) -> None:
    render.acknowledge(summary.record(), shared.rendering)
    if stop.signum == signal.SIGINT:
        raise KeyboardInterrupt
    if stop.signum:
        raise Stopped(stop.signum)


def _group(text: str | None) -> tuple[int, int]:
    """The share of this process, and how many there are."""
    if text is None:
        return 1, 1
    part, slash, parts = text.partition("/")
    numbers = [int(one) if one.isascii() and one.isdecimal() and len(one) < 5 else 0 for one in (part, parts)]
    if not slash or not 1 <= numbers[0] <= numbers[1] <= 1000:
        raise UsageError(f"--group is {text!r}", why="expected I/N, such as 1/3", fix="esctl react --help")
    return numbers[0], numbers[1]


@contextmanager
def _stopping() -> Iterator[Stop]:
    """A block in which SIGTERM and Ctrl-C only ask to end."""
    stop = Stop()

    def ask(number: int, _: FrameType | None) -> None:
        stop.asked, stop.signum = stop.asked + 1, number

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
