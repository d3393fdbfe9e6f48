"""`esctl decide`: let a program decide what happens next in a stream."""

from __future__ import annotations

import shlex

from esctl.append.decide import decide
from esctl.errors import UsageError
from esctl.events.event import check_stream
from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl decide order-1047 --exec ./decide_cancel.sh   state in on stdin, events out
  esctl decide counter --shell --exec "jq -nc '{type: \\"Added\\", data: {n: 1}}'"   in a shell"""


def command(
    shared: Shared,
    *,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream; it may not be there yet.")],
    exec_: Annotated[
        str, typer.Option("--exec", metavar="CMD", help="The program, with arguments; no shell reads it.")
    ],
    shell: Annotated[bool, typer.Option("--shell", help="Have sh read CMD.")] = False,
    aggregate: Annotated[
        str | None, typer.Option(metavar="NAME", help="Fold as this aggregate. [the stream's own]")
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, max=1000, metavar="N", help="How often to ask again when others are faster.")
    ] = 5,
) -> None:
    """Let a program decide what happens next in a stream.

    It gets the stream's state on stdin, one JSON object, and prints events, one a line:
    {"type":"OrderShipped","data":{}}. All are appended, or none. Exit 0 without output decides nothing, exit 1 refuses
    (its stderr is the reason), any other is a failure.
    """
    check_stream(stream)
    arguments = ["sh", "-c", exec_] if shell else _words(exec_)
    with shared.opened(write=True) as log:
        made = decide(log, stream, arguments, aggregate=aggregate, retries=retries, named=exec_)
    render.acknowledge_each(map(render.receipt, made), shared.rendering, render.RECEIPT)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--exec is {command!r}", why=str(error), fix="esctl decide --help") from error
    if not words:
        raise UsageError("--exec is empty", fix="esctl decide --help")
    return words
