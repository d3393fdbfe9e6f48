"""How events are read: the plan that SQLite makes of each kind of query, filters, bounds, limits, and lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from esctl.errors import VerificationError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.store import reads
from esctl.store.store import Store
from esctl.store.windows import Reading
from tests.conftest import Open
from tests.logs import alter
from tests.stores import (
    BY_STREAM,
    EVENTS,
    MIXED,
    NAMES,
    both_directions,
    commit,
    connection_of,
    event,
    lines,
    positions,
    replayed,
)

if TYPE_CHECKING:
    from esctl.events.event import Form


# Plans

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


def copied(source: Path, target: str) -> apsw.Connection:
    copy = apsw.Connection(target)
    with closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as original:
        backup = copy.backup("main", original, "main")
        backup.step(-1)
        backup.finish()
    return copy


@pytest.fixture(params=[False, True], ids=["fresh", "analyzed"])
def connection(long_log: Path, request: pytest.FixtureRequest) -> Iterator[apsw.Connection]:
    """The log in memory, before and after somebody ran ANALYZE on it, which changes what SQLite expects."""
    with closing(copied(long_log, ":memory:")) as connection:
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


# Filters, bounds, limits, lines

QUERIES: list[dict[str, Any]] = [
    {}, {"reverse": True}, {"limit": 7}, {"last": 7}, {"limit": 0}, {"last": 0}, {"limit": 7, "reverse": True},
    {"last": 9, "limit": 4}, {"last": 9, "limit": 4, "reverse": True}, {"limit": 1000}, {"last": 1000},
    {"stream": 'quo"te-1'}, {"stream": "emoji-😀", "reverse": True}, {"stream": "not there"},
    {"stream": "plain-1", "last": 2}, {"stream": "plain-1", "since_version": 2, "until_version": 3},
    {"stream": "plain-1", "until_version": 0}, {"stream": "plain-1", "types": ("Type plain-1", 'Type quo"te-1')},
    {"category": "plain"}, {"category": 'quo"te'}, {"category": "not there"}, {"category": "emoji", "reverse": True},
    {"types": ('Type \\\\"',)}, {"types": ('Type \\"',)}, {"types": ("Type plain-1", "not there")},
    {"types": ("not there",)}, {"since_time": "2026-01-10T00:00:00.000000Z"},
    {"until_time": "2026-01-10T00:00:00.000000Z", "last": 3},
    {"since_time": "2026-01-10T00:00:00.000000Z", "until_time": "2026-01-20T00:00:00.000000Z", "category": "a"},
    {"as_of": "2000-01-01T00:00:00.000000Z"}, {"as_of": "9999-01-01T00:00:00.000000Z"}, {"since": 2**62},
    {"until": 0}, {"system": True},
]  # fmt: skip


def test_the_queries_find_something_and_not_everything(mixed: Store) -> None:
    found = [len(positions(mixed, **filters)) for filters in QUERIES]
    assert sum(0 < n < len(MIXED) for n in found) > len(QUERIES) / 2


FIELDS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")
every_query = pytest.mark.parametrize("filters", QUERIES, ids=str)


@every_query
def test_lines_say_what_read_gives(mixed: Store, filters: dict[str, Any]) -> None:
    said = [json.loads(line) for line in lines(mixed, "line", **filters)]
    read = [
        dict(zip(FIELDS, e, strict=False)) | {"data": json.loads(e[8]), "meta": json.loads(e[9])}
        for e in replayed(mixed, **filters)
    ]
    assert said == read


@every_query
def test_lines_with_hashes_are_lines_with_salt_and_hash_at_the_end(mixed: Store, filters: dict[str, Any]) -> None:
    expected = [
        line[:-2] + f',"salt":"{salt.hex()}","hash":"{hash_.hex()}"}}\n'.encode()
        for line, (_, salt, hash_) in zip(lines(mixed, "line", **filters), mixed.read(Query(**filters)), strict=True)
    ]
    assert lines(mixed, "hash", **filters) == expected


@every_query
def test_lines_of_data_are_the_payloads_as_they_were_given(mixed: Store, filters: dict[str, Any]) -> None:
    payloads = {e[2]: e[5] for e in MIXED}
    expected = [payloads[e[3]].encode() + b"\n" for e in replayed(mixed, **filters)]
    assert lines(mixed, "data", **filters) == expected


@every_query
def test_lines_come_in_chunks_of_whole_lines(mixed: Store, filters: dict[str, Any]) -> None:
    assert all(not chunk or chunk.endswith(b"\n") for chunk in mixed.lines(Query(**filters)))


@every_query
def test_reverse_is_the_same_events_backwards(mixed: Store, filters: dict[str, Any]) -> None:
    unlimited = {key: value for key, value in filters.items() if key not in ("limit", "reverse")}
    assert positions(mixed, **unlimited, reverse=True) == positions(mixed, **unlimited)[::-1]


@every_query
@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_a_limit_keeps_the_first_in_reading_order(mixed: Store, filters: dict[str, Any], n: int) -> None:
    unlimited = {key: value for key, value in filters.items() if key != "limit"}
    assert positions(mixed, **unlimited, limit=n) == positions(mixed, **unlimited)[:n]


@every_query
@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_last_keeps_the_newest(mixed: Store, filters: dict[str, Any], n: int) -> None:
    bare = {key: value for key, value in filters.items() if key not in ("limit", "last", "reverse")}
    newest = positions(mixed, **bare)[-n:] if n else []
    assert positions(mixed, **bare, last=n) == newest
    assert positions(mixed, **bare, last=n, reverse=True) == newest[::-1]


def test_bounds_on_the_position_are_inclusive(mixed: Store) -> None:
    everything = positions(mixed)
    assert positions(mixed, since=everything[10], until=everything[20]) == everything[10:21]


def test_bounds_on_the_version_are_inclusive(mixed: Store) -> None:
    assert [e[2] for e in replayed(mixed, stream="plain-1", since_version=2, until_version=4)] == [2, 3, 4]


def test_until_version_nought_is_before_the_first_event(mixed: Store) -> None:
    assert positions(mixed, stream="plain-1", until_version=0) == []


@pytest.mark.parametrize("filters", [{}, {"stream": "a-1"}, {"category": "a"}, {"types": ("OrderPlaced",)}], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", ["read", "lines"])
def test_reading_ends_at_the_head_as_it_was_at_the_first_event(
    connect: Open, filters: dict[str, Any], reverse: bool, form: str
) -> None:
    writer, reader = connect(), connect(write=False)
    commit(writer, *[event("a-1") for _ in range(2100)])
    before = positions(reader, **filters)[:: -1 if reverse else 1]
    query = Query(**filters, reverse=reverse)
    if form == "read":
        events = reader.read(query)
        seen = [next(events)[0][0]]
        commit(writer, *[event("a-1") for _ in range(1100)])
        seen += [e[0] for e, _, _ in events]
    else:
        chunks = reader.lines(query)
        first = next(chunks)
        commit(writer, *[event("a-1") for _ in range(1100)])
        seen = [json.loads(line)["position"] for line in b"".join([first, *chunks]).splitlines()]
    assert seen == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["stream", "type", "id"])
def test_any_name_comes_back_as_it_was_given(connect: Open, field: str, name: str) -> None:
    writer, reader = connect(), connect(write=False)
    commit(writer, event("order-1", "OrderPlaced"))
    assert len(lines(reader, "line")) == 1
    commit(writer, event(**{field: name}))  # type: ignore[arg-type]  # one of the three texts
    (_, read), said = replayed(reader), json.loads(lines(reader, "line")[1])
    assert said[field] == read[FIELDS.index(field)] == name


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_asked_for(store: Store, name: str) -> None:
    commit(store, event("other-1", "Other"), event(name, name))
    assert positions(store, stream=name) == positions(store, types=(name,)) == [store.head()[0]]
    assert store.stream_version(name) == 1


@pytest.mark.parametrize(
    "text",
    ["1", "1.0", "-0", "0.10", "1E400", "123456789012345678901234567890", '"é"', '"\\u00e9"', '"\\ud83d\\ude00"',
     "null", "true", "[]", "[ 1 , 2 ]", '{"a":1,"a":2}', '{"b":1,\t"a":2}', '"😀"', '"%s %d \\n"', '"\\u0000"',
     "[" * 999 + "]" * 999],
)  # fmt: skip
def test_a_payload_is_kept_byte_for_byte(store: Store, text: str) -> None:
    meta = f'{{"m":{text}}}'
    commit(store, event(data=text, meta=meta))
    assert replayed(store)[0][8:] == (text, meta)
    assert lines(store, "data") == [text.encode() + b"\n"]
    assert lines(store, "line")[0].endswith(f',"data":{text},"meta":{meta}}}\n'.encode())


@pytest.mark.parametrize("reverse", [False, True])
def test_large_payloads_come_back_whole(store: Store, reverse: bool) -> None:
    large = json.dumps("é" * (5 * 512 * 1024), ensure_ascii=False)  # 5 MiB
    small = [event(data=str(n)) for n in range(3)]
    for one in (small[0], event(data=large), small[1], event(data=large, meta=f'{{"m":{large}}}'), small[2]):
        commit(store, one)
    payloads = ["0", large, "1", large, "2"][:: -1 if reverse else 1]
    assert [e[8] for e in replayed(store, reverse=reverse)] == payloads
    assert lines(store, "data", reverse=reverse) == [text.encode() + b"\n" for text in payloads]


# Large payloads, step by step

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


@pytest.fixture(scope="module", params=[100 * 1024, 3 * 1024 * 1024, 20 * 1024 * 1024], ids=["64", "few", "one"])
def stepwise(long_log: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The same events in a log that says that its payloads may be so large that they are read in steps.

    What the head says of the largest payload decides; that it is none of these payloads' size saves time.
    """
    copy = tmp_path_factory.mktemp("stepwise") / "log.db"
    with closing(copied(long_log, str(copy))) as connection:
        connection.execute("update head set largest = ?", (request.param,))
    return copy


