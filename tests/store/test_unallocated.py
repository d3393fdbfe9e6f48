"""What SQLite leaves of rows outside of rows: all of it is found, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.api import open_log
from esctl.store.unallocated import leftover_bytes
from tests.conftest import write_empty_log

PAGE = 1024
ROWS = 150


@pytest.fixture
def table(tmp_path: Path) -> Iterator[apsw.Connection]:
    yield from opened(tmp_path / "rows.db")


def opened(path: Path) -> Iterator[apsw.Connection]:
    """A database with a table that clears what it deletes, as logs do."""
    connection = apsw.Connection(str(path))
    connection.execute(f"pragma page_size = {PAGE}; pragma auto_vacuum = incremental; pragma secure_delete = on")
    connection.execute("create table t(number integer primary key, text text)").fetchall()
    yield connection
    connection.close()


def word(number: int) -> str:
    return f"<row-{number:05}>"


def fill(connection: apsw.Connection, numbers: range, size: int = 40) -> None:
    connection.executemany("insert into t values (?, ?)", [(n, word(n) + "x" * size) for n in numbers]).fetchall()


def put_between_others(connection: apsw.Connection) -> None:
    """Put rows of several sizes between others until a copy is left."""
    random = Random(1)
    for _ in range(100):
        fill(connection, range(0, ROWS, 7), 200)
        for number in random.sample(range(ROWS), ROWS):
            if number % 7 and random.random() < 0.6:
                fill(connection, range(number, number + 1), random.choice([0, 40, 200]))
        if b"<row-" in left(connection):
            return
        connection.execute("delete from t").fetchall()
    raise AssertionError("SQLite leaves no copies any more")


def keep(connection: apsw.Connection, numbers: range) -> None:
    """Delete all rows but some, as the end of `archive create` does."""
    connection.execute("pragma secure_delete = fast").fetchall()
    with connection:
        connection.execute("create temp table kept as select * from t limit 0").fetchall()
        between = (numbers[0], numbers[-1])
        connection.execute("insert into kept select * from t where number between ? and ?", between).fetchall()
        connection.execute("delete from t").fetchall()
        connection.execute("insert into t select * from kept order by number").fetchall()
        connection.execute("drop table temp.kept").fetchall()
        connection.execute("pragma incremental_vacuum").fetchall()
    connection.execute("pragma secure_delete = on").fetchall()


def left(connection: apsw.Connection) -> bytes:
    return b"\n".join(leftover_bytes(connection, ["t"]))


def test_rows_that_were_only_appended_leave_nothing(table: apsw.Connection) -> None:
    fill(table, range(ROWS))
    assert left(table) == b""


def test_rows_that_become_shorter_leave_nothing(table: apsw.Connection) -> None:
    fill(table, range(ROWS))
    table.execute("update t set text = null where number % 3 = 0").fetchall()
    assert left(table) == b""


def test_rows_put_between_others_leave_copies_that_are_found(table: apsw.Connection) -> None:
    put_between_others(table)
    table.execute("update t set text = null").fetchall()
    assert b"<row-" in left(table)


def test_after_vacuum_nothing_is_left(table: apsw.Connection) -> None:
    put_between_others(table)
    table.execute("vacuum").fetchall()
    assert left(table) == b""


def test_what_is_in_a_free_block_is_found(table: apsw.Connection) -> None:
    table.execute("pragma secure_delete = off").fetchall()
    fill(table, range(8))
    table.execute("delete from t where number = 3").fetchall()
    assert b"ow-00003>" in left(table)  # SQLite writes 4 bytes at the beginning of a free block


def test_what_is_behind_the_end_of_a_long_row_is_found(table: apsw.Connection) -> None:
    fill(table, range(40), 5000)
    table.execute("update t set text = text || substr(text, 1, number * 23)").fetchall()
    keep(table, range(30, 40))
    assert b"xxxxxxxxxxxxxxxx" in left(table)
    table.execute("vacuum").fetchall()
    assert left(table) == b""


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (0, b"\x02"),
        (0, b"\x00"),
        (3, b"\xff\xff"),
        (5, b"\x00\x01"),
        (5, b"\x7f\xff"),
        (1, b"\xff\xff"),
        (1, b"\x00\x01"),
    ],
)
def test_a_damaged_page_is_an_error(tmp_path: Path, at: int, what: bytes) -> None:
    path = tmp_path / "rows.db"
    for connection in opened(path):
        fill(connection, range(ROWS))
        root = connection.execute("select rootpage from sqlite_schema where name = 't'").get
        _, page = connection.read("main", 0, (root - 1) * PAGE, PAGE)
        leaf = int.from_bytes(page[8:12], "big")
    raw = bytearray(path.read_bytes())
    raw[(leaf - 1) * PAGE + at : (leaf - 1) * PAGE + at + len(what)] = what
    path.write_bytes(raw)
    for connection in opened_only(path):
        with pytest.raises(apsw.CorruptError):
            list(leftover_bytes(connection, ["t"]))


def opened_only(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "delete", "shorten", "keep"]),
            st.integers(0, 400),
            st.integers(1, 40),
            st.sampled_from([0, 10, 90, 500, 3000]),
        ),
        max_size=25,
    )
)
def test_every_deleted_row_that_is_in_the_file_is_among_what_is_left(steps: list[tuple[str, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, gone = Path(folder, "rows.db"), set[int]()
        for connection in opened(path):
            for step, first, count, size in steps:
                numbers = range(first, first + count)
                if step == "put":
                    sql = "insert or replace into t values (?, ?)"
                    connection.executemany(sql, [(n, word(n) + "x" * size) for n in numbers]).fetchall()
                    gone.difference_update(numbers)
                elif step == "keep":  # these rows only, in pages that are not cleared
                    keep(connection, numbers)
                    gone.update({*range(ROWS * 4)} - {*numbers})
                else:
                    change = "delete from t" if step == "delete" else "update t set text = null"
                    connection.execute(f"{change} where number between ? and ?", (first, numbers[-1])).fetchall()
                    gone.update(numbers)
            connection.execute("pragma incremental_vacuum").fetchall()
            there = left(connection)
        raw = path.read_bytes()
        words = {number: word(number).encode() for number in gone}
        assert {n for n, w in words.items() if w in raw} == {n for n, w in words.items() if w in there}


def test_events_that_were_appended_leave_nothing_outside_of_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    write_empty_log(path)
    with open_log(path, write=True) as log:
        log.append_all({"stream": f"s-{n % 7}", "type": "T", "data": {"text": "x" * (n % 900)}} for n in range(1000))
        for n in range(30):
            log.append("s-1", "T", {"text": "y" * n})
    for connection in opened_only(path):
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        assert list(leftover_bytes(connection, ["events", "snapshots", "frames", "projections"])) == []
