"""Archived events are read as if nothing had been archived: every question has the answer that it had before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esctl.append.expectations import AppendCondition
from esctl.archive import creation, listing, moving
from esctl.errors import EsctlError
from esctl.events.event import NewEvent, Receipt
from esctl.events.query import Query
from esctl.evolution import conformance
from esctl.log import EventLog
from esctl.points import marks, trace
from esctl.states import differences, folding, snapshot_care
from esctl.store import segments
from esctl.upkeep import erasure, verify
from tests.conftest import Esctl, environment, write_empty_log, writer_of
from tests.logs import hold, put
from tests.segments import folder_of

if TYPE_CHECKING:
    from esctl.events.event import Form


# A log with everything in it that is read in a way of its own

STREAMS = (
    "order-1",
    "order-2",
    "order",
    "orders-1",
    'quo"te-1',
    "back\\slash-é",
    "Zoë 東京-1",
    "new\u2028line-\U0001f600",
)
TYPES = ("Placed", "Paid", "Noted", "Old", "Both", 'Quo"té')
TIMES = [f"2026-01-{day:02}T00:00:00.000000Z" for day in range(1, 10)]
DATA = ('{"n":1}',
        '{ "n" : 2.50 }', '{"n":12345678901234567890,"s":"\\u00e9 é"}', '{"n":-0.0,\t"a":[1, {"b":null}]}', "[]",
        '"text"', "{}", '{"n":7,"o":{"x":"\\"data\\":1,\\"meta\\":"}}')  # fmt: skip
META = ("{}", '{ "correlation_id":"c 1" }', '{"correlation_id": "c-2", "x" : 1e3}')
EARLIER = """
[aggregate.any]
streams = "*"
on."*" = [{ set = { last = "$.n" } }]
"""
MODEL = """
[event.Placed]
schema = 3
[[event.Placed.upcast]]
from = 1
rename = { n = "m" }
[[event.Placed.upcast]]
from = 2
default = { m = 3 }
[[event.Old.upcast]]
from = 1
drop = true
[[event.Both.upcast]]
from = 1
split = [{ type = "Paid", schema = 1 }, { type = "Noted", schema = 1, set = { n = 5 } }]
[aggregate.order]
streams = "order*"
initial = { status = "New" }
snapshot = { every = 3 }
accept = { Never = "state ->> 'status' = 'Paid'" }
on.Paid = [{ set = { status = "Paid" }, append = { paid = "$.n" } }]
on."*" = [{ set = { last = "$.n" } }]
"""


def _event(chance: Random, n: int, ids: list[str]) -> NewEvent:
    meta, type_ = chance.choice(META), chance.choice(TYPES)
    if ids and chance.random() < 0.3:
        meta = json.dumps({"causation_id": chance.choice(ids)}, ensure_ascii=False)
    ids.append(f"id {n} é\"'")
    data = chance.choice(DATA[:4] if type_ in ("Both", "Placed") else DATA)
    schema = chance.choice([1, 2, 3]) if type_ == "Placed" else 1
    return NewEvent(chance.choice(STREAMS), type_, ids[-1], chance.choice([*TIMES, None]), schema, data, meta, None)


def build(path: Path) -> None:
    """Write the log: events, two models, marks, snapshots and erased payloads among each other."""
    chance, ids, count = Random(5), list[str](), 0
    write_empty_log(path)
    with EventLog(path, write=True) as log:

        def some(size: int) -> None:
            nonlocal count
            put(log, *(_event(chance, n, ids) for n in range(count, count + size)))
            count += size

        some(12)
        marks.set_mark(log, "early", 9)
        hold(log, EARLIER)
        for size in (1, 7, 2):
            some(size)
        hold(log, MODEL)
        some(9)
        for stream in ("order-1", "order-2"):
            snapshot_care.take(log, stream)
        list(erasure.erase(log, [3, 4, 17], "asked for"))
        some(20)
        for stream in ("order-1", "order-2", "order"):
            snapshot_care.take(log, stream)
        marks.set_mark(log, "late", 40)
        some(6)


class Built(NamedTuple):
    """The log, how its events are numbered, and every answer that it gives."""

    path: Path
    head: int
    questions: dict[str, Callable[[EventLog], object]]
    answers: dict[str, object]

    def __repr__(self) -> str:
        return "the log"


# Every question


def _queries(log: EventLog) -> list[dict[str, Any]]:
    """Filters, each by itself and in many combinations."""
    head, chance = log.head()[0], Random(3)
    recorded = [event[7] for event, _, _ in log.read(Query(system=True, raw_schema=True))]
    filters: dict[str, Callable[[], object]] = {
        "types": lambda: tuple(chance.sample(TYPES, chance.randint(1, 2))),
        "since": lambda: chance.randint(0, head + 2),
        "until": lambda: chance.randint(0, head + 2),
        "since_time": lambda: chance.choice(TIMES),
        "until_time": lambda: chance.choice(TIMES),
        "as_of": lambda: chance.choice(recorded),
        "limit": lambda: chance.randint(0, 9),
        "last": lambda: chance.randint(0, 9),
        "reverse": lambda: True,
        "where": lambda: chance.choice(["data ->> 'n' > 1", "version % 2", "meta ->> 'x' is null", "type like 'P%'"]),
    }
    flags: dict[str, Callable[[], object]] = {"system": lambda: True, "raw_schema": lambda: True}
    places: list[dict[str, Any]] = [{}, {"category": "order"}, {"category": 'quo"te'}, {"category": "never"}]
    places += [{"stream": stream} for stream in (*STREAMS, "$esctl")]
    of_streams: dict[str, Callable[[], object]] = {
        name: partial(chance.randint, 0, 12) for name in ("since_version", "until_version")
    }
    made = [place | flag for place in places for flag in ({}, {"reverse": True}, {"raw_schema": True}, {"last": 3})]
    for _ in range(100):
        place = chance.choice(places)
        possible = {**filters, **flags, **(of_streams if "stream" in place else {})}
        made.append(place | {name: possible[name]() for name in chance.sample(list(possible), chance.randint(1, 4))})
    return [{"system": True, "raw_schema": True}, *made]


def _lines(log: EventLog, asked: dict[str, Any], form: Form) -> bytes:
    return b"".join(log.lines(Query(**asked), form))


def _asked(log: EventLog, sql: str, *, raw: bool) -> object:
    with EventLog(log.path) as own:  # a connection that was asked answers nothing else
        names, rows = own.question(sql, raw_schema=raw)
        return names, list(rows)


def _appended(log: EventLog, *events: NewEvent) -> object:
    """What becomes of events that are appended and not kept."""
    with log.transaction(keep=False):
        return writer_of(log).append(list(events))


def _conditioned(log: EventLog, condition: str, after: int) -> object:
    new = [Receipt(log.head()[0] + 1, "order-9", 1, "new", False)]
    AppendCondition(condition, after).check(log, new, log.head()[0])
    return True


def questions(log: EventLog) -> dict[str, Callable[[EventLog], object]]:
    """All that is asked, by what it is."""
    made: dict[str, Callable[[EventLog], object]] = {}
    forms: tuple[Form, ...] = ("line", "hash", "data")
    for asked in _queries(log):
        made[f"read {asked}"] = lambda log, asked=asked: list(log.read(Query(**asked)))  # type: ignore[misc]
        for form in forms:
            made[f"{form}s {asked}"] = partial(_lines, asked=dict(asked), form=form)
    events = [event for event, _, _ in log.read(Query(system=True, raw_schema=True))]
    made |= _of_streams(events[-1][0])
    made |= _of_events(events)
    made |= {
        "head": EventLog.head,
        "definitions": lambda log: (log.definitions.position, log.definitions.upcasts),
        "model": lambda log: [event[6:] for event in log.store.model_event()],
        "system events": lambda log: [list(log.system_events(t)) for t in ("ModelApplied", "PayloadErased")],
        "marks": marks.marks,
        "info": lambda log: {key: value for key, value in log.store.facts().info().items() if key != "file_bytes"},
        "schemas": lambda log: log.store.facts().schemas(),
        "matching": lambda log: [list(log.store.facts().matching(glob)) for glob in ("*", "order*", "$*", "x*")],
        "names": lambda log: [list(log.store.facts().names(kind)) for kind in ("stream", "type")],
        "over time": lambda log: [
            sorted(log.store.facts().over_time(7).by_type()),
            log.store.facts().over_time(7).total(),
        ],
        "upcast check": lambda log: conformance.check(log, log.definitions),
        "upcast check of a sample": lambda log: conformance.check(log, log.definitions, 9),
        "snapshots": lambda log: list(snapshot_care.listed(log)),
        "snapshot verify": snapshot_care.verify,
        "verify": lambda log: verify.verify(log, full=True).record(),
        "verify quick": lambda log: verify.verify(log, full=False).record(),
        "expected heads": lambda log: [
            verify.verify(log, full=False, expect_head=f"{event[0]}:{hash_.hex()}").ok
            for event, _, hash_ in log.read(Query(system=True, raw_schema=True))
        ],
        "erasures": lambda log: list(log.store.facts().erasures()),
        "states": lambda log: list(folding.states(log, "order", Query(), "version > 1")),
        "states then": lambda log: list(folding.states(log, "order", Query(until=30))),
        "followed": lambda log: b"".join(log.follow(Query(limit=40))),
        "followed stream": lambda log: b"".join(log.follow(Query(stream="order-1", limit=4, raw_schema=True))),
    }
    for system in (True, False):
        made[f"streams {system}"] = lambda log, system=system: list(log.store.facts().streams(None, system=system))  # type: ignore[misc]
        made[f"types {system}"] = lambda log, system=system: list(log.store.facts().types(system=system))  # type: ignore[misc]
    made["streams of a pattern"] = lambda log: list(log.store.facts().streams("order*", system=False))
    for sql in (
        "select * from log order by position, type",
        "select stream, count(*) as n, max(version) as v, sum(data ->> 'n') as s from log group by stream order by 1",
        "select * from log where stream = 'order-1' and version between 2 and 5 order by position, type",
        "select position, type from log where position > 20 order by position desc, type limit 7",
        "select id from log where id = 'id 5 é\"'''",
    ):
        for raw in (True, False):
            made[f"query {sql} {raw}"] = partial(_asked, sql=sql, raw=raw)
    return made


def _of_streams(head: int) -> dict[str, Callable[[EventLog], object]]:
    """What is asked of a stream: its versions, its states, what they went through, and appends to it."""
    made: dict[str, Callable[[EventLog], object]] = {}
    points: list[dict[str, Any]] = [{}, *({"until_version": n} for n in (0, 1, 3, 5))]
    points += [{"until": n} for n in (1, 13, 30, 50)] + [{"until_time": TIMES[n]} for n in (0, 4, 8)]
    for stream in STREAMS:
        for point in points:
            for saved in (True, False):
                made[f"state of {stream} {point} {saved}"] = lambda log, stream=stream, point=point, saved=saved: (  # type: ignore[misc]
                    folding.state(log, Query(stream=stream, **point), saved=saved)
                )
        made |= {
            f"version of {stream}": lambda log, stream=stream: log.store.stream_version(stream),  # type: ignore[misc]
            f"versions of {stream}": lambda log, stream=stream: [  # type: ignore[misc]
                log.store.places().version_until(stream, position) for position in range(head + 2)
            ],
            f"places of {stream}": lambda log, stream=stream: [
                log.store.places().event_at(stream, v) for v in range(20)
            ],  # type: ignore[misc]
            f"each of {stream}": lambda log, stream=stream: list(folding.each(log, Query(stream=stream))),  # type: ignore[misc]
            f"diff of {stream}": lambda log, stream=stream: differences.diff(  # type: ignore[misc]
                log, Query(stream=stream, until_version=2), Query(stream=stream)
            ),
        }
        for fast in (True, False):
            made[f"bisect of {stream} {fast}"] = lambda log, stream=stream, fast=fast: differences.bisect(  # type: ignore[misc]
                log, Query(stream=stream), "json_array_length(state, '$.paid') > 1 or version > 4", monotonic=fast
            )
        for expect in ("any", "none", "exists", 0, 3, 7):
            new: NewEvent = NewEvent(stream, "Noted", "new", None, 1, "{}", "{}", expect)
            made[f"append to {stream} {expect}"] = lambda log, new=new: _appended(log, new)  # type: ignore[misc]
        rule: NewEvent = NewEvent(stream, "Never", "new", None, 1, "{}", "{}", None)
        made[f"rule of {stream}"] = lambda log, rule=rule: _appended(log, rule)  # type: ignore[misc]
    return made


def _of_events(events: list[Any]) -> dict[str, Callable[[EventLog], object]]:
    """What is asked of an event: by position and id, what it belongs to, and that it is not stored twice."""
    made: dict[str, Callable[[EventLog], object]] = {
        "find": lambda log: [log.store.places().find(event[3]) for event in events] + [log.store.places().find("none")],
        "position at": lambda log: [log.store.places().position_at(event[7]) for event in events],
        "position before": lambda log: log.store.places().position_at(TIMES[0]),
    }
    for event in events:
        position, stream, _, id_, type_, schema, at, _, data, meta = event
        made[f"show {position}"] = lambda log, position=position: log.event(str(position))  # type: ignore[misc]
        made[f"show {id_}"] = lambda log, id_=id_: log.event(id_)  # type: ignore[misc]
        made[f"trace {position}"] = lambda log, event=event: trace.trace(log, event) if event[9] else None  # type: ignore[misc]
        if not stream.startswith("$"):
            again = NewEvent(stream, type_, id_, at, schema, data or "{}", meta or "{}", "none")
            other = again._replace(data='{"other":1}')
            elsewhere = again._replace(stream="order-9")
            for kind, new in (("again", again), ("other", other), ("elsewhere", elsewhere)):
                made[f"append {position} {kind}"] = lambda log, new=new: _appended(log, new)  # type: ignore[misc]
    for after in (0, 11, 30, 50, 70):
        for condition in ("type = 'Paid'", "stream = 'order-1'", "data ->> 'n' = 5", "id = 'none'"):
            made[f"none match {condition} {after}"] = partial(_conditioned, condition=condition, after=after)
    return made


def told(question: Callable[[EventLog], object], log: EventLog) -> object:
    """An answer, or the error that is one."""
    try:
        return question(log)
    except EsctlError as error:
        return type(error).__name__, error.what, error.why, error.fix.replace(str(log.path), "LOG"), error.details


def comparable(answer: object, path: Path) -> object:
    return tuple(str(part).replace(str(path), "LOG") for part in answer) if isinstance(answer, tuple) else answer


def answers(path: Path, asked: dict[str, Callable[[EventLog], object]]) -> dict[str, object]:
    with EventLog(path, write=True) as log:
        return {name: comparable(told(question, log), path) for name, question in asked.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    path = tmp_path_factory.mktemp("built") / "log.db"
    build(path)
    with EventLog(path) as log:
        asked, head = questions(log), log.head()[0]
    return Built(path, head, asked, answers(path, asked))


def test_the_log_that_is_asked_has_what_the_questions_look_for(built: Built) -> None:
    said = built.answers
    assert said["verify"]["ok"]  # type: ignore[index]
    assert said["verify"]["erased"] == 3  # type: ignore[index]
    assert {name for name in said if name.startswith("read ") and said[name]} != set()
    kinds = {str(answer[0]) for answer in said.values() if isinstance(answer, tuple)}
    assert {"ConflictError", "RefusedError", "DifferenceError"} <= kinds
    with EventLog(built.path) as log:
        raw = [event for event, _, _ in log.read(Query(system=True, raw_schema=True))]
        assert {event[1] for event in raw} == {*STREAMS, "$esctl"}
        assert {event[4] for event in raw} >= set(TYPES)
        assert len(list(log.read(Query(system=True)))) != len(raw)  # split and dropped ones
        assert len(list(log.store.snapshots().of())) >= 4
        assert any(folding.state(log, Query(stream=stream)).snapshot for stream in STREAMS)


# Ways in which a log may be archived


class Step(NamedTuple):
    """One change to the archive: `create` up to a position, or `restore` or `move` of one of the segments."""

    kind: str
    number: int
    folder: str | None = None
    most: int = 100
    frame_bytes: int = 10_000


def arrange(path: Path, steps: list[Step]) -> None:
    """Have a log archived so."""
    with EventLog(path, write=True, bulk=True) as log:
        for step in steps:
            known = listing.archived(log)
            if step.kind == "create":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(segments, "FRAME_BYTES", step.frame_bytes)
                    spans = listing.hot(log, min(step.number, log.head()[0]))
                    list(creation.create(log, spans, most=step.most, to=folder_of(log, step.folder)))
            elif known and step.kind == "restore":
                moving.restore(log, known[step.number % len(known)])
            elif known:
                moving.move(log, known[step.number % len(known)], folder_of(log, step.folder))


@contextmanager
def arranged(built: Built, steps: list[Step]) -> Iterator[Path]:
    """A copy of the log, archived."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        shutil.copyfile(built.path, path)
        arrange(path, steps)
        yield path