@pytest.mark.parametrize("kind", READS)
@both_directions
def test_what_is_read_in_steps_is_what_is_read_at_once(
    long_store: Store, stepwise: Path, kind: str, reverse: bool
) -> None:
    query = Query(**READS[kind], reverse=reverse)
    with closing(Store(stepwise)) as stepping:
        assert list(stepping.read(query)) == list(long_store.read(query))
        for form in FORMS:
            assert b"".join(stepping.lines(query, form)) == b"".join(long_store.lines(query, form))


def test_a_chunk_of_a_log_with_large_payloads_is_a_few_lines(stepwise: Path) -> None:
    with closing(Store(stepwise)) as stepping:
        assert max(chunk.count(b"\n") for chunk in stepping.lines(Query())) <= 64


def test_payloads_of_mixed_sizes_come_in_order_and_whole(log_path: Path) -> None:
    sizes = [0, 3_000_000, 1, 70_000, 70_000, 2, 6_000_000, *range(200), 100_000]
    payloads = [f'"{"é" * (size // 2)}"' for size in sizes]
    with closing(Store(log_path, write=True)) as store:
        with store.transaction():
            store.append(
                [NewEvent("a-1", "T", f"id-{n}", None, 1, data, "{}", None) for n, data in enumerate(payloads)]
            )
        for reverse in (False, True):
            wanted = payloads[:: -1 if reverse else 1]
            assert [event[8] for event, _, _ in store.read(Query(reverse=reverse))] == wanted
            assert lines(store, "data", reverse=reverse) == [data.encode() + b"\n" for data in wanted]


