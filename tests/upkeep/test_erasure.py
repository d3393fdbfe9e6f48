"""Payloads removed for good: what goes, from wherever it stood, and what stays and still proves itself."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
import zstandard  # noqa: TID253 - what any reader of segments would use

from esctl.api import Log, open_log
from esctl.archive import checking, creation, listing, moving, tidying
from esctl.errors import ConflictError, EsctlError, NotFoundError, RefusedError, UnavailableError, UsageError
from esctl.events.event import ranges
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.projections import admin, runs
from esctl.states.snapshot_care import take
from esctl.upkeep import copies, erasure
from esctl.upkeep.traces import Traces
from esctl.upkeep.verify import verify
from tests.conftest import write_empty_log, writer_of
from tests.interleaving import interleaved, stopped
from tests.logs import hold, put, run
from tests.projections.counts import (
    COUNTS,
    ERASABLE,
    LIST,
    PLAIN,
    event,
    fill,
    rebuilt,
    rows,
    states,
    status,
    stumbling,
)

EVENTS = 30
MODEL = """
[event.Given]
erasable = true
[aggregate.person]
streams = "s-*"
[aggregate.person.on.Given]
set = { last = "$.secret" }
add = { n = 1 }
"""
UPCAST = """
[event.Given]
schema = 2
erasable = true
[[event.Given.upcast]]
from = 1
rename = { secret = "hidden" }
"""

RENAMED = """
[event.Told]
erasable = true
[[event.Given.upcast]]
from = 1
type = "Told"
schema = 1
"""
where = pytest.mark.parametrize("where", ["hot", "in the log", "in a folder", "half and half"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of thirty events in three streams, which its model (event 31) marks erasable."""
    path = tmp_path / "log.db"
    write_empty_log(path)
    (tmp_path / "model.toml").write_text(MODEL)
    with open_log(path, write=True) as log:
        log.append_all(
            {
                "stream": f"s-{n % 3}",
                "type": "Given",
                "id": f"id-{n}",
                "data": {"secret": f"payload-{n:03}", "owner": {"id": f"C-{n % 4}"}},
                "meta": {"note": f"remark-{n:03}"},
            }
            for n in range(1, EVENTS + 1)
        )
        log.apply_model(tmp_path / "model.toml")
    return path


def lay(path: Path, where: str) -> None:
    """Have the oldest twenty events lie somewhere."""
    folder = path.parent / "segments"
    with EventLog(path, write=True) as log:
        if where == "in the log":
            list(creation.create(log, [(1, 20)]))
        elif where == "in a folder":
            list(creation.create(log, [(1, 20)], to=folder))
        elif where == "half and half":
            list(creation.create(log, [(1, 5)]))
            list(creation.create(log, [(6, 14)], to=folder))


def erased(path: Path, *positions: int, scrub: bool = True) -> None:
    with EventLog(path, write=True) as log:
        list(erasure.erase(log, positions, "they asked"))
        if scrub:
            assert erasure.scrub(log)


@pytest.fixture
def filled(path: Path) -> Iterator[EventLog]:
    with EventLog(path, write=True) as opened:
        yield opened


def lines(path: Path, **asked: Any) -> list[dict[str, Any]]:
    with EventLog(path) as log:
        return [json.loads(line) for line in b"".join(log.lines(Query(**asked))).splitlines()]


def findings(path: Path) -> list[tuple[object, object]]:
    with EventLog(path) as log:
        return [(finding["check"], finding["position"]) for finding in verify(log, full=True).findings]


def own(path: Path) -> list[dict[str, Any]]:
    with EventLog(path) as log:
        return [json.loads(event[8]) for event in log.system_events("PayloadErased")]


def altered(path: Path, sql: str) -> None:
    """Change a log by another program."""
    code = "import sqlite3,sys;c=sqlite3.connect(sys.argv[1]);c.executescript(sys.argv[2]);c.commit();c.close()"
    subprocess.run([sys.executable, "-c", code, str(path), sql], check=True)


def held(folder: Path) -> bytes:
    """Every byte of every file in a folder, and what segments and frames hold when they are unpacked."""
    found = []
    for file in (file for file in folder.rglob("*") if file.is_file()):
        raw = file.read_bytes()
        found.append(raw)
        at = raw.find(zstandard.FRAME_HEADER)
        while at >= 0:
            with suppress(zstandard.ZstdError):
                found.append(zstandard.ZstdDecompressor().decompressobj().decompress(raw[at:]))
            at = raw.find(zstandard.FRAME_HEADER, at + 1)
    return b"\n".join(found)


# What goes, and what stays