ALL = 10_000
ARRANGED: dict[str, list[Step]] = {
    "all in the file": [Step("create", ALL)],
    "all in a folder": [Step("create", ALL, "cold")],
    "all in small segments of small frames": [Step("create", ALL, None, 7, 1)],
    "half in a folder, half in the file": [Step("create", 30, "cold", 8, 600), Step("create", ALL, None, 9, 1)],
    "a part": [Step("create", 21, None, 100, 600)],
    "a hole": [Step("create", ALL, "cold", 10, 600), Step("restore", 3)],
    "holes, some moved": [
        Step("create", 50, None, 6, 1), Step("restore", 1), Step("restore", 3),
        Step("move", 0, "cold"), Step("move", 2, "ice"),
    ],
    "restored, all of it": [Step("create", ALL, "cold"), Step("restore", 0)],
}  # fmt: skip


def compare(built: Built, path: Path) -> None:
    found = answers(path, built.questions)
    different = {name: (built.answers[name], found[name]) for name in found if found[name] != built.answers[name]}
    name, (before, after) = next(iter(different.items()), ("", (None, None)))
    assert not different, f"{len(different)} answers are others, the first of {name}:\n{before!r}\n{after!r}"


QUICK = "holes, some moved"


@pytest.mark.parametrize(
    "arrangement", [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in ARRANGED]
)
def test_every_answer_is_as_if_nothing_had_been_archived(built: Built, arrangement: str) -> None:
    with arranged(built, ARRANGED[arrangement]) as path:
        compare(built, path)


