"""Rows -> table, NDJSON, JSON, CSV, TSV."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from esctl.events.event import FIELDS, part_of, whole_number
from esctl.events.json import encoded, text_of
from esctl.output.console import Settings, text, write
from esctl.output.terminal import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import Event, Head, Receipt, SealedEvent
    from esctl.events.fields import Field
    from esctl.output.tables import Look

ERASED = "(erased)"  # what tables show of a payload that is gone
TABLE_FIELDS = ("position", "time", "stream", "version", "type", "data")


def _look() -> Look:
    from esctl.output.tables import Look

    return Look(Settings.color, Settings.utc, Settings.wide)


def lines(chunks: Iterable[bytes], format_: str) -> None:
    """Print chunks of NDJSON lines as they are (`ndjson`, `raw`) or as one JSON array (`json`)."""
    write(_array(chunks) if format_ == "json" else chunks)


def _array(chunks: Iterable[bytes]) -> Iterator[bytes]:
    separator = b"[\n"
    for chunk in filter(None, chunks):
        yield separator + chunk[:-1].replace(b"\n", b",\n")  # an LF in a chunk always ends a line
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def events(sealed: Iterable[SealedEvent], format_: str, *, hashes: bool) -> None:
    """Print events as a table, CSV or TSV."""
    if format_ == "table":
        cells = ((e[0], e[6], e[1], _version(e), e[4], ERASED if e[8] is None else e[8]) for e, _, _ in sealed)
        rows(TABLE_FIELDS, cells, format_, spare=("version",))
        return
    header = (*FIELDS, "salt", "hash") if hashes else FIELDS
    proofs = ((*e, salt.hex() if salt else None, hash_.hex()) for e, salt, hash_ in sealed)
    rows(header, proofs if hashes else (e for e, _, _ in sealed), format_)


def _version(event: Event) -> object:
    """The version, of a part of a split event with its number: 3/1."""
    part = part_of(event)
    return event.version if part is None else f"{event.version}/{part}"


def picked(sealed: Iterable[SealedEvent], fields: Sequence[Field], format_: str) -> None:
    """Print some fields of events: JSON keeps their text, tables and CSV show text without quotes."""
    from esctl.events.fields import plain, record

    if format_ in ("ndjson", "json"):
        lines((record(fields, event) for event, _, _ in sealed), format_)
    elif format_ == "raw":
        write(("\t".join(plain(field.of(event)) for field in fields) + "\n").encode() for event, _, _ in sealed)
    else:
        names = [field.name for field in fields]
        values = ([_number(plain(field.of(event))) for field in fields] for event, _, _ in sealed)
        rows(names, values if format_ == "table" else ([str(v) for v in row] for row in values), format_)


def _number(text_: str) -> object:
    """Whole numbers as such, so that a table aligns them; all else stays the text that it is."""
    number = whole_number(text_.removeprefix("-"))
    return int(text_) if number is not None and str(int(text_)) == text_ else text_


def filled(sealed: Iterable[SealedEvent], template: str) -> None:
    """Print a line an event from a template; on a terminal nothing that an event holds acts."""
    from esctl.events.fields import template as compiled

    fill = compiled(template, clean if sys.stdout.isatty() else str)
    write((fill(event) + "\n").encode() for event, _, _ in sealed)


def rows(header: Sequence[str], values: Iterable[Sequence[object]], format_: str, spare: Sequence[str] = ()) -> None:
    """Print rows as a table (without `spare` columns where it is narrow), CSV or TSV."""
    if format_ == "table":
        from esctl.output.tables import table

        write(block.encode() for block in table(header, values, _look(), spare))
    else:
        _separated(header, values, format_)


def _separated(header: Sequence[str], values: Iterable[Sequence[object]], format_: str) -> None:
    """Print rows as CSV or TSV with LF at line ends, as the shell's tools expect."""
    import csv
    import io

    def chunks() -> Iterator[bytes]:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter="\t" if format_ == "tsv" else ",", lineterminator="\r\n")
        for row in chain((header,), values):
            # Most rows hold text and numbers alone: to ask a row at once costs a sixth of asking each cell.
            cells = row if _NO_CELLS.isdisjoint(map(type, row)) else [_cell(value) for value in row]
            writer.writerow([_defused(cell) for cell in cells] if Settings.safe_csv else cells)
            yield f"{buffer.getvalue()[:-2]}\n".encode()  # written with CRLF, so that a CR in a cell is quoted
            buffer.seek(0)
            buffer.truncate()

    write(chunks())


_NO_CELLS = frozenset((bool, list, tuple, dict))  # what no cell of CSV can hold


def _cell(value: object) -> object:
    """Truth values, lists and objects as JSON."""
    return text_of(value) if type(value) in _NO_CELLS else value


