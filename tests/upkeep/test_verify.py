"""Whatever is changed in a log's file shows when it is verified, and a whole log has no findings."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import apsw
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from esctl.errors import StorageVersionError, UsageError, VerificationError
from esctl.events import chain
from esctl.events.event import NewEvent, check_name
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import checks, migrations
from esctl.store.reactions import new
from esctl.upkeep import verify as verify_module
from esctl.upkeep.verify import MAX_FINDINGS, Report, damage, verify
from tests.conftest import SAMPLE, write_empty_log, writer_of
from tests.logs import alter, put

EVENTS = 60
LIMIT_SECONDS = 10


class HangsError(Exception):
    """It took longer than anything here may take."""


@contextmanager
def in_time() -> Iterator[None]:
    """A block that ends: what a damaged log says of itself must not keep anybody busy for ever."""

    def ring(_: int, __: FrameType | None) -> None:
        raise HangsError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real log, which tests copy before they change it."""
    path = tmp_path_factory.mktemp("verify") / "log.db"
    migrations.create(path)
    parse = parser(Defaults())
    lines = (SAMPLE / "orders.ndjson").read_bytes().splitlines()[:EVENTS]
    with EventLog(path, write=True) as log:
        for at in range(0, EVENTS, 20):
            with log.transaction():
                writer_of(log).append([parse(line) for line in lines[at : at + 20]])
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "log.db"))


@contextmanager
def copied(whole: Path) -> Iterator[Path]:
    """A copy for one example."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copy(whole, Path(folder) / "log.db"))


def change(path: Path, *statements: str, bindings: tuple[Any, ...] = ()) -> None:
    """What somebody does who can write the file and knows SQLite; every statement has to change something."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("pragma foreign_keys = off")
        for statement in statements:
            connection.execute(statement, bindings)
            assert connection.changes()


def stored(path: Path, query: str) -> Any:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.execute(query).get


def report(path: Path, *, full: bool = True, expect_head: str | None = None) -> Report:
    with in_time(), EventLog(path) as log:
        return verify(log, full=full, expect_head=expect_head)


def shows(path: Path, *, full: bool = True) -> bool:
    """Whether a change shows: there are findings, or the log is too damaged to look further."""
    try:
        return not report(path, full=full).ok
    except VerificationError:
        return True


def test_where_the_file_is_damaged_to_verify_is_advised_by_all_but_verify(copy: Path) -> None:
    page = stored(copy, "select rootpage from sqlite_schema where name = 'events'") - 1
    content, size = bytearray(copy.read_bytes()), stored(copy, "pragma page_size")
    content[page * size : page * size + 100] = b"\xff" * 100
    copy.write_bytes(content)
    with EventLog(copy) as log:
        with pytest.raises(VerificationError) as read:
            list(log.read(Query()))
        with pytest.raises(VerificationError) as verified:
            verify(log, full=True)
    assert (read.value.why, read.value.fix) == (verified.value.why, f"esctl verify --log {copy}")
    assert verified.value.why.endswith("; restore a backup")
    assert verified.value.fix == ""


def rechained(path: Path) -> None:
    """Compute all hashes anew, as somebody may who can write the file."""
    with EventLog(path) as log:
        previous = chain.genesis(log.log_id)
        hashes = []
        for (position, stream, version, id_, type_, schema, time, recorded, data, meta), salt, _ in log.read(
            Query(system=True)
        ):
            header = chain.header(position, stream, version, id_, type_, schema, time, recorded)
            previous = chain.event_hash(previous, chain.payload_digest(salt, data.encode(), meta.encode()), header)
            hashes.append((previous, position))
    with closing(apsw.Connection(str(path))) as connection:
        connection.executemany("update events set hash = ? where position = ?", hashes)
        connection.execute("update head set hash = ?, position = ?", hashes[-1])
        connection.execute("update head set recorded = (select recorded from events order by position desc limit 1)")


# A whole log


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_log_is_ok(whole: Path, full: bool) -> None:
    found = report(whole, full=full)
    assert (found.ok, found.findings, found.events) == (True, [], EVENTS)