@where
def test_an_erased_event_keeps_all_but_its_payload(path: Path, where: str) -> None:
    before = lines(path)
    lay(path, where)
    erased(path, 3, 17, 25)
    for line, was in zip(lines(path), before, strict=True):
        if line["position"] in (3, 17, 25):
            was |= {"data": None, "meta": None, "erased": True}
        assert line == was
        assert list(line) == list(was)
    assert findings(path) == []


@where
def test_what_is_erased_is_said_in_the_log_with_reason_and_actor(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3, 25, 26, 27)
    ranges = [tuple(pair) for data in own(path) for pair in data["positions"]]
    assert sorted(ranges) == [(3, 3), (25, 27)]
    assert {data["reason"] for data in own(path)} == {"they asked"}
    with EventLog(path) as log:
        metas = [json.loads(event[9]) for event in log.system_events("PayloadErased")]
    assert all(set(meta) == {"actor"} for meta in metas)


@where
def test_verify_counts_what_is_erased(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3, 17, 25)
    with EventLog(path) as log:
        for full in (True, False):
            report = verify(log, full=full)
            assert (report.ok, report.erased) == (True, 3)


@where
@pytest.mark.parametrize("positions", [[1], [20], [5, 6], list(range(1, 31))])
def test_the_chain_is_that_of_before(path: Path, where: str, positions: list[int]) -> None:
    with EventLog(path) as log:
        before = [hash_ for _, _, hash_ in log.read(Query(system=True, raw_schema=True))]
        head = log.head()
    lay(path, where)
    erased(path, *positions)
    with EventLog(path) as log:
        assert [h for _, _, h in log.read(Query(system=True, raw_schema=True))][: len(before)] == before
        assert verify(log, full=True, expect_head=f"{head[0]}:{head[1].hex()}").ok


@where
def test_anybody_can_recompute_the_chain_from_lines_with_digests(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3, 17, 25)
    with EventLog(path) as log:
        previous = hashlib.sha256(b"esctl/1/" + log.log_id.encode()).digest()
        text = b"".join(log.lines(Query(system=True), "hash")).decode()
    names = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")
    gone = []
    for line in text.splitlines():
        event = json.loads(line)
        if event.get("erased"):
            gone.append(event["position"])
            assert "salt" not in event
            digest = bytes.fromhex(event["digest"])
        else:
            data, meta = line.split(',"data":')[1].split(',"salt":')[0].split(',"meta":')
            digest = hashlib.sha256(bytes.fromhex(event["salt"]) + f"{data}\0{meta}".encode()).digest()
        header = "\n".join(str(event[name]) for name in names)
        previous = hashlib.sha256(previous + digest + header.encode()).digest()
        assert previous.hex() == event["hash"]
    assert gone == [3, 17, 25]


# Every trace


@where
def test_no_byte_of_payload_or_salt_is_left_in_any_file(path: Path, where: str) -> None:
    with EventLog(path) as log:
        salts = {event[0]: salt for event, salt, _ in log.read(Query(raw_schema=True))}
    with EventLog(path, write=True) as log:
        for stream in ("s-0", "s-1", "s-2"):
            take(log, stream)
    lay(path, where)
    with EventLog(path, write=True) as log:
        for stream in ("s-0", "s-1", "s-2"):
            take(log, stream)
    erased(path, 3, 17, 28, 29, 30)
    left = held(path.parent)
    for position in (3, 17, 28, 29, 30):
        salt = salts[position]
        assert salt is not None
        assert f"payload-{position:03}".encode() not in left
        assert f"remark-{position:03}".encode() not in left
        assert salt not in left
    assert b"payload-004" in left
    assert findings(path) == []


@pytest.mark.parametrize("seed", [28, 33, 35, 45])  # in which SQLite leaves a copy of a cell where it joins pages
def test_nothing_is_left_in_pages_that_sqlite_has_balanced(tmp_path: Path, seed: int) -> None:
    random, path, events = Random(seed), tmp_path / "balanced.db", 400
    write_empty_log(path)
    with open_log(path, write=True) as made:
        made.append_all(
            {
                "stream": f"s-{n % 30}",
                "type": "T",
                "data": {"s": f"payload-{n:05}", "x": "y" * random.choice([5, 40, 300, 2000])},
            }
            for n in range(1, events + 1)
        )
    left, gone = list(range(1, events + 1)), list[int]()
    random.shuffle(left)
    with EventLog(path, write=True) as log:
        for _ in range(6):
            some, left = sorted(left[:30]), left[30:]
            list(erasure.erase(log, some, "test"))
            gone += some
            if spans := listing.hot(log, random.randint(1, events)):
                list(creation.create(log, spans, most=100))
            assert erasure.scrub(log)
            raw = b"".join(file.read_bytes() for file in tmp_path.glob("balanced.db*"))
            assert [n for n in gone if f"payload-{n:05}".encode() in raw] == []