a_folder = st.sampled_from([None, None, "cold", "ice/deep"])
a_step = st.one_of(
    st.builds(
        Step, st.just("create"), st.integers(1, 80), a_folder, st.integers(1, 40), st.sampled_from([1, 700, 10_000])
    ),
    st.builds(Step, st.just("restore"), st.integers(0, 9)),
    st.builds(Step, st.just("move"), st.integers(0, 9), a_folder),
)


@pytest.mark.slow
@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(a_step, min_size=2, max_size=6))
def test_every_answer_is_the_same_however_it_was_archived(built: Built, steps: list[Step]) -> None:
    with arranged(built, steps) as path:
        compare(built, path)


@settings(max_examples=15)
@given(steps=st.lists(a_step, min_size=1, max_size=4), reverse=st.booleans())
def test_hot_only_is_all_but_the_segments(built: Built, steps: list[Step], reverse: bool) -> None:
    with arranged(built, steps) as path, EventLog(path) as log:
        kept = {n for low, high in listing.hot(log, built.head) for n in range(low, high + 1)}
        asked: list[dict[str, Any]] = [
            {},
            {"stream": "order-1"},
            {"category": "order"},
            {"types": ("Paid",), "limit": 3},
        ]
        for filters in asked:
            whole = {**filters, "system": "stream" not in filters, "reverse": reverse}
            every = [sealed for sealed in log.read(Query(**(whole | {"limit": None}))) if sealed[0][0] in kept]
            assert list(log.read(Query(**whole, hot_only=True))) == every[: filters.get("limit")]


