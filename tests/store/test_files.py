"""New files appear whole under their final name, or not at all."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esctl.errors import UnavailableError, UsageError
from esctl.store.files import draft_of, make_folder, most_descriptors
from tests.store.paths import a_dangling_link, a_file, a_folder, names


def written(target: Path, content: str = "content") -> None:
    with draft_of(target) as draft:
        draft.write_text(content)


def test_a_block_that_ends_well_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    written(tmp_path / "new")
    assert (tmp_path / "new").read_text() == "content"
    assert names(tmp_path) == ["new"]


def test_the_name_is_not_there_before_the_block_ends(tmp_path: Path) -> None:
    with draft_of(tmp_path / "new") as draft:
        draft.write_text("content")
        assert names(tmp_path) == [draft.name]
        assert draft.name != "new"


def test_a_draft_is_hidden_empty_and_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with draft_of(tmp_path / "new") as draft:
            status = draft.stat()
            assert (status.st_mode & 0o777, status.st_size, draft.name[0]) == (0o600, 0, ".")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_draft_is_one_file_under_one_name_in_the_end(tmp_path: Path) -> None:
    written(tmp_path / "new")
    assert (tmp_path / "new").stat().st_nlink == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, UsageError])
def test_a_block_that_raises_leaves_nothing_and_its_error_comes_through(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with draft_of(tmp_path / "new") as draft:
            for beside in ("", "-wal", "-shm", "-journal"):
                Path(f"{draft}{beside}").write_text("half of it")
            raise error("told")

    with pytest.raises(error, match="told"):
        fail()
    assert names(tmp_path) == []


def test_what_sqlite_leaves_beside_a_draft_goes(tmp_path: Path) -> None:
    with draft_of(tmp_path / "new") as draft:
        for beside in ("-wal", "-shm", "-journal"):
            Path(f"{draft}{beside}").touch()
    assert names(tmp_path) == ["new"]


def test_a_draft_of_a_killed_run_goes_with_the_next_and_one_that_is_being_written_stays(tmp_path: Path) -> None:
    for name in (".a.db.0123456789ab.new", ".a.db.0123456789ab.new-wal", ".b.db.0123456789ab.new", ".a.db.note.new"):
        (tmp_path / name).touch()
    with draft_of(tmp_path / "a.db") as draft:
        assert names(tmp_path) == sorted({draft.name, ".b.db.0123456789ab.new", ".a.db.note.new"})
        with pytest.raises(ZeroDivisionError), draft_of(tmp_path / "a.db"):
            raise ZeroDivisionError
        assert draft.exists()


def test_a_draft_begins_only_when_no_other_run_has_the_folder_to_remove_drafts(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    started, release = time.monotonic(), threading.Timer(0.1, os.close, [folder])
    release.start()
    with draft_of(tmp_path / "new"):
        assert time.monotonic() - started > 0.09
    release.join()


def test_a_system_error_in_the_block_is_told_as_unavailable(tmp_path: Path) -> None:
    def fail() -> None:
        with draft_of(tmp_path / "new"):
            raise OSError(28, "No space left on device")

    with pytest.raises(UnavailableError, match="cannot write") as caught:
        fail()
    assert caught.value.why == "No space left on device"
    assert names(tmp_path) == []


def an_empty_file(path: Path) -> None:
    path.touch()


def a_link_to_a_file(path: Path) -> None:
    path.with_name("linked").write_text("kept")
    path.symlink_to("linked")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


whatever_is_there = pytest.mark.parametrize(
    "make", [a_file, an_empty_file, a_folder, a_dangling_link, a_link_to_a_file, a_link_to_itself, a_pipe]
)


def state(folder: Path) -> list[tuple[str, int, int, int]]:
    return sorted((entry.name, *entry.lstat()[:2], entry.lstat().st_size) for entry in folder.iterdir())


@whatever_is_there
def test_whatever_has_the_name_is_kept_and_the_block_does_not_run(tmp_path: Path, make: Callable[[Path], None]) -> None:
    def attempt() -> None:
        with draft_of(tmp_path / "new"):
            pytest.fail("the block ran")

    make(tmp_path / "new")
    before = state(tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        attempt()
    assert state(tmp_path) == before


@whatever_is_there
def test_whatever_takes_the_name_while_the_block_runs_is_kept(tmp_path: Path, make: Callable[[Path], None]) -> None:
    def raced() -> list[tuple[str, int, int, int]]:
        with draft_of(tmp_path / "new") as draft:
            draft.write_text("content")
            make(tmp_path / "new")
            taken = state(tmp_path)
            overtaken.extend(entry for entry in taken if entry[0] != draft.name)
        return taken

    overtaken: list[tuple[str, int, int, int]] = []
    with pytest.raises(UsageError, match="exists already"):
        raced()
    assert state(tmp_path) == overtaken


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot write") as caught:
        written(tmp_path / "none" / "new")
    assert caught.value.why == "No such file or directory"
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UnavailableError, match="cannot write"):
        written(tmp_path / "file" / "new")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("name", ["a b", "ünï", "-new", ".new", "n" * 200, "%s", "a'b\"c", "new\nline"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    written(tmp_path / name)
    assert names(tmp_path) == [name]


def test_a_relative_name_is_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("new"))
    assert names(tmp_path) == ["new"]


def test_a_signal_while_a_draft_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def interrupted(*arguments: Any, **options: Any) -> int:
        os.close(opened(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt), draft_of(tmp_path / "log.db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_made_is_the_users_alone_and_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, int]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_dev, os.fstat(descriptor).st_ino))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        make_folder(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert synced == [(tmp_path.stat().st_dev, tmp_path.stat().st_ino)]


def test_more_files_are_held_than_the_soft_limit_allows_and_fewer_leave_it_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = before[1] if before[1] != resource.RLIM_INFINITY else 4096
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most // 2, before[1]))
        assert most_descriptors(1) == most // 2 // 2
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most // 2
        assert most_descriptors(most // 2) > most // 2 // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