def test_a_report_says_what_was_done_and_where_the_log_ends(whole: Path) -> None:
    with EventLog(whole) as log:
        position, hash_, _ = log.head()
    for full, mode in ((False, "quick"), (True, "full")):
        assert report(whole, full=full).record() == {
            "ok": True, "mode": mode, "events": EVENTS, "erased": 0, "head": f"{position}:{hash_.hex()}",
            "findings": [], "notes": [],
        }  # fmt: skip


def test_keys_that_occur_twice_in_events_of_earlier_versions_are_noted(log: EventLog) -> None:
    deep = "[" * 999 + '{"a":1,"a":2}' + "]" * 999
    texts = [("{}", "{}"), ('{"a":1,"a":2}', "{}"), ("[1,1]", '{"b":{"c":1,"c":1}}'), (deep, "{}")]
    put(log, *[NewEvent("s", "T", f"e{n}", None, 1, data, meta, None) for n, (data, meta) in enumerate(texts)])
    found = verify(log, full=True)
    assert found.ok
    assert [(note["check"], note["position"], str(note["problem"]).partition(";")[0]) for note in found.notes] == [
        ("keys", 2, "the key 'a' occurs twice in an object of data"),
        ("keys", 3, "the key 'c' occurs twice in an object of meta"),
        ("keys", 4, "the key 'a' occurs twice in an object of data"),
    ]


@pytest.mark.parametrize("full", [False, True])
def test_an_empty_log_is_ok(log_path: Path, full: bool) -> None:
    assert report(log_path, full=full).ok


def test_verifying_changes_nothing(copy: Path) -> None:
    before = copy.read_bytes()
    assert report(copy).ok
    assert copy.read_bytes() == before
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


def _acceptable(name: str) -> bool:
    try:
        check_name("id", name)
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return False
    return True


a_name = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(_acceptable)
a_payload = st.sampled_from(["{}", "1.0", '"é"', '{"a": 1}', "[1E400]", "null", '"\\u0000"'])
a_time = st.none() | st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z")
an_event = st.tuples(
    a_name, a_name, st.just(""), a_time, st.integers(1, 9), a_payload, st.sampled_from(["{}", '{"é":1 }'])
)


