"""How the SQLite store reads: the plan that SQLite makes of each kind of query, and the windows of a read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.store import reads, windows
from esctl.store.store import Store
from esctl.store.windows import Reading
from tests.conftest import write_empty_log

if TYPE_CHECKING:
    from esctl.events.event import Form

EVENTS = 2 * windows.POSITIONS_PER_STATEMENT + 500
ANOTHER = 7  # every seventh event belongs to another stream, so that a stream's versions are not the log's positions


def batch() -> list[NewEvent]:
    """Enough for three windows; payloads of mixed sizes, names that need quoting among them."""
    return [
        (
            'cart-"1"' if n % ANOTHER == 0 else "order-1",
            f"Type{n % 5}",
            f"id-{n}",
            f"2026-01-{1 + n % 28:02}T00:00:00.000000Z",
            1,
            f'"{"x" * (n % 97)}{n}"',
            "{}",
            None,
        )
        for n in range(1, EVENTS + 1)
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that tests of this module read, and never append to."""
    path = tmp_path_factory.mktemp("reads") / "log.db"
    write_empty_log(path)
    with closing(Store(path, write=True)) as store, store.transaction():
        store.append(batch())
    return path


@pytest.fixture(scope="module")
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as store:
        yield store


# Plans

BY_STREAM: dict[str, Any] = {"stream": "order-1"}
KINDS: dict[str, dict[str, Any]] = {
    "all": {},
    "system": {"system": True},
    "position": {"since": 100, "until": 2000},
    "category": {"category": "order"},
    "type": {"types": ("Type1",)},
    "types": {"types": ("Type1", "Type2")},
    "time": {"since_time": "2026-01-03T00:00:00.000000Z", "until_time": "2026-01-05T00:00:00.000000Z"},
    "as of": {"as_of": "9999-01-01T00:00:00.000000Z"},
    "last": {"last": 10},
    "last of a type": {"types": ("Type1",), "last": 10},
    "limit": {"limit": 10},
    "all at once": {"category": "order", "types": ("Type1",), "since": 5, "since_time": "2026-01-03T00:00:00.000000Z"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def copied(source: Path, target: str) -> apsw.Connection:
    copy = apsw.Connection(target)
    with closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as original:
        backup = copy.backup("main", original, "main")
        backup.step(-1)
        backup.finish()
    return copy


@pytest.fixture(params=[False, True], ids=["fresh", "analyzed"])
def connection(path: Path, request: pytest.FixtureRequest) -> Iterator[apsw.Connection]:
    """The log in memory, before and after somebody ran ANALYZE on it, which changes what SQLite expects."""
    with closing(copied(path, ":memory:")) as connection:
        if request.param:
            connection.execute("analyze")
        yield connection


def plan(connection: apsw.Connection, filters: dict[str, Any], columns: str, *, reverse: bool) -> list[str]:
    bounded = reads.resolve(Reading(connection, ""), Query(**filters, reverse=reverse), EVENTS)
    sql = bounded.sql(columns, reverse=reverse)
    parameters = {**bounded.parameters, "low": bounded.low, "high": bounded.high, "most": bounded.limit}
    return [row[3] for row in connection.execute(f"explain query plan {sql}", parameters)]


@every_kind
@both_directions
def test_a_read_of_positions_seeks_in_the_rowid(connection: apsw.Connection, kind: str, reverse: bool) -> None:
    first, *_ = plan(connection, KINDS[kind], reads.COLUMNS, reverse=reverse)
    assert first == "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


@every_kind
@both_directions
def test_a_read_of_a_stream_seeks_in_the_index_of_versions(
    connection: apsw.Connection, kind: str, reverse: bool
) -> None:
    filters = {key: value for key, value in KINDS[kind].items() if key != "category"} | BY_STREAM
    first, *_ = plan(connection, filters, reads.COLUMNS, reverse=reverse)
    assert first == "SEARCH e USING INDEX sqlite_autoindex_events_2 (stream_id=? AND version>? AND version<?)"


def test_the_index_of_versions_is_the_one_meant(connection: apsw.Connection) -> None:
    columns = connection.execute("select name from pragma_index_info('sqlite_autoindex_events_2')").get
    assert columns == ["stream_id", "version"]


@every_kind
@both_directions
def test_names_are_found_by_their_numbers(connection: apsw.Connection, kind: str, reverse: bool) -> None:
    _, *steps = plan(connection, KINDS[kind], reads.COLUMNS, reverse=reverse)
    rest = [step for step in steps if not step.startswith("BLOOM FILTER")]  # it only spares some of the searches
    assert rest == [f"SEARCH {table} USING INTEGER PRIMARY KEY (rowid=?)" for table in ("s", "t")]


@every_kind
@both_directions
def test_nothing_is_sorted(connection: apsw.Connection, kind: str, reverse: bool) -> None:
    of_a_stream = {key: value for key, value in KINDS[kind].items() if key != "category"} | BY_STREAM
    for filters, columns in product((KINDS[kind], of_a_stream), (reads.COLUMNS, "position")):
        steps = plan(connection, filters, columns, reverse=reverse)
        assert not [step for step in steps if "TEMP B-TREE" in step]


# Windows

FORMS: tuple[Form, ...] = ("line", "hash", "data")
READS: dict[str, dict[str, Any]] = {
    "all": {},
    "stream": {"stream": "order-1"},
    "category": {"category": "cart"},
    "types": {"types": ("Type1", "Type3")},
    "position": {"since": 700, "until": 2300},
    "time": {"since_time": "2026-01-09T00:00:00.000000Z"},
    "limit": {"limit": 1700},
    "last": {"last": 1700},
}
COUNTS = [
    0,
    1,
    windows.POSITIONS_PER_STATEMENT - 1,
    windows.POSITIONS_PER_STATEMENT,
    windows.POSITIONS_PER_STATEMENT + 1,
    2 * windows.POSITIONS_PER_STATEMENT,
    EVENTS - 1,
    EVENTS,
    EVENTS + 1,
]


def positions(store: Store, **filters: Any) -> list[int]:
    return [event[0] for event, _, _ in store.read(Query(**filters))]


def lines(store: Store, form: Form = "line", **filters: Any) -> list[bytes]:
    return b"".join(store.lines(Query(**filters), form)).splitlines()


def expected(**filters: Any) -> list[int]:
    """The positions of all events, or of those in the stream `order-1`."""
    return [n for n in range(1, EVENTS + 1) if not filters or n % ANOTHER]


@pytest.mark.parametrize("filters", [{}, BY_STREAM], ids=["all", "stream"])
@both_directions
def test_a_read_goes_over_all_windows_in_order(store: Store, filters: dict[str, Any], reverse: bool) -> None:
    wanted = expected(**filters)[:: -1 if reverse else 1]
    assert positions(store, **filters, reverse=reverse) == wanted
    assert len(lines(store, **filters, reverse=reverse)) == len(wanted)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("filters", [{}, BY_STREAM], ids=["all", "stream"])
@both_directions
def test_a_limit_holds_across_windows(store: Store, filters: dict[str, Any], count: int, reverse: bool) -> None:
    wanted = expected(**filters)[:: -1 if reverse else 1][:count]
    assert positions(store, **filters, limit=count, reverse=reverse) == wanted
    assert len(lines(store, **filters, limit=count, reverse=reverse)) == len(wanted)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("filters", [{}, BY_STREAM], ids=["all", "stream"])
@both_directions
def test_last_reaches_back_over_windows(store: Store, filters: dict[str, Any], count: int, reverse: bool) -> None:
    newest = expected(**filters)[max(0, len(expected(**filters)) - count) :]
    assert positions(store, **filters, last=count, reverse=reverse) == newest[:: -1 if reverse else 1]


@pytest.mark.parametrize("since", [1, 500, windows.POSITIONS_PER_STATEMENT, windows.POSITIONS_PER_STATEMENT + 1])
@both_directions
def test_windows_may_begin_anywhere(store: Store, since: int, reverse: bool) -> None:
    until = since + windows.POSITIONS_PER_STATEMENT
    assert positions(store, since=since, until=until, reverse=reverse) == list(
        range(since, until + 1) if not reverse else range(until, since - 1, -1)
    )


def test_a_limit_counts_what_matches_and_not_what_is_passed_over(store: Store) -> None:
    matching = [n for n in range(1, EVENTS + 1) if n % 5 == 1]
    assert positions(store, types=("Type1",), limit=300) == matching[:300]
    assert positions(store, types=("Type1",), limit=300, reverse=True) == matching[::-1][:300]


# Steps


@pytest.fixture(scope="module", params=[100 * 1024, 3 * 1024 * 1024, 20 * 1024 * 1024], ids=["64", "few", "one"])
def stepwise(path: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The same events in a log that says that its payloads may be so large that they are read in steps.

    What the head says of the largest payload decides; that it is none of these payloads' size saves time.
    """
    copy = tmp_path_factory.mktemp("stepwise") / "log.db"
    with closing(copied(path, str(copy))) as connection:
        connection.execute("update head set largest = ?", (request.param,))
    return copy


@pytest.mark.parametrize("kind", READS)
@both_directions
def test_what_is_read_in_steps_is_what_is_read_at_once(store: Store, stepwise: Path, kind: str, reverse: bool) -> None:
    query = Query(**READS[kind], reverse=reverse)
    with closing(Store(stepwise)) as stepping:
        assert list(stepping.read(query)) == list(store.read(query))
        for form in FORMS:
            assert b"".join(stepping.lines(query, form)) == b"".join(store.lines(query, form))


def test_a_chunk_of_a_log_with_large_payloads_is_a_few_lines(stepwise: Path) -> None:
    with closing(Store(stepwise)) as stepping:
        assert max(chunk.count(b"\n") for chunk in stepping.lines(Query())) <= 64


def test_payloads_of_mixed_sizes_come_in_order_and_whole(log_path: Path) -> None:
    sizes = [0, 3_000_000, 1, 70_000, 70_000, 2, 6_000_000, *range(200), 100_000]
    payloads = [f'"{"é" * (size // 2)}"' for size in sizes]
    with closing(Store(log_path, write=True)) as store:
        with store.transaction():
            store.append([("a-1", "T", f"id-{n}", None, 1, data, "{}", None) for n, data in enumerate(payloads)])
        for reverse in (False, True):
            wanted = payloads[:: -1 if reverse else 1]
            assert [event[8] for event, _, _ in store.read(Query(reverse=reverse))] == wanted
            assert lines(store, "data", reverse=reverse) == [data.encode() for data in wanted]


def test_chunks_of_large_payloads_stay_small_though_small_ones_came_since(log_path: Path) -> None:
    large = f'"{"x" * 1_000_000}"'
    with closing(Store(log_path, write=True)) as store:
        with store.transaction():
            store.append([("a-1", "T", f"id-{n}", None, 1, large, "{}", None) for n in range(20)])
        with store.transaction():
            store.append([("a-1", "T", "small", None, 1, "{}", "{}", None)])
        assert max(len(chunk) for chunk in store.lines(Query())) <= reads.STEP_BYTES + 2 * len(large)