def test_while_somebody_reads_it_says_that_traces_may_be_left_and_the_next_time_takes_them(path: Path) -> None:
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    with EventLog(path, write=True, timeout=0.2) as log:
        reader.execute("begin")
        text = "select data from events where position = 3"
        before = reader.execute(text).get
        list(erasure.erase(log, [3], "test"))
        assert not erasure.scrub(log)
        assert reader.execute(text).get == before
        reader.close()
        assert erasure.scrub(log)
    assert b"payload-003" not in held(path.parent)


@where
def test_snapshots_that_held_it_go_and_others_stay(path: Path, where: str) -> None:
    lay(path, where)
    with EventLog(path, write=True) as log:
        take(log, "s-0")
        take(log, "s-1")
    erased(path, 3)
    with EventLog(path) as log:
        assert [row[0] for row in log.store.snapshots().of()] == ["s-1"]


@where
def test_the_rest_of_a_segment_stays_as_it_was(path: Path, where: str) -> None:
    lay(path, where)
    with EventLog(path) as log:
        before = {segment.name: segment for segment in listing.archived(log)}
    erased(path, 3)
    with EventLog(path) as log:
        for segment in listing.archived(log):
            was = before[segment.name]
            assert (segment.before, segment.after) == (was.before, was.after)
            assert (segment.sha256 == was.sha256) == (not was.first <= 3 <= was.last)
            assert list(checking.problems(log, segment)) == []
        outside = [segment.file for segment in listing.archived(log) if segment.location is not None]
    assert sorted(outside) == sorted(file.name for file in (path.parent / "segments").glob("*"))


# Erased again, and at the same time


@where
def test_what_is_erased_already_is_planned_by_nobody(path: Path, filled: EventLog, where: str) -> None:
    lay(path, where)
    erased(path, *range(1, 31, 3))
    assert erasure.named(filled, ["1", "id-4"], force=False).positions == []
    assert erasure.of_stream(filled, "s-1", [], force=False).positions == []
    assert erasure.of_subject(filled, "secret=payload-001", force=False).positions == []


@where
def test_who_comes_second_changes_nothing(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3, 25)
    before, said = lines(path), own(path)
    erased(path, 3, 25)
    assert lines(path) == before
    assert own(path) == said
    assert findings(path) == []


@where
def test_who_comes_second_erases_what_is_left(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3)
    erased(path, 3, 4)
    assert [line["position"] for line in lines(path) if "erased" in line] == [3, 4]
    assert findings(path) == []


def test_what_is_archived_while_it_is_to_be_erased_is_erased_all_the_same(path: Path, filled: EventLog) -> None:
    list(creation.create(filled, [(1, 5)]))
    running = erasure.erase(filled, [1, 8], "test")
    next(running)
    with EventLog(path, write=True) as other:
        list(creation.create(other, [(6, 10)]))
    try:
        list(running)
    except ConflictError:
        list(erasure.erase(filled, [8], "test"))
    assert [line["position"] for line in lines(path) if "erased" in line] == [1, 8]
    assert findings(path) == []


def test_what_is_brought_back_while_it_is_to_be_erased_is_not_said_to_be_erased(path: Path, filled: EventLog) -> None:
    list(creation.create(filled, [(1, 5), (6, 10)]))
    running = erasure.erase(filled, [1, 8], "test")
    next(running)
    with EventLog(path, write=True) as other:
        moving.restore(other, listing.named(other, "6-10"))
    try:
        list(running)
    except EsctlError:
        list(erasure.erase(filled, [8], "test"))
    assert [line["position"] for line in lines(path) if "erased" in line] == [1, 8]
    assert findings(path) == []


def unfinished(path: Path, folder: Path | None) -> None:
    """Archive the oldest twenty events in two segments, and stop before their rows are deleted."""
    with EventLog(path, write=True, timeout=0) as other, suppress(UnavailableError):  # the write lock is taken
        list(islice(creation.create(other, [(1, 20)], most=10, to=folder), 2))


def brought_back(path: Path, _: Path | None) -> None:
    with EventLog(path, write=True, timeout=0) as other, suppress(UnavailableError):
        for segment in listing.archived(other):
            moving.restore(other, segment)


def moved(path: Path, _: Path | None) -> None:
    with EventLog(path, write=True, timeout=0) as other, suppress(UnavailableError):
        for segment in listing.archived(other):
            moving.move(other, segment, None if segment.location else path.parent / "moved")


