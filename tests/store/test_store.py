"""What is true of the SQLite store alone: its file, its settings, its locks, and what SQLite's failures become."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from esctl.errors import EsctlError, NotFoundError, StorageVersionError, UnavailableError, UsageError, VerificationError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.store import appends, migrations, opening
from esctl.store.files import draft_of
from esctl.store.format import APPLICATION_ID, STORAGE_VERSION
from esctl.store.store import Store


def events(count: int, stream: str = "order-1", prefix: str = "id", data: str = "{}") -> list[NewEvent]:
    return [(stream, "OrderPlaced", f"{prefix}-{n}", None, 1, data, "{}", None) for n in range(count)]


def commit(store: Store, batch: list[NewEvent]) -> list[int]:
    """Append in a transaction; the versions given."""
    with store.transaction():
        receipts = store.append(batch)
    return [receipt[2] for receipt in receipts]


def connection_of(store: Store) -> apsw.Connection:
    return store._connection  # what SQLite was told can be seen nowhere else


def ids(store: Store) -> list[str]:
    return [event[3] for event, _, _ in store.read(Query())]


def altered(path: Path, statement: str) -> None:
    """Change a file that nobody has open."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.fixture
def filled(log_path: Path) -> Path:
    with closing(Store(log_path, write=True)) as store:
        commit(store, events(20))
    return log_path


# The file


def test_the_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        migrations.create(tmp_path / "log.db")
        with closing(Store(tmp_path / "log.db", write=True)) as store:
            commit(store, events(1))
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"log.db": 0o600, "log.db-wal": 0o600, "log.db-shm": 0o600}


def test_the_files_header_says_what_it_is(log_path: Path) -> None:
    header = log_path.read_bytes()[:100]
    assert header[:16] == b"SQLite format 3\0"
    assert int.from_bytes(header[60:64]) == STORAGE_VERSION
    assert int.from_bytes(header[68:72]) == APPLICATION_ID


def text_file(path: Path) -> None:
    path.write_text("an ordinary text\n" * 100)


def short_text_file(path: Path) -> None:
    path.write_text("hello\n")


def other_database(path: Path) -> None:
    altered(path, "create table t (x)")


def empty_file(path: Path) -> None:
    path.touch()


def cut_short(path: Path) -> None:
    migrations.create(path)
    os.truncate(path, 50)


def newer(path: Path) -> None:
    migrations.create(path)
    altered(path, f"pragma user_version = {STORAGE_VERSION + 1}")


def older(path: Path) -> None:
    migrations.create(path)
    altered(path, "pragma user_version = 0")


def folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    assert not path.exists()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def fifo(path: Path) -> None:
    os.mkfifo(path)


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


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("make", [text_file, short_text_file, other_database, empty_file, cut_short, newer, older])
def test_what_is_refused_is_left_as_it_was(tmp_path: Path, make: Callable[[Path], None], write: bool) -> None:
    make(tmp_path / "log.db")
    before = (tmp_path / "log.db").read_bytes()
    with pytest.raises(EsctlError):
        Store(tmp_path / "log.db", write=write)
    assert [file.name for file in tmp_path.iterdir()] == ["log.db"]
    assert (tmp_path / "log.db").read_bytes() == before


@pytest.mark.parametrize("make", [cut_short, fifo])
def test_what_cannot_be_read_is_refused_as_esctl_refuses(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "log.db")
    with pytest.raises((StorageVersionError, VerificationError, UnavailableError)):
        Store(tmp_path / "log.db")


def test_a_log_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "50% of ünï?code#1&mode=ro.db"
    migrations.create(path)
    with closing(Store(path, write=True)) as store:
        commit(store, events(1))
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
    altered(log_path, "pragma journal_mode = delete")
    with closing(Store(log_path, write=True)) as store:
        assert connection_of(store).execute("pragma journal_mode").get == "truncate"
        assert connection_of(store).execute("pragma synchronous").get == 3
        assert commit(store, events(2)) == [1, 2]


def test_a_bulk_writer_writes_the_same_log(log_path: Path) -> None:
    with closing(Store(log_path, write=True, bulk=True)) as store:
        assert commit(store, events(30)) == list(range(1, 31))
        assert list(store.check(full=True)) == []


# Readers


def test_a_reader_cannot_write(filled: Path) -> None:
    with closing(Store(filled)) as store, pytest.raises(apsw.ReadOnlyError):
        connection_of(store).execute("delete from events")


def test_an_append_through_a_reader_is_refused(filled: Path) -> None:
    with closing(Store(filled)) as store:
        with pytest.raises(UnavailableError, match="read-only"):
            commit(store, events(1, prefix="new"))
        assert len(ids(store)) == 20


