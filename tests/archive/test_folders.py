"""Folders for segments: which may be one, how they are recorded, and files that stay what they are."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from esctl.archive import creation, folders, moving, tidying
from esctl.errors import ConflictError, EsctlError, SegmentError, UsageError
from esctl.log import EventLog
from esctl.upkeep import verify
from tests.fifty import files, hashed, names
from tests.segments import EVENTS, make, replayed


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EsctlError, match="cannot use the folder"):
        folders.folder_for(tmp_path / "file")


def test_a_folder_beside_the_log_moves_with_it(twelve: EventLog, cold: Path, tmp_path: Path) -> None:
    assert {segment.location for segment in make(twelve, cold)} == {"cold"}
    twelve.close()
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    with EventLog(tmp_path.parent / f"{tmp_path.name}-moved" / "log.db") as moved:
        shutil.rmtree(cold)
        assert replayed(moved) == list(range(1, EVENTS + 1))


def test_a_log_that_is_opened_through_a_link_finds_its_segments(twelve: EventLog, cold: Path, tmp_path: Path) -> None:
    (segment, *_) = make(twelve, cold)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(twelve.path)
    with EventLog(tmp_path / "elsewhere" / "link.db", write=True, bulk=True) as log:
        assert verify.verify(log, full=True).findings == []
        moving.restore(log, segment)
    assert segment.file not in files(cold)


def test_a_folder_elsewhere_is_noted_whole(fifty: EventLog, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    (made,) = creation.create(fifty, [(1, 20)], to=folder)
    assert made.location == str(folder.resolve())


@pytest.mark.parametrize("to", ["s3://bucket/prefix", "https://example.com/x"])
def test_an_address_is_no_folder(fifty: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        list(creation.create(fifty, [(1, 20)], to=Path(to)))
    assert files(tmp_path) == files(Path(fifty.path).parent)
    assert not any(name.endswith(":") for name in files(tmp_path))
    assert names(fifty) == []


@pytest.mark.parametrize("kind", ["other content", "folder", "link", "dangling link"])
def test_what_has_a_segments_name_already_is_kept(fifty: EventLog, fifty_path: Path, tmp_path: Path, kind: str) -> None:
    before, folder = hashed(fifty_path), tmp_path / "segments"
    (made,) = creation.create(fifty, [(1, 20)], to=folder)
    file = folder / made.file
    kept = file.read_bytes()
    moving.restore(fifty, made)
    assert files(folder) == []
    if kind == "other content":
        file.write_bytes(kept[:-9] + b"X" + kept[-8:])
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / ("there" if kind == "link" else "nowhere"))
        (tmp_path / "there").write_bytes(kept)
    with pytest.raises(UsageError):
        list(creation.create(fifty, [(1, 20)], to=folder))
    assert names(fifty) == []
    assert hashed(fifty_path) == before
    assert file.is_symlink() or file.is_dir() or file.read_bytes() != kept


def test_a_folder_that_is_missing_is_made_for_the_user_alone(fifty: EventLog, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        list(creation.create(fifty, [(1, 20)], to=tmp_path / "a" / "b"))
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")] == [0o700, 0o700]


def test_a_segment_that_is_there_already_is_taken_by_a_link(fifty: EventLog, fifty_path: Path, tmp_path: Path) -> None:
    before, folder = hashed(fifty_path), tmp_path / "segments"
    (made,) = creation.create(fifty, [(1, 20)], to=folder)
    kept = (folder / made.file).read_bytes()
    moving.restore(fifty, made)
    (folder / made.file).write_bytes(kept)
    (taken,) = creation.create(fifty, [(1, 20)], to=folder)
    assert (taken.sha256, taken.location, taken.shared) == (made.sha256, f"segments/{folders.KEPT}", 1)
    assert (folder / folders.KEPT / made.file).samefile(folder / made.file)
    assert hashed(fifty_path) == before


def test_a_new_file_that_another_run_removed_is_a_conflict_and_one_that_is_there_is_damaged(
    twelve: EventLog, cold: Path
) -> None:
    segment = make(twelve, cold)[0]
    for path, error in ((cold / "gone", ConflictError), (cold / segment.file, SegmentError)):
        with pytest.raises(error), folders.written(path):
            raise SegmentError("unreadable")


def test_of_two_runs_that_write_the_same_file_the_slower_one_gives_way(twelve: EventLog, cold: Path) -> None:
    (segment, *_) = make(twelve)
    folder = folders.folder_for(cold)

    def parts() -> Iterator[bytes]:
        yield from list(moving.export(twelve, segment))
        with EventLog(twelve.path, write=True) as other:
            folders.write(other, folder, moving.export(other, segment), segment)

    with pytest.raises(ConflictError, match="another run has just written the segment"):
        folders.write(twelve, folder, parts(), segment)
    assert files(cold) == [segment.file]
    assert verify.verify(twelve, full=True).findings == []


def test_what_a_running_process_writes_is_not_taken_for_a_killed_ones(twelve: EventLog, cold: Path) -> None:
    (segment, *_) = make(twelve)
    folder = folders.folder_for(cold)
    with EventLog(twelve.path, write=True) as other:

        def parts() -> Iterator[bytes]:
            yield from list(moving.export(twelve, segment))
            tidying.tidy(other)

        moved = folders.write(twelve, folder, parts(), segment)
        tidying.tidy(other)
        assert files(cold) == [segment.file]
        with twelve.transaction():
            folders.claim(twelve, moved)
        tidying.tidy(other)
        assert files(cold) == [segment.file]
        folders.write(other, folders.folder_for(cold / "other"), moving.export(other, segment), segment)
    tidying.tidy(twelve)  # the other one has ended without a segment that needs its file
    assert files(cold / "other") == []
