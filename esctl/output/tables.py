"""Formats rows as text that fits a terminal, and draws bars. The only module, with progress, that uses rich."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size  # noqa: TID253 - rich is allowed here
from rich.console import Console  # noqa: TID253
from rich.errors import StyleSyntaxError  # noqa: TID253
from rich.style import Style  # noqa: TID253
from rich.table import Table  # noqa: TID253
from rich.text import Text  # noqa: TID253

from esctl.events.json import Json
from esctl.output.terminal import clean

MEASURED = 1000  # rows that determine the widths of columns; later rows are cut to these widths
HINT_ROWS = 1000
MIN_WIDTH = 8
DATE, MINUTE = 10, 16  # characters of a time that are its date, and its date and minute
ENOUGH = 20  # width of the last column at which no spare column has to go
MIN_NAME = 16  # width of names beside lines of bars at which the bars need not be fewer
_TIMES = ("time", "recorded", "created", "taken", "first_recorded", "last_recorded")
_MINUTES = ("first_time", "last_time")
_COUNTS = (
    "rows",
    "lag",
    "read",
    "misfits",
    "failed",
    "events",
    "streams",
    "types",
    "bytes",
    "payload_bytes",
    "file_bytes",
)
_BARS = " ▁▂▃▄▅▆▇█"


class Look(msgspec.Struct, frozen=True):
    """How tables look: `color` is always, never or auto; `utc`: times in UTC, else local; `wide`: nothing is cut."""

    color: str = "auto"
    utc: bool = False
    wide: bool = False


class Column(msgspec.Struct, frozen=True):
    """The model's settings of a read model's column: `format` is Python's for numbers (`,.2f`), `style` is rich's,
    `align` is left, right or center; with `bar`, a bar shows the value relative to the largest one.
    """

    label: str = ""
    format: str = ""
    style: str = ""
    align: str = ""
    bar: bool = False


_PLAIN = Column()
BAR_CELLS = 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def formatted(name: str, value: object, look: Look, column: Column) -> str:
    """The text of a cell of a read model."""
    if isinstance(value, int | float) and not isinstance(value, bool) and column.format:
        try:
            return format(value, column.format)
        except (ValueError, OverflowError):
            return shown(name, value, look)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.15g}"  # as the shell of SQLite: 0.3 for 0.1 + 0.2
    return shown(name, value, look)


def bar(value: object, largest: float, cells: int = BAR_CELLS) -> str:
    """A bar of so many cells; blank unless the value is a number above 0."""
    share = value / largest if isinstance(value, int | float) and largest > 0 else 0
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + _EIGHTHS[rest].strip()).ljust(cells)


def read_model(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    look: Look,
    columns: Mapping[str, Column],
    totals: Mapping[str, object],
) -> str:
    """Rows of a read model as a table with the settings of its model; sums, if any, below a line."""
    screen = console(look)
    looks = [columns.get(name, _PLAIN) for name in header]
    numeric = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(header))]
    numbers = [[value for row in rows if isinstance(value := row[i], int | float)] for i in range(len(header))]
    largest = [max(map(abs, values), default=0) for values in numbers]
    cells = [[formatted(n, v, look, c) for n, v, c in zip(header, row, looks, strict=True)] for row in rows]
    sums = [formatted(n, totals[n], look, c) if n in totals else "" for n, c in zip(header, looks, strict=True)]
    labels = [clean(column.label or name) for name, column in zip(header, looks, strict=True)]
    bars = [(BAR_CELLS + 1) * column.bar for column in looks]
    texts = [max(cell_len(row[i]) for row in [*cells, sums]) for i in range(len(header))]
    widths = [max(cell_len(label), texts[i] + bars[i]) for i, label in enumerate(labels)]
    if look.wide:
        screen.width = max(screen.width, sum(widths) + 2 * len(widths))
    least = [max(MIN_WIDTH, min(ENOUGH, text)) if numeric[i] else MIN_WIDTH for i, text in enumerate(texts)]
    widths = fit(widths, screen.width - 2 * (len(widths) - 1), least)
    bars = [_bar_room(room, width - text) for room, width, text in zip(bars, widths, texts, strict=True)]
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, width in enumerate(widths):
        align: Any = "left" if bars[i] else looks[i].align or ("right" if numeric[i] else "left")
        style = _style(looks[i].style)
        room = bars[i] if cell_len(labels[i]) <= width - bars[i] else 0
        grid.add_column(_beside(labels[i], "", width, room), justify=align, no_wrap=True, width=width, style=style)
    for row, values in zip(cells, rows, strict=True):
        cells_with_bars = (
            _beside(row[i], bar(values[i], largest[i], bars[i] - 1), width, bars[i]) for i, width in enumerate(widths)
        )
        grid.add_row(*cells_with_bars)
    if totals:
        grid.add_row(*(Text("─" * width) for width in widths))
        grid.add_row(*(_beside(sums[i], "", width, bars[i], "bold") for i, width in enumerate(widths)))
    screen.print(grid)
    return printed(screen)


def _bar_room(wanted: int, left: int) -> int:
    """The cells for a bar and the blank before it: those that are left beside the numbers, or none if they are few."""
    return min(wanted, left) if left > BAR_CELLS // 4 else 0


def _beside(cell: str, bar_text: str, width: int, room: int, style: str = "") -> Text:
    """A cell, to the left of its bar if there is room for one."""
    if not room:
        return Text(cut(cell, width), style)
    cell = cut(cell, max(1, width - room))
    return Text(" " * (width - room - cell_len(cell)) + cell + " " + bar_text, style)


def _style(text: str) -> Style:
    """A style of rich, or no style if the text is invalid."""
    try:
        style = Style.parse(text)
    except StyleSyntaxError:
        return Style()
    return Style() if style.link else style  # a model may come from a stranger, so no links


def shown(name: str, value: object, look: Look) -> str:
    """The text of a cell: times to the second, counts with thousands separators, control characters escaped."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _TIMES and isinstance(value, str):
        return local(value, look)
    if name in _MINUTES and isinstance(value, str):
        return local(value, look)[:16]
    if name in _COUNTS and isinstance(value, int):
        return f"{value:,}"
    return value.hex() if isinstance(value, bytes) else clean(str(value))