# The same from the command line

COMMANDS: list[list[str]] = [
    ["replay", "--system"],
    ["replay", "-o", "csv"],
    ["replay", "-o", "raw", "--reverse"],
    ["replay", "--hash", "--last", "20"],
    ["replay", "order-1", "--since", "v2", "--until", "late"],
    ["replay", "--category", "order", "--type", "Paid", "--where", "data ->> 'n' > 1", "-o", "cloudevents"],
    ["state", "order-1", "--each"],
    ["state", "--all", "--aggregate", "order", "--until", "#40"],
    ["diff", "order-1", "--from", "v1", "-o", "ndjson"],
    ["log", "order-1", "-o", "ndjson"],
    ["log", "order-1", "--since", "v2", "-o", "ndjson"],
    ["bisect", "order-1", "--when", "version > 2", "-o", "ndjson"],
    ["show", "5", "--trace"],
    ["streams", "--system", "-o", "ndjson"],
    ["types", "-o", "ndjson"],
    ["marks", "-o", "ndjson"],
    ["query", "select type, count(*) as n from log group by type order by type", "-o", "ndjson"],
    ["upcast", "check", "-o", "ndjson"],
    ["snapshot", "verify", "-o", "ndjson"],
    ["verify", "-o", "ndjson"],
    ["head"],
]


