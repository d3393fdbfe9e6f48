"""The table and the data that a run of the benchmarks ends with."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import esctl
from tests.benchmarks import plot
from tests.benchmarks.workbench import Figure

NAME_WIDTH = 32
GAP = "  "
LEGEND = """\
rate: higher is better; time, CPU and bytes: lower is better
bare Python: python -I -c pass; hot: the same log, not archived
growth: the time of a command (ms, s), or of each event (us) for those that read or write all
wall, CPU in a note: the same ratio of wall or CPU time\
"""
Results = Mapping[str, Sequence[Figure]]  # by benchmark
Row = tuple[str, ...]


def seconds_text(seconds: float) -> str:
    """Seconds in a unit that fits."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


NOTES: dict[str, Callable[[float], str]] = {
    "per_second": "{:,.0f}/s".format,
    "wall_ratio": "wall {:.2f}".format,
    "cpu_ratio": "CPU {:.2f}".format,
    "seconds": seconds_text,
    "seconds_an_event": lambda seconds: f"{seconds * 1e6:.1f} us",
    "cpu_seconds": lambda seconds: f"{seconds_text(seconds)} CPU",
    "bytes_per_event": "{:.0f} B/event".format,
    "milliseconds": "{:.2f} ms".format,
    "peak_mib": "{:.0f} MiB".format,
}


def surroundings() -> dict[str, Any]:
    """The machine and the versions that figures depend on, and the time."""
    versions = subprocess.run(
        [sys.executable, "-c", "import apsw; print(apsw.sqlite_lib_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    machine = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # at the start: figures of a busy machine scatter
        "system": f"{platform.system()} {platform.machine()}",
    }
    software = {"python": platform.python_version(), "sqlite": versions.stdout.strip(), "esctl": esctl.__version__}
    return {
        "machine": machine,
        "software": software,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    else:
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        names = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return names[0] if names else platform.machine()


def as_data(about: Mapping[str, Any], results: Results, failed: Mapping[str, str]) -> dict[str, Any]:
    """All of it, for `--json`."""
    figures = [
        {
            "benchmark": benchmark,
            "name": figure.name,
            "quantity": figure.quantity,
            "ratio_to": figure.ratio_to,
            "median": statistics.median(figure.rounds),
            "min": min(figure.rounds),
            "max": max(figure.rounds),
            **({"events": figure.events} if figure.events else {}),
            "rounds": list(figure.rounds),
            **figure.absolute,
        }
        for benchmark, taken in results.items()
        for figure in taken
    ]
    return {**about, "figures": figures, "failed": dict(failed)}


def table(results: Results, failed: Mapping[str, str], width: int) -> Iterator[str]:
    """The lines of the table, for a terminal of so many columns; each benchmark begins with the headings."""
    blocks = {name: [] if grown(taken) else _rows(name, taken) for name, taken in results.items()}
    widths = _widths([row for rows in blocks.values() for row in rows])
    wide = sum(widths) + len(GAP) * (len(widths) - 1) <= width
    for benchmark, rows in blocks.items():
        if rows:
            narrow = rows if wide else _narrowed(rows)
            yield from _lines(narrow, widths if wide else _widths(narrow))
        else:
            yield from _sizes(benchmark, results[benchmark])
        if benchmark in failed:
            yield f"FAILED: {' '.join(failed[benchmark].splitlines()[:2])}"
        yield ""
    yield LEGEND


def grown(taken: Sequence[Figure]) -> dict[str, dict[int, Figure]]:
    """The figures of several sizes of a log, by name and size."""
    found: dict[str, dict[int, Figure]] = {}
    for figure in taken:
        if figure.events:
            found.setdefault(figure.name, {})[figure.events] = figure
    return found


def growth_plot(taken: Sequence[Figure], key: str) -> str:
    """A plot of those figures that have this absolute value, in milliseconds."""
    series = {
        name: [(events, figure.absolute[key] * 1000) for events, figure in sizes.items()]
        for name, sizes in grown(taken).items()
        if all(key in figure.absolute for figure in sizes.values())
    }
    return plot.svg("Time of a command, by the size of the log", "events in the log", "milliseconds", series)


def _sizes(benchmark: str, taken: Sequence[Figure]) -> Iterator[str]:
    """Absolute values at each size, the ratio of the last to the first, and the largest peak of memory."""
    found = grown(taken)
    sizes = sorted({figure.events for figure in taken})
    rows: list[Row] = [(benchmark.upper(), *(f"{size:,}" for size in sizes), "last/first", "memory")]
    for name, figures in found.items():
        cells = [_absolute(figures[size]) if size in figures else "" for size in sizes]
        ratio = statistics.median(figures[max(figures)].rounds)
        peak = max(figure.absolute["peak_mib"] for figure in figures.values())
        rows.append((name, *cells, digits(ratio), NOTES["peak_mib"](peak)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield GAP.join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


def _absolute(figure: Figure) -> str:
    key = "seconds" if "seconds" in figure.absolute else "seconds_an_event"
    return NOTES[key](figure.absolute[key])


def _rows(benchmark: str, taken: Sequence[Figure]) -> list[Row]:
    rows: list[Row] = [(benchmark.upper(), "median", "min-max", "ratio", "note")]
    for figure in taken:
        low, high = min(figure.rounds), max(figure.rounds)
        spread = f"{digits(low)}-{digits(high)}" if len(figure.rounds) > 1 else ""
        note = ", ".join(NOTES[key](value) for key, value in figure.absolute.items())
        ratio = f"{figure.quantity} / {figure.ratio_to}"
        rows.append((figure.name, digits(statistics.median(figure.rounds)), spread, ratio, note))
    return rows


def digits(number: float) -> str:
    """A ratio with about three digits."""
    return f"{number:,.{0 if number >= 100 else 1 if number >= 10 else 2 if number >= 0.1 else 3}f}"


def _narrowed(rows: Sequence[Row]) -> list[Row]:
    """Ratio and note as one cell: the note below; or the note alone, if the ratio is the same in all rows."""
    (benchmark, *headings, _, _), *figures = rows
    ratios = {ratio for *_, ratio, _ in figures}
    if len(ratios) == 1:
        return [(f"{benchmark}, {ratios.pop()}", *headings, "note"), *((*row[:3], row[4]) for row in figures)]
    return [(benchmark, *headings, "ratio, note"), *((*row[:3], f"{row[3]}\n{row[4]}") for row in figures)]


def _widths(rows: Sequence[Row]) -> list[int]:
    """Of each column, but not of names that are too long for one."""
    if not rows:
        return []
    cells = [[cell if column else cell[:NAME_WIDTH] for column, cell in enumerate(row)] for row in rows]
    return [max(max(map(len, cell.split("\n"))) for cell in column) for column in zip(*cells, strict=True)]


def _lines(rows: Sequence[Row], widths: Sequence[int]) -> Iterator[str]:
    """Rows as lines; a name that is too long stands above its figures."""
    margin = " " * (sum(widths[:3]) + len(GAP) * 3)
    for name, median, *texts in rows:
        if len(name) > widths[0]:
            yield name
        cells = ["" if len(name) > widths[0] else name, median.rjust(widths[1]), *texts]
        line, *below = GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).split("\n")
        yield line.rstrip()
        yield from (f"{margin}{text}".rstrip() for text in below)