@pytest.mark.parametrize("stride", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("where", "other", "folder"),
    [
        ("hot", unfinished, None),
        ("hot", unfinished, "segments"),
        ("in a folder", moved, None),
        ("half and half", moved, None),
        ("in a folder", brought_back, None),
        ("half and half", brought_back, None),
    ],
)
def test_whatever_moves_between_two_steps_of_an_erasure_is_erased_where_it_is(
    path: Path, where: str, other: Callable[[Path, Path | None], None], folder: str | None, stride: int
) -> None:
    lay(path, where)
    original = path.with_name("original")
    shutil.copytree(path.parent, original)

    def one(number: int) -> int:
        shutil.rmtree(run := path.with_name("run"), ignore_errors=True)
        shutil.copytree(original, run)
        with (
            EventLog(run / path.name, write=True) as log,
            stopped(
                log, 1 + (number - 1) * stride, lambda: other(run / path.name, run / folder if folder else None)
            ) as steps,
        ):
            assert sum(erasure.erase(log, [3, 15, 25], "they asked")) == 3
            tidying.tidy(log)
        assert [line["position"] for line in lines(run / path.name) if "erased" in line] == [3, 15, 25]
        assert findings(run / path.name) == []
        return (steps[0] + stride - 1) // stride

    assert interleaved(one) * stride > 10


def test_payloads_that_were_archived_since_they_were_looked_for_are_not_erased_where_they_were(
    path: Path, filled: EventLog
) -> None:
    unfinished(path, None)  # their rows are left
    with pytest.raises(ConflictError, match="archived just now"):
        erasure._hot(filled, [3], "they asked", Traces())
    assert own(path) == []


@pytest.mark.parametrize("until", [25, 31])
def test_a_fork_of_a_log_whose_archived_rows_are_left_is_whole(path: Path, filled: EventLog, until: int) -> None:
    list(islice(creation.create(filled, [(1, 31)], most=31), 1))  # stopped before rows are deleted
    copies.fork(filled, path.with_name("fork.db"), until)
    assert findings(path.with_name("fork.db")) == []


def test_the_logs_own_events_that_are_archived_and_left_are_counted_once(filled: EventLog) -> None:
    assert filled.store.projections().count_own_after(0) == 1
    list(islice(creation.create(filled, [(1, 31)], most=31), 1))
    assert filled.store.projections().count_own_after(0) == 1


# Which


def test_events_are_named_by_position_or_id(filled: EventLog) -> None:
    plan = erasure.named(filled, ["5", "#3", "id-4", "id-5"], force=False)
    assert (plan.positions, plan.types, plan.streams) == ([3, 4, 5], {"Given": 3}, ["s-0", "s-1", "s-2"])


def test_an_event_that_is_not_there_is_not_planned(filled: EventLog) -> None:
    with pytest.raises(NotFoundError):
        erasure.named(filled, ["5", "999"], force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_the_log_says_of_itself_is_never_erased(filled: EventLog, force: bool) -> None:
    with pytest.raises(RefusedError, match="the log's own"):
        erasure.named(filled, ["31"], force=force)
    with pytest.raises(EsctlError):
        erasure.of_stream(filled, "$esctl", [], force=force)


def test_a_type_that_is_not_erasable_needs_force(path: Path, filled: EventLog) -> None:
    with open_log(path, write=True) as made:
        made.append("s-1", "Kept", {"secret": "payload-001"})
    with pytest.raises(RefusedError, match="events of the type Kept are not erased"):
        erasure.named(filled, ["1", "32"], force=False)
    assert erasure.named(filled, ["1", "32"], force=True).positions == [1, 32]
    plan = erasure.of_stream(filled, "s-1", [], force=False)
    assert (32 in plan.positions, plan.left) == (False, {"Kept": 1})
    assert 32 in erasure.of_stream(filled, "s-1", [], force=True).positions
    plan = erasure.of_subject(filled, "secret=payload-001", force=False)
    assert (plan.positions, plan.left) == ([1], {"Kept": 1})
    assert erasure.of_subject(filled, "secret=payload-001", force=True).positions == [1, 32]


@where
def test_a_stream_is_all_of_its_events_or_those_of_a_type(path: Path, where: str) -> None:
    with open_log(path, write=True) as made:
        made.append("s-1", "Moved", {})
    lay(path, where)
    with EventLog(path, write=True) as log:
        assert erasure.of_stream(log, "s-1", [], force=True).positions == [*range(1, 31, 3), 32]
        assert erasure.of_stream(log, "s-1", ["Moved"], force=True).positions == [32]
        with pytest.raises(NotFoundError):
            erasure.of_stream(log, "nobody", [], force=True)


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        ({"id": "C-7"}, "id=C-7"),
        ({"id": 7}, "id=7"),
        ({"id": "7"}, "id=7"),
        ({"id": -7}, "id=-7"),
        ({"id": 12345678901234567}, "id=12345678901234567"),
        ({"id": 12345678901234567890123}, "id=12345678901234567890123"),
        ({"id": True}, "id=true"),
        ({"a": {"b": {"c": "x"}}}, "a.b.c=x"),
        ({"id": ""}, "id="),
        ({"id": "a=b"}, "id=a=b"),
        ({"id": 'it\'s "quoted" \\ back'}, 'id=it\'s "quoted" \\ back'),
        ({"id": "Zoë 😀"}, "id=Zoë 😀"),
        ({"e-mail": "x@y"}, "e-mail=x@y"),
        ({"é": "x"}, "é=x"),
        ({"it's": "x"}, "it's=x"),
        ({'q"q': "x"}, 'q"q=x'),
        ({"a[0]": "x"}, '"a[0]"=x'),
        ({"a": [{"b.c": "x"}]}, 'a[0]."b.c"=x'),
        ({"a": ["y", "x"]}, "a[#-1]=x"),
        ({"%": "%"}, "%=%"),
    ],
)
def test_a_subject_is_a_value_in_a_field_as_it_reads(path: Path, filled: EventLog, data: object, subject: str) -> None:
    with open_log(path, write=True) as made:
        made.append("t-1", "Given", data)
        made.append("t-1", "Given", {"id": "other"})
        made.append("t-1", "Given", ["C-7"])
        made.append("t-1", "Given", "C-7")
    assert erasure.of_subject(filled, subject, force=False).positions == [32]