def _defused(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before what might be one."""
    if not isinstance(value, str) or not value.strip():
        return value
    return f"'{value}" if value[0] in "\t\r" or value.lstrip()[0] in "=+-@" else value


def head(newest: Head) -> None:
    """Print a head."""
    text(f"{newest}\n")


RECEIPT = ("position", "stream", "version", "id", "duplicate")


def receipt(made: Receipt) -> dict[str, object]:
    """The record of what became of one event."""
    return dict(zip(RECEIPT, made, strict=True))


def acknowledge(record: Mapping[str, object], format_: str) -> None:
    """Print the receipt of what a command did: one object. With --quiet nothing is printed."""
    if Settings.quiet:
        return
    if format_ in ("csv", "tsv"):
        rows(list(record), [list(record.values())], format_)
    elif format_ == "table":
        write([_line(record)])
    else:
        write([encoded(record) + b"\n"])


def acknowledge_each(
    made: Iterable[Mapping[str, object]], format_: str, names: Sequence[str] = (), spare: Sequence[str] = ()
) -> None:
    """Print the receipts of a command that does many things, each when it is true; on a terminal one table.

    `names` are the columns of an empty list, `spare` those that a narrow table does without.
    """
    if Settings.quiet:
        for _ in made:
            pass
    elif format_ in ("table", "json", "csv", "tsv"):
        listed(made, format_, spare, names)
    else:
        records(made, format_)


def _line(record: Mapping[str, object]) -> bytes:
    """A record on one line, for people."""
    return " · ".join(f"{k} {clean(_shown(v))}" for k, v in record.items()).encode("utf-8", "replace") + b"\n"


def records(made: Iterable[Mapping[str, object]], format_: str, names: Sequence[str] = ()) -> None:
    """Print records one by one, each flushed, so that a reader of a pipe has them when they are true."""
    if format_ in ("csv", "tsv", "json"):
        listed(made, format_, names=names)
        return
    for row in made:
        if format_ == "table":
            write([_line(row)])
        else:
            write([encoded(row) + b"\n"])


def listed(
    made: Iterable[Mapping[str, object]], format_: str, spare: Sequence[str] = (), names: Sequence[str] = ()
) -> None:
    """Print records that belong together; as a table, one a row, without `spare` columns where it is narrow.

    `names` are the columns of an empty list.
    """
    if format_ == "json":
        lines((encoded(row) + b"\n" for row in made), format_)
    elif format_ in ("table", "csv", "tsv"):
        source = iter(made)
        first = next(source, None)
        if first is None and names and format_ != "table":
            rows(names, (), format_)
        elif first is not None:
            rows(list(first), (list(row.values()) for row in chain((first,), source)), format_, spare)
    else:
        write(encoded(row) + b"\n" for row in made)


def answer(header: Sequence[str], values: Iterable[Sequence[object]], format_: str) -> None:
    """Print the rows of a question; `raw`: values with tabs between them, as they are; blobs in hexadecimal."""
    values = ([value.hex() if isinstance(value, bytes) else value for value in row] for row in values)
    if format_ in ("table", "csv", "tsv"):
        rows(header, values, format_)
    elif format_ == "raw":
        write(("\t".join("" if v is None else str(v) for v in row) + "\n").encode() for row in values)
    else:
        listed((dict(zip(header, row, strict=True)) for row in values), format_)


def read_model(
    header: Sequence[str],
    values: Sequence[Sequence[object]],
    looks: Mapping[str, Mapping[str, object]],
    totals: Mapping[str, object],
    bars: Sequence[str],
) -> str:
    """Rows of a read model as a table: `looks` are what its model says of columns, `bars` the columns with bars."""
    from esctl.output.tables import Column
    from esctl.output.tables import read_model as drawn

    known = {name.lower(): look for name, look in looks.items()}
    wanted = {name.lower() for name in bars}
    columns = {n: Column(**known.get(n.lower(), {}), bar=n.lower() in wanted) for n in header}  # type: ignore[arg-type]  # judged with the model
    return drawn(header, values, _look(), columns, totals)


def one(record: Mapping[str, object], format_: str) -> None:
    """Print one record; on a terminal a line a field."""
    if format_ == "table":
        from esctl.output.tables import pairs

        text(pairs(record.items(), _look()))
    else:
        listed([record], "ndjson" if format_ in ("json", "raw") else format_)


def states(made: Iterable[Mapping[str, object]], format_: str, *, single: bool) -> None:
    """Print states: `raw` the state alone; a single one on a terminal a line a field, and a line a field of it."""
    if format_ == "raw":
        write(f"{record['state']}\n".encode() for record in made)
    elif single and format_ == "table":
        for record in made:
            fields = {f"state.{name}": value for name, value in _fields(str(record["state"]))}
            one({name: value for name, value in record.items() if name != "state"} | fields, format_)
    else:
        listed(made, format_, spare=("position", "aggregate"), names=STATE)


STATE = ("stream", "aggregate", "version", "position", "time", "state")


def _fields(state: str) -> Iterator[tuple[str, str]]:
    """The fields of a JSON object: texts as they are, all else as its JSON text, since numbers are not to change."""
    import msgspec

    if not state.startswith("{"):
        yield "", state
        return
    for name, raw in msgspec.json.decode(state.encode(), type=dict[str, msgspec.Raw]).items():
        text_ = bytes(raw).decode()
        yield name, msgspec.json.decode(raw, type=str) if text_.startswith('"') else text_


def verification(report: Mapping[str, object], format_: str) -> None:
    """Print the report of `verify`: one record; on a terminal a line of it, and a table of what was found."""
    if format_ != "table" or Settings.quiet:
        acknowledge(report, format_)
        return
    findings = report["findings"]
    assert isinstance(findings, list)
    acknowledge({key: value for key, value in report.items() if key != "findings"}, format_)
    listed(findings, format_)


def traced(branches: Iterable[tuple[int, Event]], position: int) -> None:
    """Print events with their depth as a tree; the one at `position` is pointed out."""
    from esctl.output.tables import local, tree

    def line(event: Event) -> str:
        here = "   <-" if event.position == position else ""
        return f"#{event.position} {event.type} in {event.stream} v{event.version}  {local(event.time, _look())}{here}"

    text(tree(((depth, line(event)) for depth, event in branches), _look()))


def bars(title: str, counts: Mapping[str, Sequence[int]]) -> None:
    """Print a line of bars for each name, with its sum."""
    from esctl.output.tables import padded, sparkline

    lines = [(n, f"  {sparkline(c)}  {sum(c):,}\n") for n, c in zip(padded(counts), counts.values(), strict=True)]
    text(f"\n{title}\n" + "".join(name + line for name, line in lines))


def _shown(value: object) -> str:
    """A plain value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
