"""What is noted of events for summaries."""

from __future__ import annotations

from esctl.store.noted import Noted

ROWS = [(7, 1, 3, 1, 20, "2026-01-01"), (8, -1, 4, 2, 30, "2026-01-02"), (9, 2, 3, 1, 40, "2026-01-03")]


def test_rows_become_columns() -> None:
    noted = Noted(ROWS)
    columns = [getattr(noted, name) for name in ("positions", "streams", "types", "schemas", "sizes", "times")]
    assert list(zip(*columns, strict=True)) == ROWS


def test_what_is_noted_one_by_one_is_what_rows_give() -> None:
    noted = Noted()
    for _, *values in ROWS:
        for note, value in zip(noted.notes(), values, strict=True):
            note(value)
    noted.positions = range(7, 10)
    assert list(noted.positions) == list(Noted(ROWS).positions)
    for name in ("streams", "types", "schemas", "sizes", "times"):
        assert getattr(noted, name) == getattr(Noted(ROWS), name)


def test_a_range_of_positions_is_a_part_of_every_column() -> None:
    part = Noted(ROWS).between(8, 20)
    assert (list(part.positions), part.types, part.times) == ([8, 9], [4, 3], ["2026-01-02", "2026-01-03"])
    assert list(Noted(ROWS).between(1, 6).positions) == []