def test_a_number_is_found_as_it_was_written(filled: EventLog) -> None:
    with filled.transaction():
        writer_of(filled).append([parser(Defaults())(b'{"stream":"t","type":"Given","data":{"id":1.50}}')])
    assert erasure.of_subject(filled, "id=1.50", force=False).positions == [32]


@where
def test_a_subject_is_found_wherever_it_lies(path: Path, where: str) -> None:
    lay(path, where)
    with EventLog(path, write=True) as log:
        assert erasure.of_subject(log, "owner.id=C-2", force=False).positions == list(range(2, 31, 4))


@pytest.mark.parametrize("subject", ["", "=x", "field", ".a=x", "a.=x", "a..b=x", "a=\0"])
def test_what_is_no_subject_is_refused(filled: EventLog, subject: str) -> None:
    with pytest.raises(UsageError, match="--subject"):
        erasure.of_subject(filled, subject, force=False)


def test_a_subject_is_found_under_the_name_that_it_has_or_had(path: Path, tmp_path: Path, filled: EventLog) -> None:
    (tmp_path / "later.toml").write_text(UPCAST)
    with open_log(path, write=True) as made:
        made.apply_model(tmp_path / "later.toml")
        made.append("t-1", "Given", {"hidden": "payload-002"})
    assert erasure.of_subject(filled, "secret=payload-002", force=False).positions == [2]
    assert erasure.of_subject(filled, "hidden=payload-002", force=False).positions == [2, 33]


def test_a_type_that_was_renamed_is_erasable_under_either_name(path: Path, tmp_path: Path, filled: EventLog) -> None:
    (tmp_path / "later.toml").write_text(RENAMED)
    with open_log(path, write=True) as made:
        made.apply_model(tmp_path / "later.toml")
    assert erasure.named(filled, ["1"], force=False).positions == [1]
    assert erasure.of_stream(filled, "s-1", ["Given"], force=False).positions == list(range(1, 31, 3))
    assert erasure.of_stream(filled, "s-1", ["Told"], force=False).positions == list(range(1, 31, 3))


@pytest.mark.parametrize(
    ("positions", "expected"),
    [([], []), ([1], [(1, 1)]), ([1, 2, 3, 5, 7, 8], [(1, 3), (5, 5), (7, 8)])],
)
def test_positions_are_told_as_ranges(positions: list[int], expected: list[tuple[int, int]]) -> None:
    assert ranges(positions) == expected


# Readers


@where
def test_folds_do_what_needs_no_payload_and_the_version_is_what_a_writer_has_to_expect(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 27, 30)  # the last two of s-0
    with open_log(path, write=True) as log:
        state = log.state("s-0")
        assert (state.version, state.position, state.state) == (10, 30, {"last": "payload-024", "n": 10})
        assert log.version("s-0") == 10
        assert log.append("s-0", "Given", {}, expect=state.version).version == 11


