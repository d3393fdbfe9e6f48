"""What a killed run left is finished: rows, frames, and files that nothing needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from esctl.archive import creation, listing, moving, tidying
from esctl.errors import UnavailableError
from esctl.log import EventLog
from esctl.store import migrations
from esctl.upkeep import verify
from tests.segments import EVENTS, altered, make, place, replayed


def test_a_row_that_is_left_in_the_hot_table_has_to_be_the_archived_event(twelve: EventLog, log_path: Path) -> None:
    made = creation.create(twelve, listing.hot(twelve, EVENTS), most=4)
    next(made)  # the run is not at its end
    assert verify.verify(twelve, full=True).ok
    altered(log_path, "update events set data = '\"other\"' where position = 2")
    assert [finding["position"] for finding in verify.verify(twelve, full=True).findings] == [2]
    tidying.tidy(twelve)
    assert verify.verify(twelve, full=True).ok
    assert replayed(twelve) == list(range(1, EVENTS + 1))


def test_frames_of_no_segment_are_seen_by_nobody_and_cleared(twelve: EventLog, log_path: Path) -> None:
    make(twelve, until=4)
    sql = (
        "insert into frames select 5, 8, 5, 0, before, offset, bytes, raw_bytes, sha256, own, packed, salts from frames"
    )
    altered(log_path, sql)
    assert replayed(twelve) == list(range(1, EVENTS + 1))
    assert verify.verify(twelve, full=True).findings == []
    tidying.tidy(twelve)
    assert [segment.name for segment in listing.archived(twelve)] == ["1-4"]
    held = apsw.Connection(str(log_path))
    assert held.execute("select count(*) from frames").get == 1
    held.close()


def test_files_that_nothing_needs_any_more_are_removed(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve, cold, until=4)[0]
    path = place(twelve, segment)
    content = path.read_bytes()
    moving.restore(twelve, segment)
    path.write_bytes(content)  # as if the run had been killed before it removed the file
    with twelve.transaction():
        for left in (path, cold / f"0{segment.file}", cold / segment.file.replace("1", "2")):
            twelve.store.archiving().leave(str(left), path.stat().st_ino)
    tidying.tidy(twelve)
    assert list(cold.iterdir()) == []
    assert twelve.store.archiving().leftovers() == []


@pytest.mark.parametrize("entry", ["{path}", "{path}#{inode}"])
def test_a_file_that_a_strangers_log_names_is_not_removed(
    twelve: EventLog, cold: Path, tmp_path: Path, entry: str
) -> None:
    path = place(twelve, make(twelve, cold)[0])
    migrations.create(tmp_path / "strange.db")
    with EventLog(tmp_path / "strange.db", write=True, bulk=True) as strange:
        with strange.transaction():
            strange.store.archiving().leave(entry.format(path=path, inode=path.stat().st_ino))
        altered(Path(strange.path), "insert into leftovers values (?)", f"{path.parent}/.{path.name}.{0:012x}.new")
        tidying.tidy(strange)
        assert strange.store.archiving().leftovers() == []
    assert path.exists()


def test_what_a_copy_of_the_log_says_is_not_removed(twelve: EventLog, log_path: Path, cold: Path) -> None:
    path = place(twelve, make(twelve, cold)[0])
    copy = log_path.with_name("copy.db")
    with EventLog(log_path, write=True) as other, other.transaction():
        other.store.archiving().leave(f"cold/{path.name}", path.stat().st_ino)
    copy.touch()
    twelve.store.copy_to(copy)
    tidying.tidy(twelve)  # it is needed
    with EventLog(copy, write=True, bulk=True) as copied:
        for segment in listing.archived(copied):
            moving.restore(copied, segment)
    assert path.exists()
    assert verify.verify(twelve, full=True).ok


@pytest.mark.parametrize("how", ["renamed", "made by an earlier version"])
def test_a_log_that_is_no_copy_goes_on_owning_its_files(twelve: EventLog, log_path: Path, cold: Path, how: str) -> None:
    make(twelve, cold)
    twelve.close()
    path = log_path.with_name("renamed.db")
    log_path.rename(path)
    if how != "renamed":
        altered(path, "delete from leftovers")
    with EventLog(path, write=True, bulk=True) as log:
        for segment in listing.archived(log):
            moving.restore(log, segment)
    assert list(cold.iterdir()) == []


def test_entries_that_several_files_signed_remove_nothing(twelve: EventLog, log_path: Path, cold: Path) -> None:
    segment = make(twelve, cold, until=4)[0]
    path = place(twelve, segment)
    kept = path.read_bytes()
    moving.restore(twelve, segment)
    path.write_bytes(kept)
    with twelve.transaction():
        twelve.store.archiving().leave(str(path), path.stat().st_ino)
    altered(log_path, "insert into leftovers values ('log:1.2/')")
    tidying.tidy(twelve)
    assert path.exists()
    assert twelve.store.archiving().leftovers() == []


def test_another_file_of_the_same_name_is_not_removed(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve, cold, until=4)[0]
    path = place(twelve, segment)
    kept = path.read_bytes()
    moving.restore(twelve, segment)
    path.write_bytes(kept)
    with twelve.transaction():
        twelve.store.archiving().leave(str(path), path.stat().st_ino + 1)
    tidying.tidy(twelve)
    assert path.exists()


def test_a_log_that_is_copied_with_its_folder_owns_the_copied_files(twelve: EventLog, cold: Path) -> None:
    make(twelve, cold)
    twelve.close()
    moved = shutil.copytree(cold.parent, cold.parent.with_name(f"{cold.parent.name}-copy"))
    with EventLog(moved / "log.db", write=True, bulk=True) as copied:
        for segment in listing.archived(copied):
            moving.restore(copied, segment)
    assert list((moved / "cold").iterdir()) == []
    assert len(list(cold.iterdir())) == 3


@pytest.mark.parametrize("name", ["mine.txt", "000000000001-000000000004-0123456789abcdef.ndjson.zst"])
def test_a_file_that_was_not_made_for_a_segment_is_not_removed(
    twelve: EventLog, log_path: Path, cold: Path, name: str
) -> None:
    cold.mkdir()
    (cold / name).write_text("mine")
    altered(log_path, "insert into leftovers values (?)", str(cold / name))
    tidying.tidy(twelve)
    assert (cold / name).read_text() == "mine"


def test_a_file_that_a_segment_needs_is_not_removed_even_if_it_is_noted(
    twelve: EventLog, log_path: Path, cold: Path
) -> None:
    path = place(twelve, make(twelve, cold)[0])
    altered(log_path, "insert into leftovers values (?)", str(path))
    tidying.tidy(twelve)
    assert path.exists()
    assert twelve.store.archiving().leftovers() == []


def test_a_file_whose_folder_is_out_of_reach_stays_noted(twelve: EventLog, tmp_path: Path) -> None:
    left = str(tmp_path / "nowhere" / "000000000001-000000000004-0123456789abcdef.ndjson.zst")
    with twelve.transaction():
        twelve.store.archiving().leave(left)
    with pytest.raises(UnavailableError, match="cannot remove"):
        tidying.tidy(twelve)
    assert twelve.store.archiving().leftovers() == [left]


def test_a_file_is_not_removed_before_the_change_is_committed(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve, cold)[0]
    path = place(twelve, segment)
    with twelve.transaction(keep=False):
        twelve.store.archiving().leave(str(path))
    tidying.tidy(twelve)
    assert path.exists()


def test_no_file_goes_before_a_commit_has_taken_the_place_of_one_that_failed(twelve: EventLog, cold: Path) -> None:
    segment = make(twelve, cold, until=4)[0]
    path = place(twelve, segment)
    content = path.read_bytes()
    moving.restore(twelve, segment)
    path.write_bytes(content)
    with twelve.transaction():
        twelve.store.archiving().leave(str(path), path.stat().st_ino)
    there: list[bool] = []
    twelve.store.statements.trace(lambda sql: there.append(path.exists()) if sql == "sql: commit" else None)
    tidying.tidy(twelve)
    assert there[:2] == [True, False]
