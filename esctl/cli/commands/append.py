"""`esctl append`: one event, or many lines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from esctl.append.writer import Writer
from esctl.cli import single
from esctl.cli.items import expectation, items
from esctl.errors import EsctlError, UsageError
from esctl.events.event import NewEvent, whole_number
from esctl.output import console, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.append.expectations import AppendCondition
    from esctl.cli.declare import Shared
    from esctl.cli.options import (
        After,
        BatchLines,
        EventOrFile,
        HappenedAt,
        IfNoneMatch,
        InputForm,
        MetaFields,
        OnConflict,
        SchemaPins,
    )
    from esctl.events.event import Receipt

_SUFFIXES = (".ndjson", ".jsonl", ".json", ".gz", ".zst", ".csv")

EXAMPLES = """Examples:
  esctl append order-1 OrderPlaced '{"total":99.90}'
  esctl append order-2 OrderPlaced total:=99.90 note='by phone' --expect none
  esctl append < orders.ndjson             one event per line: {"stream","type","data"}
  esctl append --payload --stream app --type Line --receipts < app.log
  esctl append orders.ndjson --atomic      all events or none; several files are read in order
  esctl append orders.ndjson --schema OrderPlaced=1   from a writer of an older shape
  zstd -c orders.ndjson | esctl append     gzip and zstd are decompressed"""


def command(
    shared: Shared,
    *,
    arguments: EventOrFile = (),
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="The event's id. [a new UUIDv7]")] = None,
    time: HappenedAt = None,
    schema: SchemaPins = (),
    meta: MetaFields = (),
    expect: Annotated[str | None, typer.Option(metavar="E", help="any, none, exists, or the stream's version.")] = None,
    stream: Annotated[str | None, typer.Option(metavar="S", help="Stream of lines that have none.")] = None,
    type_: Annotated[str | None, typer.Option("--type", metavar="T", help="Type of lines that have none.")] = None,
    payload: Annotated[
        bool, typer.Option("--payload", help="Each whole line is a payload (needs --stream and --type).")
    ] = False,
    extra: Annotated[str | None, typer.Option(metavar="meta", help="meta: move unknown keys into meta.")] = None,
    input_: InputForm = "auto",
    if_none_match: IfNoneMatch = None,
    after: After = None,
    atomic: Annotated[bool, typer.Option("--atomic", help="One transaction for the whole input.")] = False,
    batch: BatchLines = None,
    each: Annotated[bool, typer.Option("--each", help="One transaction per line.")] = False,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Print a receipt for each event once it is durable.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Report bad lines and continue (exit 5 at the end).")
    ] = False,
    on_conflict: OnConflict = "stop",
    skip_system: Annotated[
        bool, typer.Option("--skip-system", help="Pass over lines of a log's own streams ($esctl).")
    ] = False,
    no_rules: Annotated[bool, typer.Option("--no-rules", help="Do not check the rules of the log's model.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, store nothing.")] = False,
) -> None:
    """Append an event, or every line of files or a pipe."""
    is_single = len(arguments) > 1 and not _are_files(arguments)
    transactions = {"--atomic": atomic, "--batch": batch, "--each": each}
    for_lines = transactions | {"--stream": stream, "--type": type_, "--payload": payload, "--extra": extra}
    for_lines |= {"--receipts": receipts, "--skip-invalid": skip_invalid, "--skip-system": skip_system}
    for_lines |= {"--on-conflict": on_conflict == "skip"}
    _refuse_misplaced(is_single, {"--id": id_, "--time": time}, for_lines)
    every, pins = _schemas(schema)
    condition = _condition(if_none_match, after)
    _refuse_contradictions(transactions, condition, stream=stream, type_=type_, payload=payload, extra=extra)
    fields, expected = items(meta, "--meta"), expectation(expect)
    if is_single:
        options = single.EventOptions(id_, time, every, fields, expected)
        _run_single(shared, arguments, options, pins, condition, rules=not no_rules, dry_run=dry_run)
        return
    from esctl.cli import lines  # noqa: PLC0415 - loads msgspec and more; a single event does not need them

    defaults = lines.defaults(stream, type_, every, fields, payload=payload, extra=extra, form=input_)
    size = None if atomic or condition else 1 if each else batch or lines.BATCH_LINES
    line_options = lines.Options(
        size, skip_invalid, on_conflict == "skip", skip_system, dry_run, receipts, expected, condition
    )
    with shared.opened(write=True, bulk=True) as log:
        log.pins = pins
        writer = Writer(log, rules=not no_rules)
        lines.run(writer, lines.inputs(arguments, quiet=shared.quiet), defaults, line_options, shared)


def _run_single(
    shared: Shared,
    arguments: Sequence[str],
    options: single.EventOptions,
    pins: Mapping[str, int],
    condition: AppendCondition | None,
    *,
    rules: bool,
    dry_run: bool,
) -> None:
    """Append the event that the arguments give, and print its receipt."""
    with shared.opened(write=True) as log:
        log.pins = pins
        writer = Writer(log, rules=rules)
        receipt = _append_one(writer, single.event(arguments, options), condition, dry_run=dry_run)
        console.notes(log.notes)
        render.acknowledge(render.receipt(receipt) | ({} if rules else {"rules": False}), shared.rendering)


def _are_files(words: Sequence[str]) -> bool:
    """Whether two or more arguments are files (or `-`), not STREAM TYPE DATA. Raises UsageError if they may be both."""
    stream, type_ = words[:2]
    if not _is_file(stream) and not (type_.endswith(_SUFFIXES) and (_is_file(type_) or stream.endswith(_SUFFIXES))):
        return False
    if words.count("-") > 1:
        raise UsageError("- is given twice", why="stdin can be read once only", fix="esctl append --help")
    missing = next((word for word in words if not _is_file(word)), None)
    if missing is None:
        return True
    raise UsageError(
        f"the arguments are neither all files nor clearly one event: {missing} is no file",
        why=f"as files, {missing} does not exist; as STREAM TYPE DATA, the event {type_} goes to the stream {stream},"
        " which has the name of a file: if you mean that, give the names with --payload --stream --type",
        fix="esctl append --help",
    )


def _is_file(word: str) -> bool:
    return word == "-" or (os.path.exists(word) and not os.path.isdir(word))


def _refuse_contradictions(
    transactions: Mapping[str, object],
    condition: AppendCondition | None,
    *,
    stream: str | None,
    type_: str | None,
    payload: bool,
    extra: str | None,
) -> None:
    """Refuse options that exclude each other."""
    wrong = ""
    if len(given := [option for option, value in transactions.items() if value]) > 1:
        wrong = f"{' and '.join(given)} exclude each other"
    elif extra not in (None, "meta"):
        wrong = f"--extra is {extra!r}: unknown keys can move to meta only"
    elif payload and extra:
        wrong = "--extra does not go with --payload: with --payload the whole line is data"
    elif payload and not (stream and type_):
        wrong = "--payload needs --stream and --type"
    elif condition and (transactions["--batch"] or transactions["--each"]):
        wrong = "--if-none-match excludes --batch and --each: it makes the whole input one transaction"
    if wrong:
        what, _, why = wrong.partition(": ")
        raise UsageError(what, why=why, fix="esctl append --help")


def _refuse_misplaced(is_single: bool, for_one: Mapping[str, object], for_lines: Mapping[str, object]) -> None:
    """Refuse an option that would have no effect: a script that gives it expects an effect."""
    for option, value in (for_lines if is_single else for_one).items():
        if value:
            raise UsageError(
                f"{option} is for {'lines of events' if is_single else 'a single event'}", fix="esctl append --help"
            )


def _schemas(options: Sequence[str]) -> tuple[int, Mapping[str, int]]:
    """The version for all types (0: none was given), and those for some types."""
    if not options and not os.environ.get("ESCTL_SCHEMA"):
        return 0, {}
    from esctl.append import pins  # noqa: PLC0415 - most writers have no pins

    return pins.given(options)


def _condition(sql: str | None, after: str | None) -> AppendCondition | None:
    """The append condition that the options give."""
    if sql is None:
        if after is not None:
            raise UsageError("--after needs --if-none-match", fix="esctl append --help")
        return None
    position = whole_number((after or "0").partition(":")[0].removeprefix("#"))
    if position is None:
        raise UsageError(f"--after is {after!r}", why="expected: a position, or a head that replay --emit-head printed")
    from esctl.append.expectations import AppendCondition  # noqa: PLC0415 - only --if-none-match needs it
    from esctl.sql.conditions import check_condition  # noqa: PLC0415

    check_condition(sql)
    return AppendCondition(sql, position)


def _append_one(writer: Writer, event: NewEvent, condition: AppendCondition | None, *, dry_run: bool) -> Receipt:
    """Append one event and return its receipt, after the commit."""
    log = writer.log
    try:
        with log.transaction(keep=not dry_run):
            before = log.head().position
            receipts = writer.append([event])
            if condition:
                condition.check(log, receipts, before)
    except EsctlError as error:
        error.details.pop("index", None)
        raise
    return receipts[0]
