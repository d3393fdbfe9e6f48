"""Options that several commands have, and those of `append` that are long: each is declared once.

Commands name them in their signatures for the type checker; only `esctl.cli.signatures` loads this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

AggregateName = Annotated[
    str | None, typer.Option("--aggregate", metavar="NAME", help="Fold with this aggregate. [the stream's own]")
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="POINT", help="The log as it stood then (by recorded time).")
]
By = Annotated[
    Literal["recorded", "time"] | None,
    typer.Option("--by", help="A time is when events were recorded, or happened (time). [recorded]"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")]
ExpectHead = Annotated[
    str | None,
    typer.Option("--expect-head", metavar="POSITION:HASH", help="A head that `esctl head` printed earlier."),
]
System = Annotated[bool, typer.Option("--system", help="Include the log's own streams ($esctl).")]
Until = Annotated[str | None, typer.Option("--until", metavar="POINT", help="Up to and including this point.")]

# Of append.
After = Annotated[
    str | None,
    typer.Option("--after", metavar="N", help="A position, or a head that replay --emit-head printed. [0]"),
]
BatchLines = Annotated[
    int | None, typer.Option("--batch", min=1, max=1_000_000, metavar="N", help="Lines per transaction. [10000]")
]
EventOrFile = Annotated[
    Sequence[str],
    typer.Argument(
        metavar="[FILE… | STREAM TYPE [DATA | @FILE | - | key=text key:=json …]]",
        help="With no argument: lines from stdin.",
    ),
]
HappenedAt = Annotated[
    str | None,
    typer.Option("--time", metavar="TIME", help="When the event happened: a time with a zone, now, 2h ago. [now]"),
]
IfNoneMatch = Annotated[
    str | None,
    typer.Option(
        "--if-none-match",
        metavar="SQL",
        help="Append only if no event after --after matches this condition (as in replay --where).",
    ),
]
InputForm = Annotated[
    Literal["auto", "ndjson", "cloudevents"],
    typer.Option(
        "--input", help="auto: a line with specversion is a CloudEvent. cloudevents: so is each item of an array."
    ),
]
OnConflict = Annotated[
    Literal["stop", "skip"],
    typer.Option("--on-conflict", help="skip: keep the first event of an id, report others that have it, and go on."),
]
SchemaPins = Annotated[
    Sequence[str],
    typer.Option(
        "--schema",
        metavar="N | TYPE=N",
        help="Schema version of events without one; TYPE=N may be repeated. [env: ESCTL_SCHEMA; else the newest]",
    ),
]
MetaFields = Annotated[
    Sequence[str], typer.Option("--meta", metavar="K=V", help="A field of meta, or K:=JSON; may be repeated.")
]
