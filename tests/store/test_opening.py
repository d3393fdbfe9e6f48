"""A connection is to a log of this storage version, with its settings; what is no log is refused and left as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from esctl.errors import EsctlError, NotFoundError, StorageVersionError, UnavailableError, UsageError, VerificationError
from esctl.events.query import Query
from esctl.store import migrations, opening
from esctl.store.format import STORAGE_VERSION
from esctl.store.store import Store
from tests.logs import alter
from tests.store.paths import empty_file, text_file
from tests.store.unprivileged import unprivileged
from tests.stores import appended, connection_of, events, ids

# The file


def test_the_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        migrations.create(tmp_path / "log.db")
        with closing(Store(tmp_path / "log.db", write=True)) as store:
            appended(store, events(1))
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"log.db": 0o600, "log.db-wal": 0o600, "log.db-shm": 0o600}


def short_text_file(path: Path) -> None:
    path.write_text("hello\n")


def other_database(path: Path) -> None:
    alter(path, "create table t (x)")


def newer(path: Path) -> None:
    migrations.create(path)
    alter(path, f"pragma user_version = {STORAGE_VERSION + 1}")


def older(path: Path) -> None:
    migrations.create(path)
    alter(path, "pragma user_version = 0")


def folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    assert not path.exists()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (text_file, StorageVersionError, "is not a log"),
        (short_text_file, StorageVersionError, "is not a log"),
        (other_database, StorageVersionError, "is not a log"),
        (empty_file, StorageVersionError, "is not a log"),
        (newer, StorageVersionError, "is newer than this esctl"),
        (older, StorageVersionError, "is older than this esctl"),
        (folder, UsageError, "is a folder"),
        (nothing, NotFoundError, "there is no log at"),
        (dangling, NotFoundError, "there is no log at"),
    ],
)
def test_what_is_not_a_log_is_refused(
    tmp_path: Path, make: Callable[[Path], None], error: type[EsctlError], says: str, write: bool
) -> None:
    make(tmp_path / "log.db")
    with pytest.raises(error, match=says) as caught:
        Store(tmp_path / "log.db", write=write)
    assert type(caught.value) is error
    assert caught.value.why


@pytest.mark.parametrize(
    ("make", "what"), [(empty_file, "an empty file"), (other_database, "some other SQLite database")]
)
def test_an_empty_file_is_told_from_another_database(tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    make(tmp_path / "log.db")
    with pytest.raises(StorageVersionError) as caught:
        Store(tmp_path / "log.db")
    assert caught.value.why == f"it is {what}; name the log with --log"


def cut_short(path: Path) -> None:
    migrations.create(path)
    os.truncate(path, 50)


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("make", [text_file, short_text_file, other_database, empty_file, cut_short, newer, older])
def test_what_is_refused_is_left_as_it_was(tmp_path: Path, make: Callable[[Path], None], write: bool) -> None:
    make(tmp_path / "log.db")
    before = (tmp_path / "log.db").read_bytes()
    with pytest.raises(EsctlError):
        Store(tmp_path / "log.db", write=write)
    assert [file.name for file in tmp_path.iterdir()] == ["log.db"]
    assert (tmp_path / "log.db").read_bytes() == before


def test_what_cannot_be_read_is_refused_as_esctl_refuses(tmp_path: Path) -> None:
    cut_short(tmp_path / "log.db")
    with pytest.raises((StorageVersionError, VerificationError, UnavailableError)):
        Store(tmp_path / "log.db")


def test_a_log_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "50% of ünï?code#1&mode=ro.db"
    migrations.create(path)
    with closing(Store(path, write=True)) as store:
        appended(store, events(1))
    with closing(Store(path)) as store:
        assert store.head()[0] == 1


# Settings


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    ("setting", "value"),
    [("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1), ("trusted_schema", 0), ("cell_size_check", 1),
     ("temp_store", 2), ("mmap_size", 0), ("journal_mode", "wal")],
)  # fmt: skip
def test_settings_hold_on_every_connection(log_path: Path, setting: str, value: object, write: bool) -> None:
    with closing(Store(log_path, write=write)) as store:
        assert connection_of(store).execute(f"pragma {setting}").get == value


def test_a_writers_wal_is_cut_back(log_path: Path) -> None:
    with closing(Store(log_path, write=True)) as store:
        assert connection_of(store).execute("pragma journal_size_limit").get == opening.WAL_BYTES


def test_without_wal_a_writer_truncates_and_syncs_more(log_path: Path) -> None:
    alter(log_path, "pragma journal_mode = delete")
    with closing(Store(log_path, write=True)) as store:
        assert connection_of(store).execute("pragma journal_mode").get == "truncate"
        assert connection_of(store).execute("pragma synchronous").get == 3
        assert appended(store, events(2)) == [1, 2]


def test_a_bulk_writer_writes_the_same_log(log_path: Path) -> None:
    with closing(Store(log_path, write=True, bulk=True)) as store:
        assert appended(store, events(30)) == list(range(1, 31))
        assert list(store.check(full=True)) == []


# An unprivileged user


@pytest.fixture
def shared(filled: Path) -> Iterator[Path]:
    """A log that everybody may read, in a folder that everybody may enter; nobody but its owner may write."""
    with tempfile.TemporaryDirectory() as folder_name:
        path = Path(folder_name) / "log.db"
        shutil.copy(filled, path)
        path.chmod(0o644)
        Path(folder_name).chmod(0o755)
        yield path
        Path(folder_name).chmod(0o700)


IMPORTS = """
from esctl.errors import UnavailableError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.store.files import draft_of
from esctl.store.store import Store
"""


READ = "print(len(list(Store(path).read(Query()))))"


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o444, 0o555), (0o644, 0o555)])
def test_a_log_that_one_may_only_read_can_be_read(shared: Path, file: int, folder: int) -> None:
    shared.chmod(file)
    shared.parent.chmod(folder)
    assert unprivileged(shared, IMPORTS, READ) == "20\n"
    assert [file.name for file in shared.parent.iterdir()] == ["log.db"]


WRITE = """
try:
    store = Store(path, write=True)
    with store.transaction():
        store.append([NewEvent("order-1", "OrderPlaced", "new", None, 1, "{}", "{}", None)])
