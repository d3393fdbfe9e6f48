"""`esctl decide`: let a program decide what happens next in a stream."""

from __future__ import annotations

import shlex

import typer

from esctl import output
from esctl.cli.options import opened
from esctl.decide import decide
from esctl.errors import UsageError
from esctl.events import check_stream

EXAMPLES = """Examples:
  esctl decide order-7 --exec ./ship.sh   state in on stdin, events out, one a line: {"type":"OrderShipped","data":{…}}
  esctl decide counter --shell --exec 'jq -c "{type:\\"Added\\",data:{n:((.state.n // 0) + 1)}}"'"""


def command(
    ctx: typer.Context,
    stream: str = typer.Argument(metavar="STREAM", help="The stream; it may not be there yet."),
    exec_: str = typer.Option(..., "--exec", metavar="CMD", help="The program, with arguments; no shell reads it."),
    shell: bool = typer.Option(False, "--shell", help="Have sh read CMD."),
    aggregate: str | None = typer.Option(None, metavar="NAME", help="Fold as this aggregate. [the stream's own]"),
    retries: int = typer.Option(5, min=0, max=1000, metavar="N", help="How often to ask again when others are faster."),
) -> None:
    """Run a program on a stream's state and append the events that it prints, all or none.

    Exit 0 without output decides nothing, exit 1 refuses (its stderr is the reason), any other is a failure.
    """
    check_stream(stream)
    arguments = ["sh", "-c", exec_] if shell else _words(exec_)
    with opened(ctx, write=True) as log:
        made = decide(log, stream, arguments, aggregate=aggregate, retries=retries, named=exec_)
    output.records(map(output.receipt, made), ctx.obj.rendering, output.RECEIPT)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--exec {command!r}", why=str(error)) from error
    if not words:
        raise UsageError("--exec is empty", fix="--exec ./decide.sh")
    return words