def test_a_reader_leaves_nothing_behind_and_the_file_as_it_was(filled: Path) -> None:
    before = filled.read_bytes()
    with closing(Store(filled)) as store:
        assert len(b"".join(store.lines(Query())).splitlines()) == 20
        assert list(store.check(full=True)) == []
    assert [file.name for file in filled.parent.iterdir()] == ["log.db"]
    assert filled.read_bytes() == before


def test_a_writer_leaves_nothing_behind(filled: Path) -> None:
    with closing(Store(filled, write=True)) as store:
        commit(store, events(5, prefix="new"))
    assert [file.name for file in filled.parent.iterdir()] == ["log.db"]


def test_what_a_killed_writer_committed_is_read(log_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from esctl.store.store import Store\n"
        "store = Store(Path(sys.argv[1]), write=True)\n"
        "for n in range(3):\n"
        "    with store.transaction():\n"
        "        store.append([('order-1', 'OrderPlaced', f'id-{n}', None, 1, '{}', '{}', None)])\n"
        "with store.transaction():\n"
        "    store.append([('order-1', 'OrderPlaced', 'never', None, 1, '{}', '{}', None)])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(log_path)], check=False)
    assert done.returncode == -9
    assert log_path.with_name("log.db-wal").stat().st_size > 0
    with closing(Store(log_path)) as store:
        assert ids(store) == ["id-0", "id-1", "id-2"]
    with closing(Store(log_path, write=True)) as store:
        assert commit(store, events(1, prefix="new")) == [4]


# A busy log

HOLD = (
    "import sqlite3, sys, time\n"
    "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "connection.execute('begin immediate')\n"
    "print('held', flush=True)\n"
    "time.sleep(float(sys.argv[2]))\n"
    "connection.execute('rollback')\n"
)


@contextmanager
def held(path: Path, seconds: float) -> Iterator[None]:
    """Another process has the log locked for writing."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.kill()


def test_a_log_that_stays_busy_is_unavailable_after_the_time_limit(log_path: Path) -> None:
    with held(log_path, 60), closing(Store(log_path, write=True, timeout=0.3)) as store:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="is busy"):
            commit(store, events(1))
        assert 0.25 <= time.monotonic() - started < 10


def test_after_a_busy_log_the_store_is_usable(log_path: Path) -> None:
    with closing(Store(log_path, write=True, timeout=0.1)) as store:
        with held(log_path, 60), pytest.raises(UnavailableError):
            commit(store, events(1))
        assert commit(store, events(1)) == [1]


def test_a_log_that_is_released_in_time_is_written(log_path: Path) -> None:
    with held(log_path, 0.5), closing(Store(log_path, write=True, timeout=60)) as store:
        assert commit(store, events(1)) == [1]


def test_a_busy_log_can_be_read(filled: Path) -> None:
    with held(filled, 60), closing(Store(filled, timeout=0)) as store:
        assert len(ids(store)) == 20


# Failures of SQLite


def test_a_commit_that_fails_leaves_nothing_and_no_stale_versions(filled: Path) -> None:
    """SQLite rolls back by itself when a commit fails; a hook that refuses the commit makes it fail."""
    with closing(Store(filled, write=True)) as store:
        commit(store, events(1, prefix="before"))
        connection_of(store).set_commit_hook(lambda: True)
        with pytest.raises(EsctlError):
            commit(store, [*events(2, prefix="lost"), ("new-1", "NewType", "lost-2", None, 1, "{}", "{}", None)])
        connection_of(store).set_commit_hook(None)
        assert commit(store, events(1, prefix="after")) == [22]
        assert commit(store, [("new-1", "NewType", "after-2", None, 1, "{}", "{}", None)]) == [1]
        assert list(store.check(full=True)) == []


def test_a_full_disk_is_unavailable_and_leaves_nothing_and_no_stale_versions(filled: Path) -> None:
    with closing(Store(filled, write=True)) as store:
        connection = connection_of(store)
        connection.execute(f"pragma max_page_count = {connection.execute('pragma page_count').get}")
        with pytest.raises(UnavailableError, match="no room left"):
            commit(store, [*events(2, prefix="lost"), *events(200, prefix="much", data=f'"{"x" * 5000}"')])
        connection.execute("pragma max_page_count = 4294967294")
        assert commit(store, events(1, prefix="after")) == [21]
        assert list(store.check(full=True)) == []


def test_more_streams_than_are_remembered_have_right_versions(log_path: Path) -> None:
    with closing(Store(log_path, write=True, bulk=True)) as store:
        many = appends.MAX_CACHED_STREAMS + 10
        assert set(commit(store, [(f"s-{n}", "T", f"id-{n}", None, 1, "{}", "{}", None) for n in range(many)])) == {1}
        assert commit(store, [*events(2, "s-1", "one"), *events(1, f"s-{many - 1}", "two")]) == [2, 3, 2]


# Copies


def backed_up(store: Store, target: Path) -> None:
    with draft_of(target) as draft:
        store.copy_to(draft)


def test_a_backup_is_the_log(filled: Path, tmp_path: Path) -> None:
    with closing(Store(filled)) as store:
        backed_up(store, tmp_path / "copy.db")
        original = list(store.read(Query(system=True))), store.head(), store.log_id
    with closing(Store(tmp_path / "copy.db", write=True)) as copy:
        assert (list(copy.read(Query(system=True))), copy.head(), copy.log_id) == original
        assert commit(copy, events(1, prefix="new")) == [21]


def test_a_backup_holds_what_was_committed_and_not_what_is_under_way(filled: Path, tmp_path: Path) -> None:
    with closing(Store(filled, write=True)) as writer, closing(Store(filled)) as reader:
        commit(writer, events(1, prefix="committed"))
        with writer.transaction():
            writer.append(events(1, prefix="under way"))
            backed_up(reader, tmp_path / "copy.db")
    with closing(Store(tmp_path / "copy.db")) as copy:
        assert ids(copy)[20:] == ["committed-0"]


def test_a_backup_does_not_overwrite(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("kept")
    with closing(Store(filled)) as store, pytest.raises(UsageError, match="is there already"):
        backed_up(store, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "kept"


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


BECOME_NOBODY = """
import os, sys
from pathlib import Path
from esctl.errors import UnavailableError
from esctl.events.query import Query
from esctl.store.files import draft_of
from esctl.store.store import Store

path = Path(sys.argv[1])
if os.geteuid() == 0:
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit(77)
"""


def unprivileged(path: Path, code: str) -> str:
    """Run code as a user that file permissions hold for; `path` is the log. What it prints."""
    command = [sys.executable, "-c", BECOME_NOBODY + code, str(path)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode == 77:
        pytest.skip("root cannot become another user here")
    assert done.returncode == 0
    return done.stdout


READ = "print(len(list(Store(path).read(Query()))))"
WRITE = """
try:
    store = Store(path, write=True)
    with store.transaction():
        store.append([("order-1", "OrderPlaced", "new", None, 1, "{}", "{}", None)])
except UnavailableError as error:
    print("unavailable", 'writable' in error.why)
else:
    print("written")
"""


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o444, 0o555), (0o644, 0o555)])
def test_a_log_that_one_may_only_read_can_be_read(shared: Path, file: int, folder: int) -> None:
    shared.chmod(file)
    shared.parent.chmod(folder)
    assert unprivileged(shared, READ) == "20\n"
    assert [file.name for file in shared.parent.iterdir()] == ["log.db"]


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o444, 0o777), (0o666, 0o555)])
def test_a_log_that_one_may_not_write_is_unavailable_to_a_writer(shared: Path, file: int, folder: int) -> None:
    before = shared.read_bytes()
    shared.chmod(file)
    shared.parent.chmod(folder)
    assert unprivileged(shared, WRITE) == "unavailable True\n"
    assert shared.read_bytes() == before


def test_a_log_that_one_may_write_but_not_its_folder_can_be_read(shared: Path) -> None:
    shared.chmod(0o666)
    shared.parent.chmod(0o555)
    assert unprivileged(shared, READ) == "20\n"


def test_a_log_that_one_may_not_read_is_unavailable(shared: Path) -> None:
    shared.chmod(0)
    told = "\nexcept UnavailableError as error:\n    print('unavailable', 'permissions' in error.why)"
    code = READ.join(["try:\n    ", told])
    assert unprivileged(shared, code) == "unavailable True\n"


def test_newest_events_are_not_missed_where_one_may_only_read(shared: Path) -> None:
    """While a writer has the log open its newest events stand in the WAL; they are read, or reading is refused."""
    with closing(Store(shared, write=True)) as store:
        commit(store, events(1, prefix="new"))
        for beside in ("-wal", "-shm"):
            Path(f"{shared}{beside}").chmod(0o644)
        code = READ.join(["try:\n    ", "\nexcept UnavailableError:\n    print('unavailable')"])
        assert unprivileged(shared, code) in ("21\n", "unavailable\n")