@where
def test_an_append_that_is_sent_again_is_a_duplicate_of_the_erased_event(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3, 25)
    with open_log(path, write=True) as log:
        for position in (3, 25):
            again = {"secret": f"payload-{position:03}"}
            receipt = log.append(f"s-{position % 3}", "Given", again, id=f"id-{position}")
            assert (receipt.position, receipt.duplicate) == (position, True)
            with pytest.raises(ConflictError):
                log.append("elsewhere", "Given", again, id=f"id-{position}")
            with pytest.raises(ConflictError):
                log.append(f"s-{position % 3}", "Other", again, id=f"id-{position}")


@where
def test_no_condition_on_a_payload_meets_an_erased_event(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3)
    assert lines(path, where="data ->> 'secret' = 'payload-003'") == []
    assert [line["position"] for line in lines(path, where="position = 3")] == [3]
    assert len(lines(path, types=("Given",))) == EVENTS


@where
def test_python_reads_it_as_an_event_without_payload(path: Path, where: str) -> None:
    lay(path, where)
    erased(path, 3)
    with open_log(path) as log:
        event = log.show(3)
        assert (event.erased, event.data, event.meta) == (True, None, {})
        assert [event.position for event in log.replay() if event.erased] == [3]
        assert not log.show(4).erased


def test_an_erased_line_is_not_appended_elsewhere(path: Path) -> None:
    erased(path, 3)
    with EventLog(path) as log, pytest.raises(RefusedError, match="was erased"):
        parser(Defaults())(b"".join(log.lines(Query(since=3, until=3))).strip())


# Copies


def as_fork(log: EventLog, target: Path) -> None:
    copies.fork(log, target, log.head()[0])


@where
@pytest.mark.parametrize("copy", [copies.backup, copies.restore, as_fork])
def test_copies_keep_erasures(path: Path, where: str, copy: Callable[[EventLog, Path], object]) -> None:
    lay(path, where)
    erased(path, 3, 25)
    with EventLog(path) as log:
        copy(log, path.parent / "copy.db")
    assert findings(path.parent / "copy.db") == []
    assert lines(path.parent / "copy.db") == lines(path)
    assert b"payload-003" not in held(path.parent)


@where
@pytest.mark.parametrize("until", [2, 3, 10, 20, 25, 30, 31, 32])
def test_a_fork_from_before_an_erasure_holds_it_and_is_whole(path: Path, where: str, until: int) -> None:
    lay(path, where)
    erased(path, 3, 25)
    with EventLog(path) as log:
        copies.fork(log, path.parent / "fork.db", until)
    assert findings(path.parent / "fork.db") == []
    gone = [line["position"] for line in lines(path.parent / "fork.db") if "erased" in line]
    assert gone == [position for position in (3, 25) if position <= until]


def nobody(read: Iterable[Any], _: int) -> Iterable[Any]:
    return read


@where
def test_a_log_that_is_rewritten_keeps_erasures(path: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "later.toml").write_text(UPCAST)
    with open_log(path, write=True) as made:
        made.apply_model(tmp_path / "later.toml")
    lay(path, where)
    erased(path, 3, 25)
    with EventLog(path) as log:
        rewriting.rewrite(log, tmp_path / "new.db", nobody)
    assert findings(tmp_path / "new.db") == []
    assert [line["position"] for line in lines(tmp_path / "new.db") if "erased" in line] == [3, 25]


@where
def test_what_is_erased_can_be_archived_and_brought_back(path: Path, where: str) -> None:
    erased(path, 3, 25)
    before = lines(path)
    lay(path, where)
    with EventLog(path, write=True) as log:
        list(creation.create(log, listing.hot(log, 30)))
        assert lines(path) == before
        assert findings(path) == []
        for segment in listing.archived(log):
            moving.restore(log, segment)
    assert lines(path) == before
    assert findings(path) == []


# Tampering


def test_a_payload_that_is_gone_without_a_record_is_found(path: Path) -> None:
    altered(path, "update events set data = null, meta = null, salt = null where position = 4")
    assert ("erased", 4) in findings(path)


@pytest.mark.parametrize("column", ["data", "meta", "salt"])
def test_a_payload_that_is_half_gone_is_found(path: Path, column: str) -> None:
    altered(path, f"update events set {column} = null where position = 4")
    assert ("erased", 4) in findings(path)


def test_a_record_without_a_missing_payload_is_found(path: Path) -> None:
    erased(path, 3)
    altered(path, "insert into erased values (4, zeroblob(32), 32)")
    assert ("erased", 4) in findings(path)