@pytest.fixture(scope="module")
def cold(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log, archived in the file and in a folder, with a hole."""
    path = tmp_path_factory.mktemp("cold") / "log.db"
    shutil.copyfile(built.path, path)
    arrange(path, [Step("create", 30, "cold", 8, 600), Step("create", 60, None, 9, 1), Step("restore", 4)])
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_prints_what_it_printed_before(built: Built, cold: Path, esctl: Esctl, command: list[str]) -> None:
    before, after = (esctl(*command, "--log", str(path)) for path in (built.path, cold))
    assert (after.stdout, after.returncode) == (before.stdout, before.returncode)
    assert after.stderr.replace(str(cold), "LOG") == before.stderr.replace(str(built.path), "LOG")
    assert before.stdout or before.stderr


# While others archive

MANY = 6000
CHANGING = """
import sys
from pathlib import Path
from esctl.archive import creation, listing, moving
from esctl.errors import ConflictError
from esctl.log import EventLog
path = Path(sys.argv[1])
with EventLog(path, write=True, bulk=True) as log:
    while not (path.parent / "stop").exists():
        for folder in (None, path.parent / "cold"):
            list(creation.create(log, listing.hot(log, 5500), most=900, level=1, to=folder))
            for segment in listing.archived(log)[::2]:
                moving.move(log, segment, path.parent / "ice" if folder is None else None)
            for segment in listing.archived(log):
                moving.restore(log, segment)
            (path.parent / "turns").open("a").write("x")
"""
APPENDING = """
import sys
from pathlib import Path
from esctl.append.writer import Writer
from esctl.archive import creation, listing, moving
from esctl.events.event import NewEvent
from esctl.log import EventLog
path = Path(sys.argv[1])
with EventLog(path, write=True) as log:
    writer = Writer(log)
    for n in range(1, 401):
        with log.transaction():
            writer.append([NewEvent("s-%d" % (n % 3), "T", str(n), None, 1, "{}", "{}", None)])
        if n % 40 == 0:
            list(creation.create(log, listing.hot(log, n), most=25, to=path.parent / "cold" if n % 80 else None))
        if n % 100 == 0:
            moving.restore(log, listing.archived(log)[-1])
"""


@contextmanager
def beside(path: Path, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process at work on the log."""
    with subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment(), stderr=subprocess.PIPE) as other:
        try:
            yield other
        finally:
            (path.parent / "stop").touch()
            try:
                _, said = other.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                other.kill()
                raise
        assert other.returncode == 0, said.decode()