@settings(max_examples=30)
@given(batches=st.lists(st.lists(an_event, max_size=5), max_size=4))
def test_a_log_that_esctl_wrote_is_ok_whatever_is_in_it(batches: list[list[tuple[Any, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        write_empty_log(path)
        with EventLog(path, write=True) as log:
            for batch_number, batch in enumerate(batches):
                events: list[NewEvent] = [
                    NewEvent._make((*event[:2], f"{batch_number}.{n}", *event[3:], None))
                    for n, event in enumerate(batch)
                ]
                with log.transaction():
                    writer_of(log).append(events)
        assert report(path).findings == []
        assert report(path, full=False).findings == []


WRITER = """
import sys
from pathlib import Path
from esctl.append.writer import Writer
from esctl.events.event import NewEvent
from esctl.log import EventLog
with EventLog(Path(sys.argv[1]), write=True, timeout=60) as log:
    writer = Writer(log)
    for n in range(1_000_000):
        with log.transaction():
            ids = [f"new-{n}-{k}" for k in range(3)]
            writer.append([NewEvent(id_[-1], "Happened", id_, None, 1, "{}", "{}", None) for id_ in ids])
        if not n:
            print("writing", flush=True)
"""


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_both_threads_at_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(verify_module, "EVENTS_FOR_TWO", 0)
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select null, 'it' from n where i < 0"
    monkeypatch.setattr(checks, "_QUICK", (("endless", endless),))

    def watch(numbers: Iterator[int], _: int) -> Iterator[int]:
        yield next(numbers)
        raise error

    with in_time(), EventLog(copy) as log, pytest.raises(error):
        verify(log, full=True, watch=watch)


@pytest.mark.parametrize("full", [False, True])
def test_a_writer_beside_it_is_not_mistaken_for_damage(copy: Path, full: bool) -> None:
    reports: list[Report] = []
    command = [sys.executable, "-c", WRITER, str(copy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        with in_time():
            while len({found.events for found in reports}) < 5:  # while five transactions went by, at least
                with EventLog(copy) as log:
                    reports.append(verify(log, full=full))
        writer.kill()
    assert [finding for found in reports for finding in found.findings] == []


# A changed value

CHANGES: dict[str, list[str]] = {
    "head.model": ["1", "-1"],
    "head.definitions": ["'[]'"],
    "head.created": ["'2020-01-01T00:00:00.000000Z'", "''"],
    "head.created_digest": ["x''", "zeroblob(32)"],
    "streams.archived": ["1", "-1", "1000"],
    "events.position": ["position + 1000", "-position", "2000000000000000000"],
    "events.stream_id": ["999", "-1", "0"],
    "events.version": ["version + 100", "0", "-version", "9000000000000000000"],
    "events.id": ["id || 'x'", "''", "upper(id)", "id || ' '", "cast(x'ff' as text)", "id || char(0)"],
    "events.type_id": ["(select type_id from types where type_id <> events.type_id)", "999", "-1"],
    "events.schema": ["schema + 1", "0", "-1", "3000000000"],
    "events.time": [
        "'2000-01-01T00:00:00.000000Z'", "''", "'today'", "time || ' '", "replace(time, 'Z', '+00:00')",
        "cast(x'ff' as text)",
    ],
    "events.recorded": [
        "'2000-01-01T00:00:00.000000Z'", "'2999-01-01T00:00:00.000000Z'", "''", "recorded || char(10)",
        "cast(x'ff' as text)",
    ],
    "events.data": [
        "'{}'", "data || ' '", "' ' || data", "'nonsense'", "''", "null", "replace(data, '\"', '''')", "data || data",
        "cast(x'22ff22' as text)", "data || char(0)",
    ],
    "events.meta": ["'{}'", "meta || ' '", "'[]'", "'nonsense'", "''", "null", "cast(x'7b22ff223a317d' as text)"],
    "events.salt": ["randomblob(16)", "zeroblob(16)", "x''", "null", "cast(salt || x'00' as blob)"],
    "events.hash": ["randomblob(32)", "zeroblob(32)", "x''", "cast(hash || x'00' as blob)", "substr(hash, 1, 31)"],
    "streams.name": ["name || 'x'", "''", "'$' || name", "name || char(10)", "upper(name)", "cast(x'ff' as text)"],
    "streams.stream_id": ["stream_id + 1000", "-stream_id"],
    "types.name": ["name || 'x'", "''", "name || char(10)", "lower(name)", "cast(x'ff' as text)"],
    "types.type_id": ["type_id + 1000", "-type_id"],
    "head.log_id": ["'00000000-0000-4000-8000-000000000000'", "''", "upper(log_id)", "cast(x'ff' as text)"],
    "head.position": ["position + 1", "position - 1", "0", "-1", "9000000000000000000"],
    "head.hash": ["randomblob(32)", "zeroblob(32)", "x''", "(select hash from events where position = 1)"],
    "head.recorded": ["'2000-01-01T00:00:00.000000Z'", "'2999-01-01T00:00:00.000000Z'", "''"],
}  # fmt: skip
"""Each column with the values that it is set to."""
KEYS = {"events": "position", "streams": "stream_id", "types": "type_id", "head": "one"}
ROWS = {"events": [1, 30, EVENTS], "streams": [1, 4], "types": [1, 3], "head": [1]}


@pytest.mark.parametrize(
    ("column", "value", "row"),
    [
        pytest.param(column, value, row, id=f"{column}={value} at {row}")
        for column, values in CHANGES.items()
        for value in values
        for row in ROWS[column.partition(".")[0]]
    ],
)
def test_a_changed_value_shows(copy: Path, column: str, value: str, row: int) -> None:
    table, _, name = column.partition(".")
    change(copy, f"update {table} set {name} = {value} where {KEYS[table]} = {row} and {name} is not {value}")
    assert shows(copy)


def test_every_column_is_changed_by_these_tests(whole: Path) -> None:
    columns = {
        f"{table}.{name}"
        for table, key in KEYS.items()
        for name in stored(whole, f"select name from pragma_table_info('{table}')")
        if name != key or table != "head"
    }
    # No event depends on them, and the chain is without them; `archived` only tells readers to look again.
    hints = {"head.largest", "head.quoting", "head.archived"}
    assert columns - hints == set(CHANGES)


a_number = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, EVENTS + 3)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "model": a_number,
    "archived": a_number,
    "definitions": st.text(),
    "created": st.text(),
    "created_digest": st.binary(max_size=40),
    **dict.fromkeys(["position", "stream_id", "version", "type_id", "schema"], a_number),
    **dict.fromkeys(["id", "time", "recorded", "data", "meta", "name", "log_id"], st.text()),
    **dict.fromkeys(["salt", "hash"], st.binary(max_size=40)),
}


@settings(max_examples=200)
@given(column=st.sampled_from(sorted(CHANGES)), chance=st.data())
def test_no_stored_value_can_change_unseen(whole: Path, column: str, chance: st.DataObject) -> None:
    table, _, name = column.partition(".")
    value = chance.draw(st.integers(-3, EVENTS + 3) if column == "head.position" else VALUES[name])
    row = chance.draw(st.integers(1, stored(whole, f"select count(*) from {table}")))
    with copied(whole) as path:
        with closing(apsw.Connection(str(path))) as connection:
            where = f"where {KEYS[table]} = {row} and {name} is not ?1"
            try:
                connection.execute(f"update {table} set {name} = ?1 {where}", (value,))
            except apsw.ConstraintError:  # another row has it
                assume(False)
            assume(connection.changes())
        assert shows(path)


@settings(max_examples=30)
@given(position=st.integers(1, EVENTS), place=st.integers(0, 400))
def test_no_byte_of_a_payload_can_change_unseen(whole: Path, position: int, place: int) -> None:
    with copied(whole) as path:
        data = stored(path, f"select cast(data as blob) from events where position = {position}")
        at = place % len(data)
        other = data[:at] + bytes([(data[at] + 1) % 128]) + data[at + 1 :]
        change(path, f"update events set data = cast(? as text) where position = {position}", bindings=(other,))
        assert shows(path)


def test_an_event_moved_to_another_stream_shows(copy: Path) -> None:
    change(copy, "insert into streams (stream_id, name) values (1000, 'moved-1')")
    change(copy, "update events set stream_id = 1000 where position = 30")
    assert shows(copy)


def test_a_stream_made_to_look_like_the_logs_own_shows(copy: Path) -> None:
    """Negative numbers are those of the log's own streams, which readers leave out."""
    for table in ("streams", "events"):
        change(copy, f"update {table} set stream_id = -stream_id where stream_id = 1")
    assert shows(copy)


@pytest.mark.parametrize("table", ["streams", "types"])
def test_names_that_are_exchanged_show(copy: Path, table: str) -> None:
    key = KEYS[table]
    one, other = stored(copy, f"select name from {table} where {key} in (1, 2) order by {key}")
    change(copy, f"update {table} set name = '' where {key} = 1")
    change(copy, f"update {table} set name = ? where {key} = 2", bindings=(one,))
    change(copy, f"update {table} set name = ? where {key} = 1", bindings=(other,))
    assert shows(copy)


@pytest.mark.parametrize(("data", "moved"), [("12", 1), ("-5.5", 1), ("100", 2), (' "a"', 1)])
def test_the_border_between_salt_and_payload_cannot_move_unseen(log_path: Path, data: str, moved: int) -> None:
    """The digest covers both without a mark between them: what holds them apart is the length of the salt."""
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append([NewEvent("order-1", "Counted", "id-1", None, 1, data, "{}", None)])
    change(
        log_path,
        f"update events set salt = cast(salt || substr(data, 1, {moved}) as blob), data = substr(data, {moved + 1})",
    )
    assert stored(log_path, "select data from events") == data[moved:]
    assert shows(log_path)


@pytest.mark.parametrize("value", ["randomblob(32)", "zeroblob(32)", "x''"])
def test_the_hash_of_an_empty_log_is_its_genesis(log_path: Path, value: str) -> None:
    change(log_path, f"update head set hash = {value}")
    assert shows(log_path)


def test_the_id_of_an_empty_log_is_the_one_in_its_genesis(log_path: Path) -> None:
    change(log_path, "update head set log_id = '00000000-0000-4000-8000-000000000000'")
    assert shows(log_path)


def test_a_log_without_its_head_row_is_damaged(copy: Path) -> None:
    change(copy, "delete from head")
    assert shows(copy)


# Events that go, come, and change places


@settings(max_examples=30)
@given(position=st.integers(1, EVENTS))
def test_a_deleted_event_shows(whole: Path, position: int) -> None:
    with copied(whole) as path:
        change(path, f"delete from events where position = {position}")
        assert shows(path)
        assert shows(path, full=False)


@settings(max_examples=20)
@given(position=st.integers(1, EVENTS - 1))
def test_a_deleted_event_shows_though_the_rest_moved_up(whole: Path, position: int) -> None:
    with copied(whole) as path:
        change(
            path,
            f"delete from events where position = {position}",
            f"update events set position = -position where position > {position}",
            "update events set position = -position - 1 where position < 0",
            "update head set position = position - 1",
        )
        assert shows(path)


@settings(max_examples=30)
@given(one=st.integers(1, EVENTS), other=st.integers(1, EVENTS))
def test_two_events_that_changed_places_show(whole: Path, one: int, other: int) -> None:
    assume(one != other)
    with copied(whole) as path:
        change(
            path,
            f"update events set position = 0 where position = {one}",
            f"update events set position = {one} where position = {other}",
            f"update events set position = {other} where position = 0",
        )
        assert shows(path)


@settings(max_examples=20)
@given(one=st.integers(1, EVENTS), other=st.integers(1, EVENTS))
def test_two_payloads_that_changed_places_show(whole: Path, one: int, other: int) -> None:
    payloads = "select data, meta, salt from events where position = "
    with copied(whole) as path:
        first, second = stored(path, payloads + str(one)), stored(path, payloads + str(other))
        assume(first != second)
        for values, position in ((first, other), (second, one)):
            statement = f"update events set data = ?, meta = ?, salt = ? where position = {position}"
            change(path, statement, bindings=values)
        assert shows(path)


@settings(max_examples=20)
@given(kept=st.integers(0, EVENTS - 1))
def test_a_tail_cut_off_shows(whole: Path, kept: int) -> None:
    with copied(whole) as path:
        change(path, f"delete from events where position > {kept}")
        assert shows(path)
        assert shows(path, full=False)


FORGED = (
    "insert into events select {position}, stream_id, {version}, 'forged', type_id, 1, time, {recorded}, data, meta, "
)
FORGED += "salt, hash from events where position = {like}"


def test_a_forged_event_at_the_end_shows(copy: Path) -> None:
    change(copy, FORGED.format(position=EVENTS + 1, version="version + 1", recorded="recorded", like=EVENTS))
    assert shows(copy)
    assert shows(copy, full=False)


def test_a_forged_event_at_the_end_shows_though_the_head_names_it(copy: Path) -> None:
    forged = FORGED.format(position=EVENTS + 1, version="version + 1", recorded="recorded", like=EVENTS)
    change(copy, forged, "update head set position = position + 1")
    assert shows(copy)


@pytest.mark.parametrize("position", [0, -1, EVENTS + 2])
def test_a_forged_event_beside_the_log_shows(copy: Path, position: int) -> None:
    change(copy, FORGED.format(position=position, version="version + 1", recorded="recorded", like=EVENTS))
    assert shows(copy)
    assert shows(copy, full=False)


def test_a_forged_event_in_the_middle_shows(copy: Path) -> None:
    change(
        copy,
        "update events set position = -position where position > 30",
        "update events set position = 1 - position where position < 0",
        FORGED.format(position=31, version="version + 100", recorded="recorded", like=30),
        "update head set position = position + 1",
    )
    assert shows(copy)


def test_a_finding_names_the_event_that_was_altered_and_no_other(copy: Path) -> None:
    change(copy, "update events set data = '{}' where position = 30")
    findings = report(copy).findings
    assert [(finding["check"], finding["position"]) for finding in findings] == [("chain", 30)]


def test_a_log_that_is_wrong_everywhere_is_not_listed_whole(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append(
            [NewEvent("a-1", "T", f"id-{n}", None, 1, "{}", "{}", None) for n in range(MAX_FINDINGS + 50)]
        )
    change(log_path, "update events set data = '[]'")
    assert len(report(log_path).findings) == MAX_FINDINGS


# Quick


@pytest.mark.parametrize(
    ("check", "statement"),
    [
        ("contiguity", "delete from events where position = 30"),
        ("contiguity", f"delete from events where position = {EVENTS}"),
        ("contiguity", "update events set position = position + 1000 where position = 30"),
        ("contiguity", "update head set position = position - 1"),
        ("contiguity", "update head set position = position + 1"),
        ("head", "update head set hash = randomblob(32)"),
        ("head", "update head set recorded = '2999-01-01T00:00:00.000000Z'"),
        ("head", f"update events set hash = randomblob(32) where position = {EVENTS}"),
        ("versions", "update events set version = version + 100 where position = 30"),
        ("versions", "update events set version = 0 where position = 1"),
        ("versions", "update events set version = version * -1 where stream_id = 4"),
        ("references", "update events set stream_id = 999 where position = 30"),
        ("references", "update events set type_id = 999 where position = 30"),
        ("references", "delete from streams where stream_id = 1"),
        ("references", "delete from types where type_id = 1"),
    ],
)
def test_quick_finds_what_stands_in_the_wrong_place(copy: Path, check: str, statement: str) -> None:
    change(copy, statement)
    assert check in {finding["check"] for finding in report(copy, full=False).findings}


def test_quick_finds_versions_that_changed_places(copy: Path) -> None:
    stream_id = stored(copy, "select stream_id from events group by stream_id having count(*) > 1 limit 1")
    change(
        copy,
        f"update events set version = 0 where stream_id = {stream_id} and version = 1",
        f"update events set version = 1 where stream_id = {stream_id} and version = 2",
        f"update events set version = 2 where stream_id = {stream_id} and version = 0",
    )
    assert "versions" in {finding["check"] for finding in report(copy, full=False).findings}


# A head known from elsewhere


def head_at(path: Path, position: int) -> str:
    with EventLog(path) as log:
        if position == 0:
            return f"0:{chain.genesis(log.log_id).hex()}"
        ((_, _, hash_),) = log.read(Query(since=position, until=position, system=True))
        return f"{position}:{hash_.hex()}"


@settings(max_examples=20)
@given(position=st.integers(0, EVENTS))
def test_a_head_written_down_earlier_is_still_there(whole: Path, position: int) -> None:
    assert report(whole, full=False, expect_head=head_at(whole, position)).ok


@pytest.mark.parametrize("position", [0, 1, 30, EVENTS])
@pytest.mark.parametrize("full", [False, True])
def test_a_head_that_was_never_in_the_log_is_missed(whole: Path, position: int, full: bool) -> None:
    found = report(whole, full=full, expect_head=f"{position}:{'ab' * 32}").findings
    assert [(finding["check"], finding["position"]) for finding in found] == [("expect-head", position)]


def test_a_head_beyond_the_end_is_missed(whole: Path) -> None:
    (found,) = report(whole, expect_head=f"{EVENTS + 1}:{'ab' * 32}").findings
    assert (found["check"], found["position"]) == ("expect-head", EVENTS + 1)
    assert str(EVENTS) in str(found["problem"])


def test_the_genesis_of_another_log_is_missed(whole: Path, log_path: Path) -> None:
    assert report(log_path, expect_head=head_at(log_path, 0)).ok
    assert not report(log_path, expect_head=head_at(whole, 0)).ok


@pytest.mark.parametrize(
    "text",
    ["", ":", "60", "x:" + "ab" * 32, "60:" + "AB" * 32, "60:" + "ab" * 31, "60:" + "ab" * 33, "60:" + "xy" * 32,
     "-1:" + "ab" * 32, " 60:" + "ab" * 32, "60:" + "ab" * 32 + " ", "60:" + "ab" * 31 + "a\n", "60;" + "ab" * 32,
     "1" * 30 + ":" + "ab" * 32, "六:" + "ab" * 32],
)  # fmt: skip
def test_what_is_not_a_head_is_a_wrong_command(whole: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is not a head"):
        report(whole, expect_head=text)


def test_a_tail_cut_off_cleanly_is_found_with_the_head_that_was(copy: Path) -> None:
    before = head_at(copy, EVENTS)
    change(copy, "delete from events where position > 50")
    rechained(copy)
    assert report(copy).ok  # nothing in the file says so
    assert not report(copy, expect_head=before).ok
    assert report(copy, expect_head=head_at(copy, 50)).ok


@settings(max_examples=20)
@given(altered=st.integers(1, EVENTS), position=st.integers(0, EVENTS))
def test_a_history_chained_anew_is_found_with_any_head_from_the_alteration_on(
    whole: Path, altered: int, position: int
) -> None:
    before = head_at(whole, position)
    with copied(whole) as path:
        change(path, f"update events set data = '{{}}' where position = {altered}")
        rechained(path)
        assert report(path).ok
        assert report(path, expect_head=before).ok == (position < altered)


# Damage to the file


def survives(path: Path, original: Path) -> bool:
    """Whether every event reads as it did."""
    with in_time(), EventLog(path) as log, EventLog(original) as before:
        return (
            list(log.read(Query(system=True))) == list(before.read(Query(system=True))) and log.head() == before.head()
        )


def damage_shows(path: Path) -> bool:
    """As `shows`; a file whose header is gone is no log any more, which is told too."""
    try:
        return shows(path)
    except StorageVersionError:
        return True


def pages(path: Path) -> int:
    return path.stat().st_size // migrations.PAGE_SIZE


def overwritten(path: Path, place: int, new: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(new)


def test_a_page_of_zeros_shows_whichever_it_is(whole: Path, tmp_path: Path) -> None:
    unseen = []
    for page in range(pages(whole)):
        path = Path(shutil.copy(whole, tmp_path / f"{page}.db"))
        overwritten(path, page * migrations.PAGE_SIZE, bytes(migrations.PAGE_SIZE))
        if not damage_shows(path):
            unseen.append(page + 1)
    assert unseen == []


@pytest.mark.slow
@settings(max_examples=200)
@given(place=st.integers(0, 2**40), flipped=st.integers(1, 255))
def test_a_flipped_byte_shows_or_changes_no_event(whole: Path, place: int, flipped: int) -> None:
    with copied(whole) as path:
        at = place % path.stat().st_size
        overwritten(path, at, bytes([path.read_bytes()[at] ^ flipped]))
        assert damage_shows(path) or survives(path, whole)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 255])
@pytest.mark.parametrize("place", [16, 18, 19, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 92, 96, 100])
def test_a_number_in_the_files_header_shows_or_changes_no_event(
    copy: Path, whole: Path, place: int, number: int
) -> None:
    overwritten(copy, place, number.to_bytes(1 if place in (18, 19, 20, 100) else 2 if place == 16 else 4))
    assert damage_shows(copy) or survives(copy, whole)


@pytest.mark.slow
@settings(max_examples=100)
@given(place=st.integers(0, 2**40), new=st.binary(min_size=2, max_size=600))
def test_overwritten_bytes_show_or_change_no_event(whole: Path, place: int, new: bytes) -> None:
    with copied(whole) as path:
        at = place % (path.stat().st_size - len(new))
        overwritten(path, at, new)
        assert damage_shows(path) or survives(path, whole)


@settings(max_examples=30)
@given(one=st.integers(0, 2**20), other=st.integers(0, 2**20))
def test_pages_that_changed_places_show(whole: Path, one: int, other: int) -> None:
    size = migrations.PAGE_SIZE
    one, other = one % pages(whole), other % pages(whole)
    assume(one != other)
    with copied(whole) as path:
        content = path.read_bytes()
        swapped = [content[at * size :][:size] for at in (one, other)]
        assume(not all(page[0] in (10, 13) and page[3:5] == bytes(2) for page in swapped))  # leaves without cells
        overwritten(path, one * size, content[other * size :][:size])
        overwritten(path, other * size, content[one * size :][:size])
        assert damage_shows(path)


@settings(max_examples=30)
@given(size=st.integers(0, 2**40))
def test_a_file_cut_short_shows(whole: Path, size: int) -> None:
    with copied(whole) as path:
        with path.open("r+b") as file:
            file.truncate(size % path.stat().st_size)
        assert damage_shows(path)


# Damage in place of a bug


def test_a_whole_log_has_no_damage(whole: Path) -> None:
    assert damage(str(whole), LIMIT_SECONDS) is None


def test_damage_that_only_the_full_checks_find_is_found(copy: Path) -> None:
    change(copy, "update events set id = cast(x'ff' as text) where position = 7")
    found = damage(str(copy), LIMIT_SECONDS)
    assert found is not None
    assert found[:2] == ("text", 7)


def test_what_is_not_found_in_time_is_no_damage(copy: Path) -> None:
    change(copy, "update events set id = cast(x'ff' as text) where position = 7")
    assert damage(str(copy), 0) is None


def test_what_cannot_be_opened_is_damage_if_it_is_damaged(copy: Path, tmp_path: Path) -> None:
    change(copy, "update head set position = -1")
    assert damage(str(copy), LIMIT_SECONDS) is not None
    assert damage(str(tmp_path / "none.db"), LIMIT_SECONDS) is None


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("update types set name = cast(x'ff' as text) where type_id = 1", "names"),
        ("update streams set name = hex(zeroblob(300)) where stream_id = 1", "names"),
        ("update head set definitions = 'a' || char(0)", "texts"),
        ("insert into leftovers values (cast(x'ff' as text))", "texts"),
    ],
)
def test_quick_finds_texts_that_no_esctl_stores(copy: Path, statement: str, check: str) -> None:
    change(copy, statement)
    assert check in {finding["check"] for finding in report(copy, full=False).findings}


def test_a_check_that_fails_on_a_value_is_a_finding_and_others_go_on(copy: Path) -> None:
    change(copy, "update streams set name = cast(x'ff' as text), archived = 1 where stream_id = 1")
    findings = report(copy, full=False).findings
    assert {"names", "versions"} <= {finding["check"] for finding in findings}
    assert any("a value that no esctl stores: UnicodeDecodeError" in str(finding["problem"]) for finding in findings)


@pytest.mark.parametrize("number", [2**53, 2**62])
@pytest.mark.parametrize(
    "statement",
    [
        "update streams set archived = {}",
        "update events set version = {} where position = 60",
        "update events set position = {} where position = 60",
    ],
)
def test_a_number_that_is_far_too_large_is_found_in_time(copy: Path, statement: str, number: int) -> None:
    change(copy, statement.format(number))
    assert not report(copy, full=False).ok


@pytest.mark.parametrize("column", ["definition", "done"])
def test_what_a_reaction_keeps_as_json_has_to_be_json(log: EventLog, log_path: Path, column: str) -> None:
    with log.transaction():
        log.store.reactions().create([new("mail", "{}", log.log_id, 0, chain.genesis(log.log_id))])
    assert verify(log, full=False).ok
    alter(log_path, f"update reactions set {column} = '['")
    (finding,) = verify(log, full=False).findings
    assert (finding["check"], "no JSON" in str(finding["problem"])) == ("reaction", True)