def test_a_payload_that_came_back_is_found(path: Path) -> None:
    erased(path, 3)
    altered(path, "update events set data = '{}', meta = '{}', salt = zeroblob(16) where position = 3")
    assert ("erased", 3) in findings(path)


@pytest.mark.parametrize("event", [1, 31, 999, 0])
def test_a_record_that_no_event_of_the_logs_own_explains_is_found(path: Path, event: int) -> None:
    erased(path, 3)
    altered(path, f"update erased set event = {event} where position = 3")
    assert ("erased", 3) in findings(path)


def test_a_record_that_went_is_found(path: Path) -> None:
    erased(path, 3)
    altered(path, "delete from erased")
    assert {check for check, _ in findings(path)} >= {"erased"}


def test_a_wrong_digest_is_found(path: Path) -> None:
    erased(path, 3)
    altered(path, "update erased set digest = zeroblob(32) where position = 3")
    assert ("chain", 3) in findings(path)


@pytest.mark.parametrize(
    "sql",
    [
        "update erased set digest = zeroblob(32) where position = 3",
        "delete from erased where position = 3",
        "insert into erased values (4, zeroblob(32), 32)",
        "update erased set position = 4 where position = 3",
    ],
)
@pytest.mark.parametrize("where", ["in the log", "in a folder"])
def test_records_of_archived_payloads_are_checked_too(path: Path, where: str, sql: str) -> None:
    lay(path, where)
    erased(path, 3)
    altered(path, sql)
    assert findings(path) != []


@pytest.mark.parametrize("where", ["in the log", "in a folder"])
def test_a_damaged_segment_is_not_rewritten(path: Path, where: str) -> None:
    lay(path, where)
    if where == "in the log":
        altered(path, "update frames set packed = cast(zeroblob(10) || packed as blob)")
    else:
        (file,) = (path.parent / "segments").iterdir()
        raw = bytearray(file.read_bytes())
        raw[20] ^= 1
        file.write_bytes(raw)
    with EventLog(path, write=True) as log, pytest.raises(EsctlError, match="1-20 is damaged"):
        list(erasure.erase(log, [3], "test"))
    assert own(path) == []


@pytest.fixture
def opened(path: Path) -> Iterator[Log]:
    with open_log(path) as log:
        yield log


def test_a_missing_segment_stops_its_erasure_and_not_that_of_others(path: Path, opened: Log) -> None:
    lay(path, "half and half")
    for file in (path.parent / "segments").iterdir():
        file.unlink()
    erased(path, 3, 25)
    assert (opened.show(3).erased, opened.show(25).erased) == (True, True)
    with EventLog(path, write=True) as log, pytest.raises(EsctlError, match="6-14"):
        list(erasure.erase(log, [7], "test"))
    assert len(own(path)) == 2


# Projections


def held_anywhere(path: str | Path, secret: bytes) -> list[str]:
    """The files of a log in which some bytes stand."""
    return [p.name for p in Path(path).parent.rglob("*") if p.is_file() and secret in p.read_bytes()]


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("other", ["nothing", "previous", "building", "rolled back"])
def test_what_is_erased_is_in_no_version_of_any_projection(
    log: EventLog, other: str, archived: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(log, ERASABLE + COUNTS + LIST)
    put(log, *(event(n, f"secret-{n:03}-" + "x" * 40 * n) for n in range(1, 40)))
    run(log)
    if other != "nothing":
        admin.rebuild(log, "counts", from_scratch=True)
        monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 10)
        build = runs.catch_up(log, next(v.version for v in log.store.projections().versions() if v.version > 2))
        for _, _ in zip(range(99 if other != "building" else 2), build, strict=False):
            pass
    if other == "rolled back":
        admin.roll_back(log, "counts")
    if archived:
        list(creation.create(log, [(1, 30)], most=20))
    before = rows(log)
    list(erasure.erase(log, [8, 35], "asked"))
    assert rows(log) == before  # read until it is built anew
    assert erasure.scrub(log)
    run(log).end()
    gone = {f"secret-{n:03}" for n in (7, 34)}
    assert [k for k, _ in rows(log)] == [k for k, _ in before if k[:10] not in gone]
    assert [position for position, _ in rows(log, "list")] == [n for n in range(2, 41) if n not in (8, 35)]
    assert states(log) == {"live": log.head()[0]}
    log.close()
    assert held_anywhere(log.path, b"secret-007") == held_anywhere(log.path, b"secret-034") == []
    assert held_anywhere(log.path, b"secret-006") != []


