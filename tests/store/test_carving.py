"""Rows of a log's tables are found in its pages, with and without the trees that lead to them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from esctl.store.carving import Carved
from esctl.store.pages import Pages
from esctl.store.store import Store
from tests.conftest import write_empty_log
from tests.stores import commit, events


def made(path: Path) -> Path:
    write_empty_log(path)
    with closing(Store(path, write=True)) as store:
        commit(store, *events(500, data='{"text":"0123456789"}'))
    return path


def overwrite(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek((number - 1) * 8192)
        file.write(b"\xff" * 8192)


def root_of(path: Path, table: str) -> int:
    with closing(apsw.Connection(str(path))) as connection:
        found: int = connection.execute("select rootpage from sqlite_schema where name = ?", (table,)).get
        return found


def test_all_events_are_found_though_the_root_of_their_table_is_lost(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    overwrite(path, root_of(path, "events"))
    with closing(Pages(str(path))) as pages:
        assert sorted(Carved(pages).events) == list(range(1, 501))


def test_names_are_found_in_their_index_if_their_table_is_lost(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    overwrite(path, root_of(path, "streams"))
    with closing(Pages(str(path))) as pages:
        assert Carved(pages).names("streams") == {1: ["order-1"]}


def test_rows_of_another_table_with_the_same_columns_are_not_taken(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("create table mine (n integer primary key, name text); insert into mine values (1, 'Other')")
    with closing(Pages(str(path))) as pages:
        assert Carved(pages).names("types") == {1: ["OrderPlaced"]}
