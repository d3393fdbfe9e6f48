"""`esctl decide`: let a program decide which events to append."""

from __future__ import annotations

import shlex

from esctl.append import pins
from esctl.append.decide import decide
from esctl.errors import UsageError
from esctl.events.event import check_stream
from esctl.output import console, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName, SchemaPins

EXAMPLES = """Examples:
  esctl decide order-1047 --exec ./decide_cancel.sh   state on stdin, events on stdout
  esctl decide counter --shell --exec "jq -nc '{type: \\"Added\\", data: {n: 1}}'"   run by sh"""


def command(
    shared: Shared,
    *,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream; it need not exist yet.")],
    exec_: Annotated[
        str, typer.Option("--exec", metavar="CMD", help="The program and its arguments; run without a shell.")
    ],
    shell: Annotated[bool, typer.Option("--shell", help="Run CMD with sh -c.")] = False,
    aggregate: AggregateName = None,
    retries: Annotated[
        int,
        typer.Option(min=0, max=1000, metavar="N", help="How often to run it again when another writer was faster."),
    ] = 5,
    schema: SchemaPins = (),
) -> None:
    """Let a program decide which events to append to a stream.

    The program gets the stream's state on stdin, one JSON object, and prints events, one per line:
    {"type":"OrderShipped","data":{}}. All of them are appended, or none. Exit 0 without output appends nothing; exit 1
    refuses, with its stderr as the reason; any other exit code is a failure.
    """
    check_stream(stream)
    every, pinned = pins.given(schema)
    if every:
        raise UsageError(
            f"--schema is {every}", why="expected here: TYPE=N, such as OrderPlaced=2", fix="esctl decide --help"
        )
    arguments = ["sh", "-c", exec_] if shell else _words(exec_)
    with shared.opened(write=True) as log:
        log.pins = pinned
        receipts = decide(log, stream, arguments, aggregate=aggregate, retries=retries, named=exec_)
        console.notes(log.notes)
    render.acknowledge_each(map(render.receipt, receipts), shared.rendering, render.RECEIPT)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(
            f"--exec {command!r} cannot be split into words", why=str(error), fix="esctl decide --help"
        ) from error
    if not words:
        raise UsageError("--exec is empty", fix="esctl decide --help")
    return words