def test_a_projection_that_never_sees_the_type_is_left_alone_by_an_erasure(log: EventLog) -> None:
    hold(log, ERASABLE + COUNTS + LIST.replace('"*"', "Other"))
    fill(log, "xyz")
    run(log)
    rebuilt(log, "list")
    list(erasure.erase(log, [3], "asked"))
    erasure.scrub(log)
    assert states(log, "list") == {"live": 4, "previous": 4}
    assert [v.version for v in log.store.projections().versions() if v.name == "counts"] == [4]


def test_a_type_is_seen_under_the_name_that_an_upcast_gives_it(log: EventLog) -> None:
    hold(log, COUNTS + "[[event.Old.upcast]]\nfrom = 1\ntype = 'T'\nschema = 1\n[event.Old]\nerasable = true\n")
    put(log, event(k="secret", type_="Old", schema=1), event())
    run(log)
    list(erasure.erase(log, [2], "asked"))
    erasure.scrub(log)
    assert rows(log) == [("x", 1)]


def test_where_it_cannot_be_built_anew_what_was_built_takes_its_place(log: EventLog) -> None:
    """A row that stands for what is erased may not stay because a later event has no row without it."""
    hold(
        log,
        ERASABLE + "[projection.list]\ntable = 'create table list(n not null)'\n[projection.list.on]\n"
        'T = "insert into list values (new.data ->> \'k\')"\nU = "insert into list select (select n from list)"\n',
    )
    put(log, event(k="secret-payload"), event(type_="U"), event(k="later"))
    run(log).end()
    list(erasure.erase(log, [2], "asked"))
    erasure.scrub(log)
    assert (rows(log, "list"), states(log, "list")) == ([], {"live": 2})
    assert status(log, "list")["failed"] == 3
    log.close()
    assert held_anywhere(log.path, b"secret-payload") == []


def test_a_projection_that_is_dropped_while_an_erasure_builds_it_anew_stays_dropped(log: EventLog) -> None:
    hold(
        log,
        ERASABLE + "[projection.list]\ntable = 'create table list(n not null)'\n[projection.list.on]\n"
        'T = "insert into list values (new.data ->> \'k\')"\nU = "insert into list select (select n from list)"\n',
    )
    put(log, event(k="secret-payload"), event(type_="U"))
    run(log).end()
    list(erasure.erase(log, [2], "asked"))
    log.close()
    copy = Path(log.path).with_name("run.db")

    def one(number: int) -> int:
        shutil.copy(log.path, copy)
        dropped = []

        def drop() -> None:
            with EventLog(copy, write=True, timeout=0) as other, suppress(UnavailableError):  # the write lock is taken
                dropped.extend(admin.drop(other, "list"))

        with EventLog(copy, write=True) as opened, stopped(opened, number, drop) as steps:
            erasure._rebuild(opened, None)
            assert states(opened, "list") == ({"dropped": 0} if dropped else {"live": 2})
        return steps[0]

    assert interleaved(one) > 10


def test_with_another_erasure_after_each_rebuild_it_says_that_traces_may_be_left_and_the_next_time_takes_them(
    log: EventLog,
) -> None:
    hold(log, ERASABLE + COUNTS)
    put(log, *(event(n, f"secret-{n:03}") for n in range(1, 40)))
    run(log)
    positions = iter(range(3, 40))
    compact: Callable[..., tuple[int, int, bool]] = log.store.compact

    with EventLog(log.path, write=True) as other, pytest.MonkeyPatch.context() as patch:

        def spoiled(*, full: bool = False) -> tuple[int, int, bool]:
            found = compact(full=full)
            if all(version.fingerprint for version in other.store.projections().versions()):
                list(erasure.erase(other, [next(positions)], "asked"))
            return found

        patch.setattr(log.store, "compact", spoiled)
        list(erasure.erase(log, [2], "asked"))
        assert not erasure.scrub(log)
    assert erasure.scrub(log)
    log.close()
    assert held_anywhere(log.path, b"secret-001") == held_anywhere(log.path, b"secret-002") == []


def test_the_message_of_what_stopped_a_projection_goes_with_the_payload_that_it_quotes(log: EventLog) -> None:
    """SQLite quotes what it stumbles over."""
    hold(
        log,
        ERASABLE + stumbling(PLAIN, "insert into list values (new.position, new.data -> ('$' || (new.data ->> 'k')))"),
    )
    put(log, event(k=""), event(k="secret-payload"))
    run(log)
    assert "secret-payload" in status(log, "list")["error"]
    list(erasure.erase(log, [3], "asked"))
    erasure.scrub(log)
    log.close()
    assert held_anywhere(log.path, b"secret-payload") == []
