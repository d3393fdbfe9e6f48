"""The log from Python: what each method does, and how it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl import open_log
from esctl.api import Event, Log, Receipt
from esctl.errors import (
    ConflictError,
    EsctlError,
    NotFoundError,
    RefusedError,
    StorageVersionError,
    UnavailableError,
    UsageError,
)
from esctl.points.marks import Mark
from tests.conftest import ESCTL


@pytest.fixture
def log(log_path: Path) -> Iterator[Log]:
    """An empty log, open for appending."""
    with open_log(log_path, write=True) as opened:
        yield opened


# Opening


def test_a_log_is_opened_with_pinned_schemas(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_SCHEMA", "T=2,U=4")
    with open_log(log_path, write=True, schemas={"T": 3}) as log:
        log.append("s", "T")
        log.append_all([{"stream": "s", "type": "U"}, {"stream": "s", "type": "T", "schema": 1}])
        assert [event.schema for event in log.replay()] == [3, 4, 1]


def test_a_pin_that_is_no_schema_version_is_refused_when_the_log_is_opened(log_path: Path) -> None:
    with pytest.raises(RefusedError):
        open_log(log_path, write=True, schemas={"T": 0})


def test_a_log_that_is_not_there_is_made_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    for write in (False, True):
        with pytest.raises(NotFoundError, match="there is no log"):
            open_log(path, write=write)
    assert not path.exists()
    with open_log(str(path), write=True, create=True) as made:
        made.append("s", "T")
        log_id = made.log_id
    with open_log(path, create=True) as again:
        assert (again.log_id, again.version("s")) == (log_id, 1)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a log, but more than a hundred bytes of text " * 40)
    for create in (False, True):
        with pytest.raises(StorageVersionError):
            open_log(tmp_path / "text", create=create)
        with pytest.raises(UsageError, match="folder"):
            open_log(tmp_path, create=create)


def test_a_log_open_for_reading_refuses_every_write(log_path: Path) -> None:
    writes: list[Callable[[Log], object]] = [
        lambda log: log.append("s", "T"),
        lambda log: log.append_all([{"stream": "s", "type": "T"}]),
        lambda log: log.mark("m"),
    ]
    with open_log(log_path) as log:
        for write in writes:
            with pytest.raises(UnavailableError, match="is opened read-only") as raised:
                write(log)
            assert raised.value.why == "in Python: open_log(path, write=True)"
        assert list(log.replay()) == []


def test_a_writer_waits_no_longer_than_its_timeout(log: Log, log_path: Path) -> None:
    in_the_way = log._log.transaction()
    with (
        open_log(log_path, write=True, timeout=0.05) as other,
        in_the_way,
        pytest.raises(UnavailableError, match="busy"),
    ):
        other.append("s", "T")
    assert log.append("s", "T").position == 1


CALLS: dict[str, Callable[[Log], object]] = {
    "append": lambda log: log.append("s", "T"),
    "append_all": lambda log: log.append_all([]),
    "apply_model": lambda log: log.apply_model("m.toml"),
    "backup": lambda log: log.backup("b.db"),
    "head": lambda log: log.head(),
    "info": lambda log: log.info(),
    "mark": lambda log: log.mark("m"),
    "marks": lambda log: log.marks(),
    "project": lambda log: log.project(),
    "react": lambda log: log.react("r", lambda _: None),
    "replay": lambda log: log.replay(),
    "rows": lambda log: log.rows("p"),
    "show": lambda log: log.show(1),
    "state": lambda log: log.state("s"),
    "verify": lambda log: log.verify(),
    "version": lambda log: log.version("s"),
}


def test_a_closed_log_says_so_in_every_method_and_leaves_one_file(log_path: Path) -> None:
    with open_log(log_path, write=True) as log:
        log.append("s", "T")
        log.append("s", "T")
        events = log.replay()
        next(events)
    log.close()
    calls: list[Callable[[Log], object]] = [*CALLS.values(), lambda _: next(events)]
    for call in calls:
        with pytest.raises(UsageError, match="the log is closed") as refused:
            call(log)
        assert str(log_path) in refused.value.why
    assert log.log_id
    assert list(log_path.parent.iterdir()) == [log_path]


# Appending

value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text('aäß漢"\\\n\0', max_size=4), v, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log to which every example appends."""
    with open_log(tmp_path_factory.mktemp("api") / "log.db", write=True, create=True) as opened:
        yield opened