def test_who_reads_while_another_archives_misses_no_event_and_reads_none_twice(log_path: Path) -> None:
    with EventLog(log_path, write=True, bulk=True) as log:
        put(
            log, *(NewEvent(f"s-{n % 7}", "T", str(n), None, 1, f'{{"n":{n}}}', "{}", None) for n in range(1, MANY + 1))
        )
        whole, stream = b"".join(log.lines(Query())), b"".join(log.lines(Query(stream="s-3")))
        backwards = b"".join(reversed(whole.splitlines(keepends=True)))
        state, events = folding.state(log, Query(stream="s-3")), list(log.read(Query()))
    counted: dict[str, int] = {}

    def slowly(chunks: Iterator[bytes]) -> bytes:
        read = []
        for chunk in chunks:
            read.append(chunk)
            time.sleep(0.002)
        return b"".join(read)

    with beside(log_path, CHANGING), EventLog(log_path) as log:
        chance, end = Random(1), time.monotonic() + 3
        while time.monotonic() < end:
            assert slowly(log.lines(Query())) == whole
            assert slowly(log.lines(Query(reverse=True))) == backwards
            assert slowly(log.lines(Query(stream="s-3"))) == stream
            assert list(log.read(Query())) == events
            assert folding.state(log, Query(stream="s-3")) == state
            assert sum(row["events"] for row in log.store.facts().streams(None, system=True)) == MANY
            assert sum(row["events"] for row in log.store.facts().types(system=True)) == MANY
            assert log.store.facts().info()["events"] == MANY
            for n in (chance.randint(1, MANY) for _ in range(20)):
                assert log.event(f"#{n}") == events[n - 1]
                assert log.store.places().find(str(n)) == n
                assert log.store.places().version_until("s-3", n) == (n + 4) // 7
                assert log.store.places().event_at(f"s-{n % 7}", events[n - 1][0][2]) == (n, events[n - 1][2])
            counted["rounds"] = counted.get("rounds", 0) + 1
    assert counted["rounds"] > 1
    assert len((log_path.parent / "turns").read_text()) > 1  # else nothing was tried


def test_a_question_that_is_asked_while_another_archives_sees_every_event_once(log_path: Path) -> None:
    with EventLog(log_path, write=True, bulk=True) as log:
        put(log, *(NewEvent("s-1", "T", str(n), None, 1, "{}", "{}", None) for n in range(1, MANY + 1)))
    with beside(log_path, CHANGING):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with EventLog(log_path) as log:
                answer = list(log.question("select count(*) as n, sum(position) as s from log")[1])
            assert answer == [(MANY, MANY * (MANY + 1) // 2)]


def test_who_follows_while_another_archives_gets_every_event_once(log_path: Path) -> None:
    with beside(log_path, APPENDING), EventLog(log_path) as log:
        lines = b"".join(islice(log.follow(Query(limit=400)), 6_000)).splitlines()
    assert [json.loads(line)["position"] for line in lines] == list(range(1, 401))