def local(time: str, look: Look) -> str:
    """A time of the log for people: `2026-01-31 10:30:00+01`, in UTC with a Z."""
    try:
        moment = datetime.fromisoformat(time).astimezone(UTC if look.utc else None)
    except (ValueError, OverflowError):
        return clean(time)
    zone = moment.strftime("%z")
    return f"{moment:%Y-%m-%d %H:%M:%S}{'Z' if zone == '+0000' else zone.removesuffix('00')}"


def console(look: Look) -> Console:
    """A terminal in memory with the width of the real one, and with its colours or those of --color."""
    forced = {"always": True, "never": False}.get(look.color, sys.stdout.isatty() or None)
    return Console(file=io.StringIO(), highlight=False, force_terminal=forced)


def printed(screen: Console) -> str:
    """Take what was printed to a terminal in memory."""
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    screen.file.seek(0)
    screen.file.truncate()
    return text


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], look: Look, spare: Sequence[str] = ()
) -> Iterator[str]:
    """Rows as a table, block by block, so that memory does not grow with their number.

    If the table does not fit, columns of `spare` are left out in that order; then text is cut, first in the last
    column, then in the widest. After more than HINT_ROWS rows there is a hint.
    """
    screen = console(look)
    everything = iter(rows)
    measured = list(islice(everything, MEASURED))
    chosen = _columns_that_fit(header, measured, look, spare, screen.width)
    header = [header[i] for i in chosen]
    first = [[row[i] for i in chosen] for row in measured]
    source = ([row[i] for i in chosen] for row in everything)
    numeric = {i for i in range(len(header)) if first and all(_is_number(row[i]) for row in first)}
    cells = [[shown(name, value, look) for name, value in zip(header, row, strict=True)] for row in first]
    widths = [max([cell_len(clean(name)), *(cell_len(row[i]) for row in cells)]) for i, name in enumerate(header)]
    if look.wide:
        screen.width = max(screen.width, sum(widths) + 2 * len(widths))
    times = {i for i, name in enumerate(header) if name in _MINUTES or name in _TIMES}
    least = [
        DATE if i in times else _least([row[i] for row in cells] if i in numeric else ()) for i in range(len(header))
    ]
    if len(header) - 1 in numeric:  # text shrinks before the name of the last column, which would be the first to go
        least[-1] = max(least[-1], min(ENOUGH, widths[-1]))
    widths = fit(widths, screen.width - 2 * (len(widths) - 1), least)
    count = 0
    while cells or not count:
        yield _block(screen, header if not count else (), cells, widths, numeric, times)
        count += len(cells) or 1
        cells = [
            [shown(name, value, look) for name, value in zip(header, row, strict=True)]
            for row in islice(source, MEASURED)
        ]
    if count > HINT_ROWS:
        yield f"({count:,} rows; -o ndjson or csv for programs, --limit or --last for fewer)\n"


def _is_number(value: object) -> bool:
    if isinstance(value, Json):
        return value[:1] in "-0123456789"
    return isinstance(value, int | float | None)


def _columns_that_fit(
    header: Sequence[str], rows: Sequence[Sequence[object]], look: Look, spare: Sequence[str], width: int
) -> list[int]:
    """Indexes of the columns that fit; columns of `spare` are left out one by one until they do."""
    widths = [
        max([cell_len(name), *(cell_len(shown(name, row[i], look)) for row in rows)]) for i, name in enumerate(header)
    ]
    widths[-1:] = [min(widths[-1], ENOUGH)] if widths else []
    chosen = list(range(len(header)))
    for name in () if look.wide else (name for name in spare if name in header):
        if sum(widths[i] for i in chosen) + 2 * (len(chosen) - 1) > width:
            chosen.remove(header.index(name))
    return chosen


