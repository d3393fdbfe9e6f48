"""Prints events and records as table, NDJSON, JSON, CSV or TSV."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from esctl.errors import UnavailableError
from esctl.events.event import FIELDS, part_of, whole_number
from esctl.events.json import encoded, text_of
from esctl.output import console
from esctl.output.console import text, write, write_data
from esctl.output.terminal import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.events.event import Event, Head, Receipt, SealedEvent
    from esctl.events.fields import Field, Template
    from esctl.output.tables import Look

ERASED = "(erased)"  # what tables show for an erased payload
CSV_CHARACTERS = 32_768  # rows are written together up to this size
TABLE_FIELDS = ("position", "time", "stream", "version", "type", "data")


def _look() -> Look:
    from esctl.output.tables import Look

    return Look(console.settings.color, console.settings.utc, console.settings.wide)


def lines(chunks: Iterable[bytes], format_: str) -> None:
    """Print chunks of NDJSON lines as they are (`ndjson`, `raw`) or as one JSON array (`json`)."""
    write_data(_array(chunks) if format_ == "json" else chunks, json=True)


def _array(chunks: Iterable[bytes]) -> Iterator[bytes]:
    separator = b"[\n"
    for chunk in filter(None, chunks):
        yield separator + chunk[:-1].replace(b"\n", b",\n")  # in a chunk, LF only ends lines
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
    """The version; for a part of a split event with the number of the part: 3/1."""
    part = part_of(event)
    return event.version if part is None else f"{event.version}/{part}"


def event_fields(values: Iterable[Sequence[str]], fields: Sequence[Field], format_: str) -> None:
    """Print the JSON texts of selected fields of events as a table, CSV, TSV or raw: strings without quotes."""
    from esctl.events.fields import plain

    if format_ == "raw":
        write_data(("\t".join(map(plain, row)) + "\n").encode() for row in values)
    elif format_ == "table":
        rows([field.name for field in fields], ([_number(plain(v)) for v in row] for row in values), format_)
    else:
        rows([field.name for field in fields], ([*map(plain, row)] for row in values), format_)


def _number(text_: str) -> object:
    """A whole number as int, so that a table aligns it; every other text unchanged."""
    number = whole_number(text_.removeprefix("-"))
    return int(text_) if number is not None and str(int(text_)) == text_ else text_


def from_template(values: Iterable[Sequence[str]], template: Template) -> None:
    """Print one line per event from a template."""
    write((template.filled(row) + "\n").encode() for row in values)


def shown(text_: str) -> str:
    """Text of events as stdout takes it: on a terminal, control characters are escaped."""
    return clean(text_) if sys.stdout.isatty() else text_


def rows(header: Sequence[str], values: Iterable[Sequence[object]], format_: str, spare: Sequence[str] = ()) -> None:
    """Print rows as CSV, TSV or a table; a narrow table leaves out columns of `spare`."""
    if format_ == "table":
        from esctl.output.tables import table

        write(block.encode() for block in table(header, values, _look(), spare))
    else:
        _separated(header, values, format_)


def _separated(header: Sequence[str], values: Iterable[Sequence[object]], format_: str) -> None:
    """Print rows as CSV or TSV; lines end with LF, as shell tools expect."""
    import csv

    def chunks() -> Iterator[bytes]:
        parts: list[str] = []
        size = 0
        # With CRLF as terminator the writer quotes a CR in a cell; write() gets one whole row at a time.
        delimiter = "\t" if format_ == "tsv" else ","
        write_row = csv.writer(_Rows(parts), delimiter=delimiter, lineterminator="\r\n").writerow
        try:
            for row in chain((header,), values):
                # Most rows have only text and numbers: one test per row takes a sixth of the time of a test per cell.
                cells = row if _JSON_TYPES.isdisjoint(map(type, row)) else [_cell(value) for value in row]
                size += write_row([_escaped(cell) for cell in cells] if console.settings.safe_csv else cells)
                if size > CSV_CHARACTERS:
                    yield "".join(parts).encode()
                    parts.clear()
                    size = 0
        except Exception:
            yield "".join(parts).encode()  # what came before an error may be receipts
            raise
        yield "".join(parts).encode()

    write_data(chunks())


class _Rows:
    """A file of rows that end with CRLF, which become LF."""

    def __init__(self, parts: list[str]) -> None:
        self._add = parts.append

    def write(self, row: str) -> int:
        self._add(f"{row[:-2]}\n")
        return len(row)


_JSON_TYPES = frozenset((bool, list, tuple, dict))  # types that CSV cells hold as JSON


def _cell(value: object) -> object:
    """Booleans, lists and objects as JSON."""
    return text_of(value) if type(value) in _JSON_TYPES else value


def _escaped(value: object) -> object:
    """Put an apostrophe before a cell that a spreadsheet might run as a formula."""
    if not isinstance(value, str) or not value.strip():
        return value
    return f"'{value}" if value[0] in "\t\r" or value.lstrip()[0] in "=+-@" else value


def head(newest: Head) -> None:
    """Print a head."""
    text(f"{newest}\n")


RECEIPT = ("position", "stream", "version", "id", "duplicate")


def receipt(values: Receipt) -> dict[str, object]:
    """The printed record of an event's receipt."""
    return dict(zip(RECEIPT, values, strict=True))