@settings(max_examples=100)
@given(data=value, meta=st.dictionaries(st.text("abcä", max_size=4), value, max_size=3))
def test_what_is_appended_is_what_is_read(growing: Log, data: Any, meta: dict[str, Any]) -> None:
    receipt = growing.append("s", "T", data, meta=meta)
    event = growing.show(receipt.position)
    assert (event.data, event.meta) == ({} if data is None else data, meta)
    assert [*growing.replay("s", last=1)] == [event]


def test_a_receipt_says_where_the_event_stands(log: Log) -> None:
    first = log.append("s", "T", {"n": 1}, id="a")
    assert first == Receipt(position=1, stream="s", version=1, id="a", duplicate=False)
    assert log.append("t", "T", id="b").version == 1
    assert log.append("s", "T").position == 3
    assert log.append("s", "T", {"n": 1}, id="a") == Receipt(1, "s", 1, "a", duplicate=True)
    assert log.show("a") == Event(1, "s", 1, "a", "T", 1, log.show(1).recorded, log.show(1).recorded, {"n": 1}, {})


def test_ids_are_made_where_none_is_given_and_sort_as_events_do(log: Log) -> None:
    ids = [log.append("s", "T").id for _ in range(20)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        ("2026-01-31T10:30:00+01:00", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31T09:30:00.1Z", "2026-01-31T09:30:00.100000Z"),
        (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "2026-01-31T09:30:00.000000Z"),
        (datetime(2026, 1, 31, 9, 30, 0, 1, tzinfo=timezone(timedelta(hours=-3))), "2026-01-31T12:30:00.000001Z"),
    ],
)
def test_a_time_is_text_or_a_moment_with_its_zone(log: Log, given_: str | datetime, stored: str) -> None:
    log.append("s", "T", time=given_, schema=3)
    event = log.show(1)
    assert (event.time, event.schema) == (stored, 3)
    assert event.recorded > event.time


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "arguments",
    [
        {"stream": ""},
        {"stream": "$esctl"},
        {"stream": "a\nb"},
        {"stream": "\ud800"},
        {"type": " T"},
        {"id": ""},
        {"id": "x" * 513},
        {"time": "yesterday"},
        {"time": "2026-01-31T09:30:00"},
        {"schema": 0},
        {"schema": 2**31},
        {"data": float("nan")},
        {"data": [float("inf")]},
        {"data": "\ud800"},
        {"data": CIRCLE},
        {"data": {1, 2}},
        {"data": b"bytes"},
        {"data": datetime(2026, 1, 31)},  # noqa: DTZ001 - which has no zone
        {"time": datetime(2026, 1, 31)},  # noqa: DTZ001
        {"meta": {"a": float("nan")}},
        {"expect": "some"},
        {"expect": -1},
    ],
    ids=str,
)
def test_what_a_log_cannot_hold_is_refused(log: Log, arguments: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as refused:
        log.append(**{"stream": "s", "type": "T"} | arguments)
    assert refused.value.what
    assert list(log.replay()) == []


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_nested_up_to_a_thousand_levels_goes_in_and_comes_out(log: Log) -> None:
    for depth in (200, 990, 1000):
        log.append("s", "T", nested(depth))
        (event,) = log.replay(last=1)
        value, levels = event.data, 0
        while isinstance(value, list):
            value, levels = (value[0] if value else None), levels + 1
        assert levels == depth
    with pytest.raises(RefusedError, match="nested too deeply"):
        log.append("s", "T", nested(1001))


@pytest.mark.parametrize(
    ("expect", "version", "met"),
    [("any", 0, True), ("any", 2, True), ("none", 0, True), ("none", 2, False), ("exists", 0, False),
     ("exists", 2, True), (0, 0, True), (0, 2, False), (2, 2, True), (1, 2, False), (3, 2, False)],
)  # fmt: skip
def test_an_expectation_is_met_or_a_conflict(log: Log, expect: int | str, version: int, *, met: bool) -> None:
    for _ in range(version):
        log.append("s", "T")
    if met:
        assert log.append("s", "T", expect=expect).version == version + 1
        return
    with pytest.raises(ConflictError) as conflict:
        log.append("s", "T", expect=expect)
    assert conflict.value.details == {"stream": "s", "expected": expect, "actual": version}
    assert log.version("s") == version


def test_an_id_with_other_content_is_a_conflict(log: Log) -> None:
    log.append("s", "T", {"n": 1}, id="a")
    same: dict[str, Any] = {"stream": "s", "type": "T", "data": {"n": 1}, "id": "a"}
    for changed in ({"data": {"n": 2}}, {"type": "U"}, {"stream": "t"}, {"meta": {"m": 1}}):
        with pytest.raises(ConflictError, match="the id a is taken"):
            log.append(**same | changed)


def test_the_event_that_has_an_id_already_is_shown_only_where_it_stays(log: Log) -> None:
    log.append("s", "T", {"n": 1}, id="a")
    events = [{"stream": "s", "type": "T", "data": {"n": n}, "id": "b"} for n in (1, 2)]
    with pytest.raises(ConflictError, match="the id b occurs twice with different content") as raised:
        log.append_all(events)
    assert raised.value.fix == ""
    with pytest.raises(ConflictError, match="the id a is taken") as raised:
        log.append("s", "T", {"n": 2}, id="a")
    assert raised.value.fix == "esctl show 1"


def test_a_condition_is_judged_over_what_came_after_a_position(log: Log) -> None:
    log.append("s", "Seated", {"seat": 1})
    condition = "type = 'Seated' and data ->> 'seat' = 1"
    with pytest.raises(ConflictError) as conflict:
        log.append("t", "Seated", {"seat": 1}, id="x", if_none_match=condition)
    assert conflict.value.details == {"after": 0, "positions": [1]}
    assert log.append("t", "Seated", {"seat": 2}, id="y", if_none_match="data ->> 'seat' = 2").position == 2
    assert log.append("t", "Seated", {"seat": 2}, id="y", if_none_match="data ->> 'seat' = 2").duplicate
    assert log.append("t", "Seated", {"seat": 1}, id="x", if_none_match=condition, after=2).position == 3
    for none in ("(select 1)", "", "random()", "1; delete from events"):
        with pytest.raises(UsageError, match="--where"):
            log.append("t", "T", if_none_match=none)
    assert log.head().startswith("3:")


def test_a_new_name_that_looks_misspelt_is_a_warning(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.append("order-1", "Deposited")
    with pytest.raises(ConflictError):
        log.append("order-1", "Deposted", if_none_match="true")
    assert caplog.messages == []
    log.append("order-1", "Depositted")
    log.append("order-1", "Depositted")
    (message,) = caplog.messages
    assert message.endswith(": the type Depositted is new to this log, and one letter away from Deposited")
    assert caplog.records[0].name == "esctl"


def test_all_are_appended_or_none(log: Log) -> None:
    good = [{"stream": f"s-{n % 2}", "type": "T", "id": f"e{n}", "data": n} for n in range(4)]
    assert [(r.position, r.version, r.duplicate) for r in log.append_all(good)] == [
        (1, 1, False), (2, 1, False), (3, 2, False), (4, 2, False),
    ]  # fmt: skip
    new: dict[str, Any] = {"stream": "s-0", "type": "T"}
    bad: list[tuple[dict[str, Any], type[EsctlError]]] = [
        ({"stream": "s"}, RefusedError),
        ({"stream": "s", "type": "T", "datta": 1}, RefusedError),
        ({"stream": "s", "type": "T", "expect": 7}, ConflictError),
        ({"stream": "s", "type": "T", "id": "e0"}, ConflictError),
    ]
    for event, error in bad:
        with pytest.raises(error):
            log.append_all([new, event, new])
    assert log.head().startswith("4:")
    assert log.append_all([]) == []
    assert [r.duplicate for r in log.append_all([good[1], new, good[0]])] == [True, False, True]
    log.append_all({"stream": "g", "type": "T", "data": n} for n in range(3))
    assert [event.data for event in log.replay("g")] == [0, 1, 2]


def test_a_batch_says_which_of_its_events_was_in_conflict(log: Log) -> None:
    with pytest.raises(ConflictError) as conflict:
        log.append_all([{"stream": "s", "type": "T"}, {"stream": "s", "type": "T", "expect": "none"}])
    assert conflict.value.details["index"] == 1


# Reading


@pytest.fixture
def shop(log: Log) -> Log:
    """A log of six events in three streams, and a mark."""
    for number, (stream, type_) in enumerate(
        [("order-1", "Placed"), ("order-2", "Placed"), ("order-1", "Paid"), ("stock-1", "Counted")], 1
    ):
        log.append(stream, type_, {"n": number}, time=f"2026-01-0{number}T12:00:00Z", id=f"e{number}")
    log.mark("here", "#2")
    log.append("order-1", "Closed", {"n": 6}, time="2026-01-06T12:00:00Z")
    return log


@pytest.mark.parametrize(
    ("stream", "filters", "positions"),
    [
        (None, {}, [1, 2, 3, 4, 6]),
        (None, {"system": True}, [1, 2, 3, 4, 5, 6]),
        ("$esctl", {}, [5]),
        ("order-1", {}, [1, 3, 6]),
        ("order-1", {"until": "v2"}, [1, 3]),
        ("order-1", {"since": "v2", "reverse": True}, [6, 3]),
        (None, {"category": "order"}, [1, 2, 3, 6]),
        (None, {"types": ["Placed", "Paid"]}, [1, 2, 3]),
        (None, {"types": iter(["Closed"])}, [6]),
        (None, {"where": "data ->> 'n' > 3"}, [4, 6]),
        (None, {"since": "here"}, [2, 3, 4, 6]),
        (None, {"until": "here"}, [1, 2]),
        (None, {"since": "2026-01-03T12:00:00Z"}, [3, 4, 6]),
        (None, {"as_of": "#3"}, [1, 2, 3]),
        (None, {"limit": 2}, [1, 2]),
        (None, {"last": 2}, [4, 6]),
        (None, {"last": 3, "limit": 1, "reverse": True}, [6]),
    ],
)
def test_replay_takes_every_filter(
    shop: Log, stream: str | None, filters: dict[str, Any], positions: list[int]
) -> None:
    assert [event.position for event in shop.replay(stream, **filters)] == positions


@pytest.mark.parametrize(
    ("stream", "filters", "error"),
    [
        ("ordre-1", {}, NotFoundError),
        (None, {"since": "v1"}, UsageError),
        (None, {"since": "garbage"}, UsageError),
        (None, {"until": "#x"}, UsageError),
        (None, {"where": "(select 1)"}, UsageError),
        (None, {"where": "'\ud800' = stream"}, UsageError),
        ("order-1", {"category": "order"}, UsageError),
    ],
)
def test_replay_refuses_at_once_what_it_cannot_read(
    shop: Log, stream: str | None, filters: dict[str, Any], error: type[EsctlError]
) -> None:
    with pytest.raises(error):
        shop.replay(stream, **filters)


def test_replay_reads_as_it_is_asked_for_and_ends_where_the_log_ended(shop: Log) -> None:
    events = shop.replay()
    assert next(events).position == 1
    shop.append("order-1", "Late")
    assert [event.type for event in events][-1] == "Closed"


def test_a_replay_can_be_closed_before_its_end(shop: Log) -> None:
    with closing(shop.replay()) as events:
        assert next(events).position == 1
    assert [*events] == []
    assert len([*shop.replay()]) == 5


def test_numbers_that_python_cannot_hold_are_no_obstacle(log: Log, log_path: Path) -> None:
    text = '{"stream":"s","type":"T","data":[1E400,-1E400,12345678901234567890123,0.1]}\n'
    subprocess.run([ESCTL, "append", "-l", str(log_path)], input=text.encode(), check=True, capture_output=True)
    (event,) = log.replay()
    assert event.data == [float("inf"), float("-inf"), 12345678901234567890123, 0.1]


def test_show_finds_by_position_and_by_id(shop: Log) -> None:
    assert [shop.show(reference).id for reference in (3, "3", "#3", "e3")] == ["e3"] * 4
    assert shop.show(5).stream == "$esctl"
    for nothing in (0, 7, -1, "#99", "nothing", ""):
        with pytest.raises(NotFoundError, match="there is no event"):
            shop.show(nothing)


def test_version_is_that_of_the_newest_event(shop: Log) -> None:
    assert [shop.version(stream) for stream in ("order-1", "order-2", "nothing", "$esctl")] == [3, 1, 0, 1]


def test_head_is_what_the_command_prints_and_what_verify_expects(shop: Log, log_path: Path) -> None:
    printed = subprocess.check_output([ESCTL, "head", "-l", str(log_path)], text=True)
    assert printed == f"{shop.head()}\n"
    head = shop.head()
    shop.append("s", "T")
    assert shop.verify(expect_head=head).ok
    assert shop.verify(full=False).events == 7
    position, _, hash_ = head.partition(":")
    forged = f"{position}:{'0' * len(hash_)}"
    assert not shop.verify(expect_head=forged).ok
    with pytest.raises(UsageError, match="not a head"):
        shop.verify(expect_head="x")


def test_marks_are_set_moved_listed_and_points_of_other_marks(shop: Log) -> None:
    assert shop.marks()["here"] == Mark("here", 2, shop.show(5).time, shop.show(5).meta["actor"])
    assert shop.mark("end").position == 6
    assert shop.mark("there", "here").position == 2
    assert shop.mark("here", "#4").position == 4
    assert {name: mark.position for name, mark in shop.marks().items()} == {"here": 4, "end": 6, "there": 2}
    errors: list[tuple[tuple[str, ...], type[EsctlError]]] = [
        (("v1",), UsageError), (("now",), UsageError), ((" x",), RefusedError), (("x", "garbage"), UsageError),
        (("x", "v1"), UsageError), (("x", "#99"), NotFoundError),
    ]  # fmt: skip
    for arguments, error in errors:
        with pytest.raises(error):
            shop.mark(*arguments)
    assert len(shop.marks()) == 3


def test_info_has_the_facts_that_the_command_prints(shop: Log, log_path: Path) -> None:
    printed = json.loads(subprocess.check_output([ESCTL, "info", "-l", str(log_path)], text=True))
    info = shop.info()
    assert {key: printed[key] for key in info} == info
    assert info["log_id"] == shop.log_id
    assert info["head"] == shop.head()


def test_a_backup_is_the_same_log_and_overwrites_nothing(shop: Log, tmp_path: Path) -> None:
    shop.backup(tmp_path / "copy.db")
    with open_log(tmp_path / "copy.db") as copy:
        assert (copy.log_id, copy.head()) == (shop.log_id, shop.head())
        assert [*copy.replay(system=True)] == [*shop.replay(system=True)]
    with pytest.raises(UsageError, match="exists already"):
        shop.backup(tmp_path / "copy.db")


MODEL = """
[aggregate.order]
streams = "order-*"
initial = { total = 0 }
[aggregate.order.on.Added]
add = { total = "$.amount" }
[event.Added]
schema = 2
[[event.Added.upcast]]
from = 1
rename = { sum = "amount" }
"""


@pytest.fixture
def modelled(log: Log, tmp_path: Path) -> Log:
    """A log with a model, and one stream: an event of the old schema and one of the new."""
    (tmp_path / "shop.toml").write_text(MODEL)
    log.append("order-1", "Added", {"sum": 1.50}, schema=1)
    assert log.apply_model(tmp_path / "shop.toml")
    log.append("order-1", "Added", {"amount": 2})
    return log


def test_a_model_is_applied_once(modelled: Log, tmp_path: Path) -> None:
    assert not modelled.apply_model(tmp_path / "shop.toml")
    (tmp_path / "bad.toml").write_text("[aggregate.order]\nstream = 1\n")
    with pytest.raises(RefusedError, match="unknown key 'stream'"):
        modelled.apply_model(tmp_path / "bad.toml")


def test_events_are_read_in_their_newest_schema_unless_the_raw_one_is_asked_for(modelled: Log) -> None:
    assert [(event.schema, event.data) for event in modelled.replay()] == [(2, {"amount": 1.5}), (2, {"amount": 2})]
    assert [event.schema for event in modelled.replay(raw_schema=True)] == [1, 2]


def test_a_state_is_what_the_events_add_up_to_at_a_point(modelled: Log) -> None:
    now = modelled.state("order-1")
    assert (now.stream, now.aggregate, now.version, now.state) == ("order-1", "order", 2, {"total": 3.5})
    assert modelled.state("order-1", until="v1").state == {"total": 1.5}
    assert modelled.state("order-1", aggregate="order", as_of="2000-01-01").version == 0
    with pytest.raises(NotFoundError, match="there is no stream"):
        modelled.state("order-2")


def test_every_method_is_tested_here() -> None:
    methods = {name for name in vars(Log) if not name.startswith("_")}
    assert methods == {*CALLS, "close", "log_id"}


def test_rows_of_a_projection_are_as_they_were_brought_up_to_date_or_as_of_a_point(tmp_path: Path) -> None:
    model = tmp_path / "model.toml"
    model.write_text("""
[projection.counts]
table = "create table counts(type text primary key, n integer)"
[projection.counts.on]
"*" = "insert into counts values (new.type, 1) on conflict do update set n = n + 1"
""")
    with open_log(tmp_path / "log.db", write=True, create=True) as log:
        log.apply_model(model)
        log.append_all([{"stream": "s", "type": type_} for type_ in "ABA"])
        assert log.rows("counts", limit=1) == [{"type": "A", "n": 2}]  # it has caught up, as for the shell
        assert log.project() == {"counts": 4}
        assert log.rows("counts", order_by="n desc") == [{"type": "A", "n": 2}, {"type": "B", "n": 1}]
        assert log.rows("counts", until="#2") == [{"type": "A", "n": 1}]
        assert log.rows("counts", where="n > 1", limit=5) == [{"type": "A", "n": 2}]
        log.append("s", "A")
        assert log.project("counts") == {"counts": 5}