def test_chunks_of_large_payloads_stay_small_though_small_ones_came_since(log_path: Path) -> None:
    large = f'"{"x" * 1_000_000}"'
    with closing(Store(log_path, write=True)) as store:
        with store.transaction():
            store.append([NewEvent("a-1", "T", f"id-{n}", None, 1, large, "{}", None) for n in range(20)])
        with store.transaction():
            store.append([NewEvent("a-1", "T", "small", None, 1, "{}", "{}", None)])
        assert max(len(chunk) for chunk in store.lines(Query())) <= reads.STEP_BYTES + 2 * len(large)


@pytest.mark.parametrize("control", ["\n", "\x1b"])
@pytest.mark.parametrize("form", ["line", "data"])
def test_a_control_character_that_an_editor_put_there_forges_no_line(store: Store, form: Form, control: str) -> None:
    commit(store, event(), event(data='{"a":1}'), event())
    connection = connection_of(store)
    connection.execute("update events set data = '{\"a\"' || ? || ':1}' where position = 2", (control,)).fetchall()
    with pytest.raises(VerificationError, match="was altered") as raised:
        lines(store, form)
    assert raised.value.why == f"{'the event at position 2' if form == 'line' else 'an event'} has a control character"


@pytest.mark.parametrize("form", ["line", "hash"])
@pytest.mark.parametrize("character", ["\n", "\r", "\x1b"])
@pytest.mark.parametrize(
    "sql",
    [
        "update streams set name = name || ?",
        "update types set name = name || ?",
        "update events set id = id || ? where position = 1",
        "update events set data = '{\"a\":\"' || ? || '\"}' where position = 1",
        "update events set meta = '{\"a\":\"' || ? || '\"}' where position = 1",
    ],
)
def test_no_line_of_an_edited_log_is_forged_or_acts_on_a_terminal(
    filled: Path, sql: str, character: str, form: Form
) -> None:
    alter(filled, sql, character)
    with closing(Store(filled)) as store, pytest.raises(VerificationError, match="was altered") as raised:
        list(store.lines(Query(), form))
    assert raised.value.why == "the event at position 1 has a control character"