def acknowledge(record: Mapping[str, object], format_: str) -> None:
    """Print the receipt of a command, one object. With --quiet, print nothing.

    If stdout cannot be written, the error has the receipt: what it says must not be done twice.
    """
    if console.settings.quiet:
        return
    try:
        _acknowledge(record, format_)
    except UnavailableError as error:
        error.why += f"; do not repeat what the receipt says: {encoded(record).decode()}"
        error.details["receipt"] = record
        raise


def _acknowledge(record: Mapping[str, object], format_: str) -> None:
    if format_ in ("csv", "tsv"):
        rows(list(record), [list(record.values())], format_)
    elif format_ == "table":
        write([_line(record)])
    else:
        write_data([encoded(record) + b"\n"], json=True)


def acknowledge_each(
    items: Iterable[Mapping[str, object]], format_: str, names: Sequence[str] = (), spare: Sequence[str] = ()
) -> None:
    """Print the receipts of a command that does several things, each as soon as it is done; as a table, all at once.

    `names` are the columns of an empty list; a narrow table leaves out columns of `spare`.
    """
    if console.settings.quiet:
        for _ in items:
            pass
    elif format_ in ("table", "json", "csv", "tsv"):
        listed(items, format_, spare, names)
    else:
        records(items, format_)


def _line(record: Mapping[str, object]) -> bytes:
    """A record on one line of text."""
    return " · ".join(f"{k} {clean(_text(v))}" for k, v in record.items()).encode("utf-8", "replace") + b"\n"


def records(items: Iterable[Mapping[str, object]], format_: str, names: Sequence[str] = ()) -> None:
    """Print records one by one and flush each, so that a reader of a pipe gets it at once."""
    if format_ in ("csv", "tsv", "json"):
        listed(items, format_, names=names)
        return
    for row in items:
        if format_ == "table":
            write([_line(row)])
        else:
            write_data([encoded(row) + b"\n"], json=True)


def listed(
    items: Iterable[Mapping[str, object]], format_: str, spare: Sequence[str] = (), names: Sequence[str] = ()
) -> None:
    """Print a list of records; a narrow table leaves out columns of `spare`.

    `names` are the columns of an empty list.
    """
    if format_ == "json":
        lines((encoded(row) + b"\n" for row in items), format_)
    elif format_ in ("table", "csv", "tsv"):
        source = iter(items)
        first = next(source, None)
        if first is None and names and format_ != "table":
            rows(names, (), format_)
        elif first is not None:
            rows(list(first), (list(row.values()) for row in chain((first,), source)), format_, spare)
    else:
        write_data((encoded(row) + b"\n" for row in items), json=True)


def reactions(records: Sequence[Mapping[str, object]]) -> None:
    """Print the status of reactions as a table, without the columns that say nothing of any."""
    used = [name for name in (records[0] if records else ()) if any(row[name] not in (None, 0) for row in records)]
    spare = ("failed_at", "holder", "part", "breaker", "rate", "failed", "next_try", "lag_seconds")
    listed(({name: row[name] for name in used} for row in records), "table", spare)


def query_result(header: Sequence[str], values: Iterable[Sequence[object]], format_: str) -> None:
    """Print the rows of a query; `raw` prints the values joined by tabs. Blobs are in hexadecimal."""
    values = ([value.hex() if isinstance(value, bytes) else value for value in row] for row in values)
    if format_ in ("table", "csv", "tsv"):
        rows(header, values, format_)
    elif format_ == "raw":
        write_data(("\t".join("" if v is None else str(v) for v in row) + "\n").encode() for row in values)
    else:
        listed((dict(zip(header, row, strict=True)) for row in values), format_)


