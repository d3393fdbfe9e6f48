"""A file's pages are read as SQLite reads them: its rows, long ones too, and those that are still in the WAL."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.store.pages import TABLE_LEAF, BrokenError, Pages


def rows(path: Path) -> dict[int, list[object]]:
    found: dict[int, list[object]] = {}
    with closing(Pages(str(path))) as pages:
        for number in range(2, pages.count + 1):
            for place in pages.cells(number) if pages.kind(number) == TABLE_LEAF else ():
                cell = pages.table_cell(place)
                assert cell.rowid is not None
                found[cell.rowid] = list(cell.values)
    return found


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    made = apsw.Connection(str(tmp_path / "a.db"))
    made.execute("pragma page_size = 8192; pragma journal_mode = wal; create table t (a, b, c)").fetchall()
    return made


def test_every_row_is_found_also_a_long_one_and_one_in_the_wal(connection: apsw.Connection, tmp_path: Path) -> None:
    wanted = {n: [n * 10**n, "x" * n**4, b"\0" * n] for n in range(1, 15)}
    connection.executemany("insert into t values (?, ?, ?)", wanted.values())
    assert rows(tmp_path / "a.db") == wanted
    connection.close()
    assert rows(tmp_path / "a.db") == wanted


def test_a_transaction_that_did_not_commit_is_not_seen(connection: apsw.Connection, tmp_path: Path) -> None:
    connection.execute("insert into t values (1, 2, 3)")
    connection.execute("pragma cache_size = 1; begin")
    connection.executemany("insert into t values (?, ?, ?)", [(0, "y" * 5000, 0)] * 50)
    assert rows(tmp_path / "a.db") == {1: [1, 2, 3]}
    connection.close()


def test_a_file_is_not_written_to(connection: apsw.Connection, tmp_path: Path) -> None:
    connection.execute("insert into t values (1, 2, 3)")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    rows(tmp_path / "a.db")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")} == before
    connection.close()


def test_bytes_that_are_no_row_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 20_000)
    with closing(Pages(str(path))) as pages, pytest.raises(BrokenError):
        pages.table_cell(pages.size + 100)
