"""`esctl append`: one event, or a stream of lines."""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import typer

from esctl import ingest, output, progress
from esctl.cli.options import Shared, expectation, item, items, opened
from esctl.errors import EsctlError, NotFoundError, RefusedError, UsageError
from esctl.events import NewEvent, check_schema, whole_number
from esctl.log import EventLog, Guard
from esctl.ndjson import BOM, Defaults, parser, payload_of
from esctl.sql import check_condition

EXAMPLES = """Examples:
  esctl append order-1 OrderPlaced '{"total":99.90}'
  esctl append order-1 OrderPlaced total:=99.90 note='by phone' --expect none
  esctl append < events.ndjson            one event a line: {"stream","type","data", …}
  tail -f app.log | esctl append --payload --stream app --type Line --receipts
  esctl append import.ndjson --atomic     all of it or nothing"""


def command(
    ctx: typer.Context,
    arguments: list[str] = typer.Argument(
        None,
        metavar="[FILE | STREAM TYPE [DATA | @FILE | - | key=text key:=json …]]",
        help="Nothing: lines from stdin.",
    ),
    id_: str | None = typer.Option(None, "--id", metavar="ID", help="The event's id. [a new UUIDv7]"),
    time: str | None = typer.Option(None, metavar="TIME", help="When it happened. [when it is recorded]"),
    schema: int | None = typer.Option(
        None, metavar="N", help="The version of the type's shape. [the model's newest, or 1]"
    ),
    meta: list[str] = typer.Option([], metavar="K=V", help="A field of meta; k:=json too; may be repeated."),
    expect: str | None = typer.Option(None, metavar="E", help="any, none, exists, or the stream's version."),
    stream: str | None = typer.Option(None, metavar="S", help="For lines that name none."),
    type_: str | None = typer.Option(None, "--type", metavar="T", help="For lines that name none."),
    payload: bool = typer.Option(False, "--payload", help="Each line is a payload (needs --stream and --type)."),
    extra: str | None = typer.Option(None, metavar="meta", help="meta: keep unknown keys in meta."),
    input_: Literal["auto", "ndjson", "cloudevents"] = typer.Option(
        "auto", "--input", help="auto: a line with specversion is a CloudEvent."
    ),
    if_none_match: str | None = typer.Option(
        None, metavar="SQL", help="Only if no event after --after meets this condition (see replay --where)."
    ),
    after: str | None = typer.Option(
        None, metavar="N", help="A position, or the head that replay --emit-head printed."
    ),
    atomic: bool = typer.Option(False, "--atomic", help="The whole input is one transaction."),
    batch: int | None = typer.Option(None, min=1, max=1_000_000, metavar="N", help="Lines a transaction. [10000]"),
    each: bool = typer.Option(False, "--each", help="Every line is a transaction."),
    receipts: bool = typer.Option(False, "--receipts", help="A line for each event, once it is durable."),
    skip_invalid: bool = typer.Option(False, "--skip-invalid", help="Report bad lines and go on (exit 5 at the end)."),
    no_rules: bool = typer.Option(False, "--no-rules", help="Leave the rules of the log's model unasked."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, store nothing."),
) -> None:
    """Append an event, or every line of a file or pipe."""
    shared: Shared = ctx.obj
    single = len(arguments or ()) > 1
    ways = {"--atomic": atomic, "--batch": batch, "--each": each}
    for_lines = ways | {"--stream": stream, "--type": type_, "--payload": payload, "--extra": extra}
    for_lines |= {"--receipts": receipts, "--skip-invalid": skip_invalid}
    _misplaced(single, {"--id": id_, "--time": time}, for_lines)
    if schema is not None:
        check_schema(schema)
    guard = _guard(if_none_match, after)
    _contradictions(ways, guard, stream=stream, type_=type_, payload=payload, extra=extra)
    defaults = Defaults(stream, type_, schema or 0, items(meta, "--meta"), payload, extra == "meta", input_)
    expected = expectation(expect)
    with opened(ctx, write=True, bulk=not single) as log:
        log.unruled = no_rules
        if single:
            event = _event(arguments, defaults, {"id": id_, "time": time, "expect": expected})
            made = map(output.receipt, _one(log, event, guard, dry_run=dry_run))
            output.records(({**receipt, **_ruled(log)} for receipt in made), shared.rendering)
            return
        lines = None if atomic or guard else 1 if each else batch or ingest.BATCH_LINES
        options = ingest.Options(lines, skip_invalid, dry_run, receipts, expected, guard)
        _run(log, _source(arguments, quiet=shared.quiet), defaults, options, shared)


def _ruled(log: EventLog) -> dict[str, object]:
    """What a receipt says where rules were left out."""
    return {"rules": False} if log.unruled else {}


def _contradictions(
    ways: Mapping[str, object],
    guard: Guard | None,
    *,
    stream: str | None,
    type_: str | None,
    payload: bool,
    extra: str | None,
) -> None:
    """Refuse options that cannot stand together."""
    if len(given := [option for option, value in ways.items() if value]) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", fix="esctl append --help")
    if extra not in (None, "meta"):
        raise UsageError(f"--extra is {extra!r}", why="unknown keys can go to meta only", fix="--extra meta")
    if payload and extra:
        raise UsageError("--extra is for envelopes", why="with --payload a line is data", fix="leave --extra out")
    if payload and not (stream and type_):
        raise UsageError("--payload needs --stream and --type", fix="esctl append --payload --stream S --type T")
    if guard and (ways["--batch"] or ways["--each"]):
        raise UsageError("--if-none-match makes the whole input one transaction", fix="leave --batch and --each out")


def _misplaced(single: bool, for_one: Mapping[str, object], for_lines: Mapping[str, object]) -> None:
    """Refuse an option that would be ignored: a script that gives it believes that it does something."""
    for option, value in (for_lines if single else for_one).items():
        if value:
            raise UsageError(
                f"{option} is for {'lines of events' if single else 'a single event'}",
                fix="esctl append < FILE" if single else "esctl append STREAM TYPE DATA",
            )


def _event(arguments: list[str], defaults: Defaults, given: dict[str, object]) -> NewEvent:
    """The event that the command line says, through the same checks as a line of input."""
    stream, type_, *rest = arguments
    for_one = Defaults(stream, type_, defaults.schema, defaults.meta)
    fields: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    try:
        if rest:
            fields["data"] = _data(rest)
        return parser(for_one)(msgspec.json.encode(fields))
    except UnicodeEncodeError as error:
        raise RefusedError("an argument is not valid UTF-8") from error


def _data(arguments: list[str]) -> msgspec.Raw:
    """The JSON text of a payload: as given, from a file or stdin, or made from items."""
    first = arguments[0]
    if len(arguments) == 1 and (first == "-" or first.startswith("@")):
        return payload_of(_read(first), "the payload" if first == "-" else f"what {first[1:]} holds")
    if first[:1] in ("{", "[", '"') or item(first) is None:
        if len(arguments) > 1:
            raise UsageError(f"DATA is one argument, not {len(arguments)}", fix="quote it: '{\"total\":99.90}'")
        return payload_of(first.encode(), f"the payload {first[:40]!r}")
    return msgspec.Raw(msgspec.json.encode(items(arguments, "an item")))


def _read(source: str) -> bytes:
    if source == "-":
        _have_stdin()
        return sys.stdin.buffer.read().removeprefix(BOM)
    try:
        return Path(source[1:]).read_bytes().removeprefix(BOM)
    except OSError as error:
        raise NotFoundError(f"cannot read {source[1:]}", why=error.strerror or str(error)) from error


def _guard(condition: str | None, after: str | None) -> Guard | None:
    """The append condition of the options."""
    if condition is None:
        if after is not None:
            raise UsageError("--after is for --if-none-match", fix="--if-none-match \"type = 'T'\" --after 120")
        return None
    position = whole_number((after or "0").partition(":")[0].removeprefix("#"))
    if position is None:
        raise UsageError(f"--after is {after!r}", why="it is a position, or a head as replay --emit-head prints it")
    check_condition(condition)
    return Guard(condition, position)


def _one(
    log: EventLog, event: NewEvent, guard: Guard | None, *, dry_run: bool
) -> Iterator[tuple[int, str, int, str, bool]]:
    """Append one event; its receipt comes after the commit."""
    try:
        with log.transaction(keep=not dry_run):
            before = log.head()[0]
            receipts = log.append([event])
            if guard:
                guard.check(log, receipts, before)
    except EsctlError as error:
        error.details.pop("index", None)
        raise
    yield from receipts


def _have_stdin() -> None:
    if sys.stdin is None:
        raise UsageError("stdin is closed", why="the events were to come from it", fix="esctl append FILE")


def _source(arguments: list[str] | None, *, quiet: bool) -> int:
    """The descriptor that lines come from."""
    if arguments and arguments[0] != "-":
        try:
            descriptor = os.open(arguments[0], os.O_RDONLY)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            return descriptor
        except OSError as error:
            raise NotFoundError(
                f"cannot read {arguments[0]}",
                why=error.strerror or str(error),
                fix="esctl append STREAM TYPE '{…}'   (for a single event)",
            ) from error
    _have_stdin()
    if sys.stdin.isatty() and not quiet:
        output.say("reading events from the terminal, one JSON object a line; end with Ctrl-D")
    return sys.stdin.fileno()


def _run(log: EventLog, descriptor: int, defaults: Defaults, options: ingest.Options, shared: Shared) -> None:
    """Take in all lines; whatever ends it, the receipt says what is stored."""
    gc.set_threshold(200_000)  # millions of tuples come and go, and none is part of a cycle: 5 % of the time
    tally = ingest.Tally()
    runs = ingest.ingest(log, descriptor, defaults, options, tally, output.skipped)
    runs = progress.watched(runs, "appending", None, len)
    try:
        if options.receipts:
            made = (output.receipt(receipt) | _ruled(log) for receipts in runs for receipt in receipts)
            output.records(made, shared.rendering)
        else:
            for _ in runs:
                pass
    except ingest.Stopped:
        output.say("interrupted: the batch under way is rolled back")
        raise
    finally:
        if not options.receipts:
            output.records([tally.record() | _ruled(log)], shared.rendering)
    if tally.invalid:
        raise RefusedError(f"{tally.invalid} lines were skipped", why="they are reported above; all others are stored")
