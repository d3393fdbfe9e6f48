"""`esctl decide`: let a program decide which events to append."""

from __future__ import annotations

import shlex

from esctl.append import pins
from esctl.append.decide import RETRIES, Decision, decide
from esctl.errors import UsageError
from esctl.events.event import check_name, check_stream
from esctl.output import console, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AggregateName, SchemaPins

EXAMPLES = """Examples:
  esctl decide order-1047 --exec ./decide_cancel.sh   state on stdin, events on stdout
  esctl decide order-1047 --exec ./decide_cancel.sh --id request-77   repeated, it decides once
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
        typer.Option(
            min=0,
            max=1000,
            metavar="N",
            help="How often to run it again when another writer was faster, the last time under the write lock.",
        ),
    ] = RETRIES,
    id_: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="The command's id: repeated with it, it decides once."),
    ] = None,
    schema: SchemaPins = (),
) -> None:
    """Let a program decide which events to append to a stream.

    The program gets the stream's state on stdin, one JSON object, and prints events, one per line:
    {"type":"OrderShipped","data":{}}. All of them are appended, or none. Exit 0 without output appends nothing; exit 1
    refuses, with its stderr as the reason; any other exit code is a failure.

    If another writer was faster, the program runs again, up to --retries times, after a short pause. The last time it
    runs while esctl holds the write lock, so the decision always ends. Other writers then wait, up to their --timeout;
    so does an esctl that the program itself runs to write to the same log, and fails (exit 8). It may read.

    With --id ID, the events get the ids ID/1, ID/2 and so on. If the same command is run again, say after it was
    killed, and ID/1 is in the log, the program does not run, and the receipts are those of the stored events
    ("duplicate":true). At least one event has to be in STREAM, and none may have an id of its own.
    """
    check_stream(stream)
    if id_ is not None:
        check_name("id", id_)
    every, pinned = pins.given(schema)
    if every:
        raise UsageError(
            f"--schema is {every}", why="expected here: TYPE=N, such as OrderPlaced=2", fix="esctl decide --help"
        )
    arguments = ["sh", "-c", exec_] if shell else _words(exec_)
    with shared.opened(write=True) as log:
        log.pins = pinned
        receipts = decide(log, Decision(stream, arguments, aggregate, exec_, id_ or ""), retries=retries)
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
