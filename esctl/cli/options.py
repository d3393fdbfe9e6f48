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

# Of react.
AllowLoop = Annotated[
    bool, typer.Option("--allow-loop", help="With --append: events that the reaction is for may be among them.")
]
AppendOutput = Annotated[
    bool, typer.Option("--append", help="Append the events that the handlers print, one per line.")
]
Backoff = Annotated[
    float,
    typer.Option(min=0, max=86400, metavar="SECONDS", help="The longest pause before that; doubled each time."),
]
BreakerLimit = Annotated[
    int,
    typer.Option(
        "--breaker", min=0, max=1_000_000, metavar="N",
        help="Wait for a while when N different events failed one after the other; 0: never.",
    ),
]  # fmt: skip
CategoryFilter = Annotated[str | None, typer.Option("--category", metavar="C", help="The stream C and all streams C-…")]
Changed = Annotated[
    bool, typer.Option("--changed", help="The reaction goes on with another command or filter than before.")
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", min=1, max=1000, metavar="N", help="How many handlers may run at a time.")
]
FirstEvent = Annotated[
    str | None, typer.Option("--from", metavar="POINT", help="Where a new reaction begins: beginning, now, or a point.")
]
Follow = Annotated[bool, typer.Option("--follow", help="Then wait for new events.")]
GroupShare = Annotated[
    str | None, typer.Option("--group", metavar="I/N", help="Only the I-th of N shares of the streams.")
]
HandlerWorker = Annotated[
    str | None,
    typer.Option("--exec-stream", metavar="CMD", help="A program that gets all events, and answers each with a line."),
]
HandlerCommand = Annotated[
    str | None,
    typer.Option("--exec", metavar="CMD", help="The program for each event, with arguments such as {stream}."),
]
Independent = Annotated[
    bool, typer.Option("--independent", help="Later events of the stream do not wait behind a parked one.")
]
InShell = Annotated[bool, typer.Option("--shell", help="Run CMD with sh -c; it has no {fields}.")]
Once = Annotated[bool, typer.Option("--once", help="End when all events are handled. [the default]")]
OnError = Annotated[
    Literal["stop", "park", "skip"],
    typer.Option("--on-error", help="Then: stop; park: only this event and later ones of its stream wait."),
]
OrderKey = Annotated[
    str | None, typer.Option("--key", metavar="SQL", help="Events with this value in common are in order. [stream]")
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, max=1_000_000, metavar="N", help="How often a failed event is tried again.")
]
StreamFilter = Annotated[str | None, typer.Option("--stream", metavar="S", help="Only events of this stream.")]
TypeFilter = Annotated[Sequence[str], typer.Option("--type", metavar="T", help="Only this type; may be repeated.")]
WhereFilter = Annotated[str | None, typer.Option("--where", metavar="SQL", help="A condition over an event's fields.")]