def fit(widths: Sequence[int], total: int, least: Sequence[int] = ()) -> list[int]:
    """Widths that add up to `total` at most, if possible: first the last one shrinks, then the widest.

    No width becomes less than its `least`, by default MIN_WIDTH, unless all others are as narrow as they may be.
    """
    fitted = list(widths)
    for floors in (least, ()):
        floor = list(floors) or [MIN_WIDTH] * len(fitted)
        while (excess := sum(fitted) - total) > 0:
            if fitted[-1] > floor[-1]:
                fitted[-1] = max(floor[-1], fitted[-1] - excess)
                continue
            wider = [i for i, width in enumerate(fitted) if width > floor[i]]
            if not wider:
                break
            fitted[max(wider, key=fitted.__getitem__)] -= 1
    return fitted


def _block(
    screen: Console,
    header: Sequence[str],
    cells: list[list[str]],
    widths: Sequence[int],
    numeric: set[int],
    times: set[int],
) -> str:
    grid = Table(box=None, show_header=bool(header), header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, width in enumerate(widths):
        name = clean(header[i]) if header else ""
        grid.add_column(Text(name), justify="right" if i in numeric else "left", no_wrap=True, width=width)
    for row in cells:
        grid.add_row(
            *(Text(cut(cell, width, time=i in times)) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        )
    screen.print(grid)
    return printed(screen)


def _least(numbers: Sequence[str]) -> int:
    """The width that a column keeps, so that its numbers, if it has any, are not cut."""
    return max(MIN_WIDTH, min(ENOUGH, max(map(cell_len, numbers), default=0)))


def cut(cell: str, width: int, *, time: bool = False) -> str:
    """A cell of at most this width; of a time, its date and minute, or its date."""
    if time and DATE <= width < cell_len(cell) and cell[:1].isdigit():
        return cell[: MINUTE if width >= MINUTE else DATE]
    return cell if cell_len(cell) <= width else set_cell_size(cell, width - 1).rstrip() + "…"


def type_room(look: Look) -> int:
    """The width of types in a story: a third of what is left beside positions and times; what changed has the rest."""
    return sys.maxsize if look.wide else max(MIN_WIDTH, (console(look).width - 24) // 3)


def story_line(cells: Sequence[object], look: Look) -> str:
    """An entry of a story on a line of its own, cut to the width of the screen: its position, elapsed time, type, and
    what is to be said about it.
    """
    position, _, elapsed, type_, told = (clean(str(cell)) for cell in cells)
    if look.wide:
        return f"{position:8}  {elapsed:12}  {type_}  {told}\n"
    room = type_room(look)
    type_ = set_cell_size(cut(type_, room), room)
    return cut(f"{position:8}  {elapsed:12}  {type_}  {told}", console(look).width).rstrip() + "\n"


def pairs(record: Iterable[tuple[str, object]], look: Look) -> str:
    """One record as lines of `name  value`; nothing is cut."""
    items = [(clean(name), shown(name, value, look)) for name, value in record]
    width = max((cell_len(name) for name, _ in items), default=0)
    screen = console(look)
    for name, value in items:
        screen.print(Text.assemble((set_cell_size(name, width), "bold"), "  ", value), soft_wrap=True)
    return printed(screen)


def spark_lines(counts: Mapping[str, Sequence[int]], look: Look) -> Iterator[str]:
    """For each name a line of bars, with the sum; names are cut, or neighbours added up, so that a line fits."""
    names = [clean(name) for name in counts]
    sums = [f"{sum(numbers):,}" for numbers in counts.values()]
    drawn = list(counts.values())
    longest, last = max(map(cell_len, names), default=0), max(map(len, sums), default=0)
    while (room := console(look).width - len(drawn[0]) - last - 4) < min(longest, MIN_NAME) and len(
        drawn[0]
    ) > MIN_WIDTH:
        drawn = [[sum(numbers[i : i + 2]) for i in range(0, len(numbers), 2)] for numbers in drawn]
    width = longest if look.wide else min(longest, max(MIN_WIDTH, room))
    for name, numbers, total in zip(names, drawn, sums, strict=True):
        yield f"{set_cell_size(cut(name, width), width)}  {sparkline(numbers)}  {total}\n"


def sparkline(counts: Sequence[int]) -> str:
    """A line of bars, one per count; every count above 0 is visible."""
    largest = max(counts, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // largest)] for count in counts)


def tree(lines: Iterable[tuple[int, str]], look: Look) -> str:
    """Lines with their depth (0, 1 …) as a tree."""
    from rich.tree import Tree

    root = Tree("", hide_root=True)
    branches = [root]
    screen = console(look)
    for depth, line in lines:
        screen.width = max(screen.width, 4 * depth + 40)  # leaves 40 columns for the text at any depth
        del branches[depth + 1 :]
        branches.append(branches[-1].add(Text(clean(line))))
    screen.print(root)
    return printed(screen)
