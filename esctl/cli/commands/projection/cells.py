"""Prints the cells that differ between two builds of a projection."""

from __future__ import annotations

from collections.abc import Iterator

from esctl.output import progress, render
from esctl.projections.differences import Cell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

CELLS = ("table", "change", "key", "column", "before", "after")


def only_cells(found: Iterator[int | Cell], total: int) -> Iterator[Cell]:
    """The cells of a comparison; the numbers before them are progress, shown as a bar."""
    for item in progress.watched(found, "building", total, lambda item: item if isinstance(item, int) else 0):
        if isinstance(item, Cell):
            yield item


def show(cells: Iterator[Cell], shared: Shared) -> bool:
    """Print cells as they are found; return whether there were any."""
    any_ = False

    def records() -> Iterator[dict[str, object]]:
        nonlocal any_
        for cell in cells:
            any_ = True
            yield cell._asdict() | {"key": _key(cell, shared.rendering)}

    render.listed(records(), shared.rendering, spare=("table",), names=CELLS)
    return any_


def _key(cell: Cell, rendering: str) -> object:
    if rendering in ("ndjson", "json"):
        return cell.key
    return ", ".join("-" if value is None else str(value) for value in cell.key.values())