except UnavailableError as error:
    print("unavailable", 'writable' in error.why)
else:
    print("written")
"""


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o444, 0o777), (0o666, 0o555)])
def test_a_log_that_one_may_not_write_is_unavailable_to_a_writer(shared: Path, file: int, folder: int) -> None:
    before = shared.read_bytes()
    shared.chmod(file)
    shared.parent.chmod(folder)
    assert unprivileged(shared, IMPORTS, WRITE) == "unavailable True\n"
    assert shared.read_bytes() == before


def test_a_log_that_one_may_write_but_not_its_folder_can_be_read(shared: Path) -> None:
    shared.chmod(0o666)
    shared.parent.chmod(0o555)
    assert unprivileged(shared, IMPORTS, READ) == "20\n"


def test_a_log_that_one_may_not_read_is_unavailable(shared: Path) -> None:
    shared.chmod(0)
    told = "\nexcept UnavailableError as error:\n    print('unavailable', 'permissions' in error.why)"
    code = READ.join(["try:\n    ", told])
    assert unprivileged(shared, IMPORTS, code) == "unavailable True\n"


def test_newest_events_are_not_missed_where_one_may_only_read(shared: Path) -> None:
    """While a writer has the log open its newest events stand in the WAL; they are read, or reading is refused."""
    with closing(Store(shared, write=True)) as store:
        appended(store, events(1, prefix="new"))
        for beside in ("-wal", "-shm"):
            Path(f"{shared}{beside}").chmod(0o644)
        code = READ.join(["try:\n    ", "\nexcept UnavailableError:\n    print('unavailable')"])
        assert unprivileged(shared, IMPORTS, code) in ("21\n", "unavailable\n")


# The file under a writer


def renamed(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("other.db"))
    path.with_name("other.db").replace(path)


def linked(path: Path) -> None:
    path.with_name("link.db").hardlink_to(path)


def without_wal(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def folder_renamed(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "folder").mkdir()
    migrations.create(tmp_path / "folder" / "log.db")
    with closing(Store(tmp_path / "folder" / "log.db", write=True)) as store:
        appended(store, events(3))
        yield store


@pytest.mark.parametrize("change", [renamed, removed, replaced, linked, without_wal, folder_renamed])
def test_nothing_is_acknowledged_once_the_path_is_not_the_one_name_of_the_open_file(
    writer: Store, change: Callable[[Path], None]
) -> None:
    change(Path(writer.path))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"no longer the log|hard links"):
            appended(writer, events(1, prefix="new"))
    assert writer.head().position == 3


@pytest.mark.parametrize("attempt", [True, False])
@pytest.mark.parametrize("change", [renamed, folder_renamed])
def test_a_renamed_file_holds_all_that_was_acknowledged(
    writer: Store, tmp_path: Path, change: Callable[[Path], None], attempt: bool
) -> None:
    change(Path(writer.path))
    if attempt:
        with pytest.raises(UnavailableError):
            appended(writer, events(1, prefix="new"))
    writer.close()
    (found,) = [*tmp_path.glob("folder/moved.db"), *tmp_path.glob("elsewhere/log.db")]
    alone = shutil.copy(found, tmp_path / "alone.db")
    with closing(Store(alone)) as store:
        assert store.head().position == 3


@pytest.mark.parametrize("attempt", [True, False])
def test_a_log_that_takes_the_place_of_another_does_not_get_its_wal(
    writer: Store, tmp_path: Path, attempt: bool
) -> None:
    path = Path(writer.path)
    migrations.create(tmp_path / "other.db")
    with closing(Store(tmp_path / "other.db", write=True)) as store:
        appended(store, events(1, prefix="other"))
    path.rename(tmp_path / "old.db")
    (tmp_path / "other.db").rename(path)
    if attempt:
        with pytest.raises(UnavailableError, match="no longer the log"):
            appended(writer, events(1, prefix="new"))
    writer.close()
    for name, expected in ((path, ["other-0"]), (tmp_path / "old.db", ["id-0", "id-1", "id-2"])):
        with closing(Store(name)) as store:
            assert ids(store) == expected
            assert list(store.check(full=True)) == []


def test_a_writer_leaves_the_wal_of_a_replaced_log_to_the_one_that_wrote_last(writer: Store, tmp_path: Path) -> None:
    path = Path(writer.path)
    migrations.create(tmp_path / "other.db")
    with closing(Store(path, write=True)) as last:
        appended(last, events(1, prefix="last"))
        path.rename(tmp_path / "old.db")
        (tmp_path / "other.db").rename(path)
        wal = Path(f"{path}-wal").read_bytes()
        writer.close()
        assert Path(f"{path}-wal").read_bytes() == wal != b""
    for name, expected in ((path, []), (tmp_path / "old.db", ["id-0", "id-1", "id-2", "last-0"])):
        with closing(Store(name)) as store:
            assert ids(store) == expected


def test_a_log_with_two_names_is_read_by_both_and_written_by_none(writer: Store) -> None:
    path = Path(writer.path)
    writer.close()
    linked(path)
    for name in (path, path.with_name("link.db")):
        with closing(Store(name)) as store:
            assert store.head().position == 3
        with pytest.raises(UnavailableError, match=r"has 2 names \(hard links\)"):
            Store(name, write=True)
    path.with_name("link.db").unlink()
    with closing(Store(path, write=True)) as store:
        assert len(appended(store, events(1, prefix="new"))) == 1


def test_a_log_reached_by_a_symbolic_link_is_written_until_that_names_another(writer: Store) -> None:
    path = Path(writer.path)
    writer.close()
    path.with_name("link.db").symlink_to(path.name)
    with closing(Store(path.with_name("link.db"), write=True)) as store:
        assert len(appended(store, events(1, prefix="new"))) == 1
        path.with_name("link.db").unlink()
        with pytest.raises(UnavailableError, match="no longer the log"):
            appended(store, events(1, prefix="newer"))


def test_a_name_that_a_killed_run_left_of_a_draft_does_not_count(writer: Store) -> None:
    path = Path(writer.path)
    writer.close()
    path.with_name(".log.db.0123456789ab.new").hardlink_to(path)
    path.with_name(".log.db.ba9876543210.new").touch()
    with closing(Store(path, write=True)) as store:
        assert len(appended(store, events(1, prefix="new"))) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [".log.db.ba9876543210.new", "log.db"]


def test_a_writer_may_change_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations.create(tmp_path / "log.db")
    monkeypatch.chdir(tmp_path)
    with closing(Store("log.db", write=True)) as store:
        monkeypatch.chdir("/")
        assert len(appended(store, events(1))) == 1


def test_a_pipe_is_no_log_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.db")
    with pytest.raises(UsageError, match="is not a file"):
        Store(tmp_path / "log.db")


def test_a_device_is_no_log() -> None:
    with pytest.raises(UsageError, match="is not a file"):
        Store("/dev/zero")


@pytest.mark.parametrize("column", ["position", "model", "archived", "largest"])
@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1])
def test_a_head_with_a_number_that_no_log_reaches_is_damage(log_path: Path, column: str, number: int) -> None:
    alter(log_path, f"update head set {column} = {number}")
    with pytest.raises(VerificationError) as caught:
        Store(log_path)
    assert str(number) in caught.value.why


def test_a_payload_larger_than_sqlite_takes_is_damage(log_path: Path) -> None:
    alter(log_path, f"update head set largest = {2**32 + 1}")
    with pytest.raises(VerificationError, match="is damaged"):
        Store(log_path)


def test_a_pattern_that_would_take_long_is_refused_and_one_of_the_longest_name_is_not(filled: Path) -> None:
    with closing(Store(filled)) as store, pytest.raises(UsageError, match="too complex"):
        list(store.lines(Query(where=f"stream like '{'a' * 2001}'")))
    with closing(Store(filled)) as store:
        assert list(store.lines(Query(where=f"stream glob '{'[*]' * 512}'"))) == []