def read_model(
    header: Sequence[str],
    values: Sequence[Sequence[object]],
    looks: Mapping[str, Mapping[str, object]],
    totals: Mapping[str, object],
    bars: Sequence[str],
) -> str:
    """Rows of a read model as a table; `looks` are the model's settings of columns, `bars` the columns with bars."""
    from esctl.output.tables import Column
    from esctl.output.tables import read_model as table_of

    look_of = {name.lower(): look for name, look in looks.items()}
    wanted = {name.lower() for name in bars}
    columns = {n: Column(**look_of.get(n.lower(), {}), bar=n.lower() in wanted) for n in header}  # type: ignore[arg-type]  # checked with the model
    return table_of(header, values, _look(), columns, totals)


def one(record: Mapping[str, object], format_: str) -> None:
    """Print one record; as a table, one line per field."""
    if format_ == "table":
        from esctl.output.tables import pairs

        text(pairs(record.items(), _look()))
    else:
        listed([record], "ndjson" if format_ in ("json", "raw") else format_)


def states(items: Iterable[Mapping[str, object]], format_: str, *, single: bool) -> None:
    """Print states; `raw` prints the state alone. A table of a single state has one line per field of the state."""
    if format_ == "raw":
        write_data((f"{record['state']}\n".encode() for record in items), json=True)
    elif single and format_ == "table":
        for record in items:
            fields = {f"state.{name}": value for name, value in _fields(str(record["state"]))}
            one({name: value for name, value in record.items() if name != "state"} | fields, format_)
    else:
        listed(items, format_, spare=("position", "aggregate"), names=STATE)


STATE = ("stream", "aggregate", "version", "position", "time", "state")


def _fields(state: str) -> Iterator[tuple[str, str]]:
    """The fields of a JSON object: strings decoded, other values as JSON text, so that numbers do not change."""
    import msgspec

    from esctl.events.fields import members

    if not state.startswith("{"):
        yield "", state
        return
    for name, text_ in members(state).items():
        yield name, msgspec.json.decode(text_, type=str) if text_.startswith('"') else text_


def story(records: Iterable[Mapping[str, Any]]) -> None:
    """Print the entries of `esctl log` as a table; a narrow one is without times, and a type that all share is left
    out.
    """
    from esctl.output.stories import cells
    from esctl.output.tables import MEASURED, cut, type_room

    look = _look()
    header, room = ["position", "time", "elapsed", "type", "changes"], type_room(look)
    source = ((*row[:3], cut(clean(str(row[3])), room), row[4]) for row in map(cells, records))
    first = list(islice(source, MEASURED))
    if 1 < len(first) < MEASURED and len({row[3] for row in first}) == 1:
        console.note(f"the type of each event is {first[0][3]}")
        del header[3]
        first = [(*row[:3], row[4]) for row in first]
    if first:
        rows(header, chain(first, source), "table", spare=("time",))


def story_lines(records: Iterable[Mapping[str, Any]], format_: str) -> None:
    """Print the entries of `esctl log` one by one and flush each; on a terminal, as lines of a table without an end."""
    if format_ == "table":
        from esctl.output.stories import cells
        from esctl.output.tables import story_line

        for record in records:
            text(story_line(cells(record), _look()))
    else:
        for record in records:
            write_data([encoded(record) + b"\n"], json=True)


def verification(report: Mapping[str, object], format_: str) -> None:
    """Print the report of `verify`: one record; on a terminal, one line, and tables of findings and of notes."""
    if format_ != "table" or console.settings.quiet:
        acknowledge(report, format_)
        return
    tables = [name for name in ("findings", "notes", "lost", "segments") if name in report]
    acknowledge({key: value for key, value in report.items() if key not in tables}, format_)
    for table in tables:
        found = report[table]
        assert isinstance(found, list)
        listed(found, format_)


def event_tree(branches: Iterable[tuple[int, Event]], position: int) -> None:
    """Print events with their depth as a tree; an arrow marks the one at `position`."""
    from esctl.output.tables import local, tree

    def line(event: Event) -> str:
        here = "   <-" if event.position == position else ""
        return f"#{event.position} {event.type} in {event.stream} v{event.version}  {local(event.time, _look())}{here}"

    text(tree(((depth, line(event)) for depth, event in branches), _look()))


def bars(title: str, counts: Mapping[str, Sequence[int]]) -> None:
    """Print a line of bars for each name, with the sum."""
    from esctl.output.tables import spark_lines

    text(f"\n{title}\n" + "".join(spark_lines(counts, _look())))


def _text(value: object) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
