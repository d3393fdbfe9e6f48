"""Upcasts woven into reads: what is read through a model is what a reference in Python makes of the stored events."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import MisfitError
from esctl.events.event import NewEvent
from esctl.events.fields import Field
from esctl.events.query import Query, Shape
from esctl.log import EventLog
from esctl.store.store import Store
from esctl.store.windows import POSITIONS_PER_STATEMENT
from esctl.upkeep import erasure
from tests.conftest import write_empty_log, writer_of
from tests.logs import hold
from tests.stores import both_directions, commit, connection_of, event

STREAMS = ["order-1", "order-2", 'quo"te-1', "cart", "order"]
TYPES = ["A", "B", "C", 'D "é\\', "it's E"]
Stored = tuple[str, str, int, dict[str, Any]]


def new(n: int, stored: Stored) -> NewEvent:
    stream, type_, schema, data = stored
    day = f"2026-01-{1 + n % 28:02}T00:00:00.000000Z"
    return NewEvent(stream, type_, f"id {n}", day, schema, json.dumps(data, separators=(",", ":")), "{}", None)


@contextmanager
def log_of(text: str, events: list[Stored]) -> Iterator[EventLog]:
    """A log that has events, and a model that holds (the last event of it)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        write_empty_log(path)
        with EventLog(path, write=True) as log:
            with log.transaction():
                writer_of(log).append([new(n, event) for n, event in enumerate(events, 1)])
            hold(log, text)
            yield log


class Read(NamedTuple):
    """An event as it is read: with the part of a split, 0 where it is none."""

    position: int
    stream: str
    version: int
    type: str
    schema: int
    data: Any
    part: int


def of_lines(chunks: Iterator[bytes]) -> list[Read]:
    """Events as lines tell them."""
    found = (json.loads(line) for line in b"".join(chunks).splitlines())
    return [Read(*(e.get(key, 0) for key in Read._fields)) for e in found]


def both(log: EventLog, **asked: Any) -> list[Read]:
    """The events of a query, for which lines and rows say the same, as do payloads alone."""
    read = of_lines(log.lines(Query(**asked)))
    rows = [(e[0], e[1], e[2], e[4], e[5], json.loads(e[8])) for e, _, _ in log.read(Query(**asked))]
    assert rows == [event[:6] for event in read]
    payloads = [json.loads(line) for line in b"".join(log.lines(Query(**asked), "data")).splitlines()]
    assert payloads == [event.data for event in read]
    return read


# A model that has everything, and what it makes of an event, in Python

MODEL = """
[event.A]
schema = 3
[[event.A.upcast]]
from = 1
default = { d = 0 }
[[event.A.upcast]]
from = 2
rename = { a = "z" }

[[event.B.upcast]]
from = 1
type = "A"
schema = 2

[event.C]
schema = 2
[[event.C.upcast]]
from = 1
drop = true
when = "new.data ->> 'a' > 2"

[[event.'D "é\\'.upcast]]
from = 1
split = [
  { type = "A", schema = 1, set = { part = "one" } },
  { type = "it's E", schema = 1, remove = ["a"] },
  { type = 'F "\\', schema = 1 },
  { type = "C", schema = 1 },
]

[[event."it's E".upcast]]
from = 2
drop = true
"""


def reference(stored: Stored) -> list[tuple[str, int, dict[str, Any], int]]:
    """Type, schema, payload and part of what an event is read as."""
    _, type_, schema, data = stored
    if type_ == 'D "é\\' and schema == 1:
        made = [
            *reference(("", "A", 1, {**data, "part": "one"})),
            *reference(("", "it's E", 1, {k: v for k, v in data.items() if k != "a"})),
            *reference(("", 'F "\\', 1, data)),
            *reference(("", "C", 1, data)),
        ]
        return [(*one[:3], n) for n, one in enumerate(made, 1)]
    if type_ == "B" and schema == 1:
        return reference(("", "A", 2, data))
    if type_ == "A" and schema == 1:
        return reference(("", "A", 2, data if "d" in data else {**data, "d": 0}))
    if type_ == "A" and schema == 2:
        return reference(("", "A", 3, {"z" if k == "a" else k: v for k, v in data.items()}))
    if (type_ == "C" and schema == 1 and data["a"] > 2) or (type_ == "it's E" and schema == 2):
        return []
    return [(type_, 2 if type_ == "C" and schema == 1 else schema, data, 0)]


def expected(events: list[Stored], **asked: Any) -> list[Read]:
    """What a query finds."""
    versions: dict[str, int] = {}
    every: list[Read] = []
    for position, stored in enumerate(events, 1):
        stream = stored[0]
        versions[stream] = versions.get(stream, 0) + 1
        made = [(*stored[1:], 0)] if asked.get("raw_schema") else reference(stored)
        every += [Read(position, stream, versions[stream], type_, s, data, part) for type_, s, data, part in made]
    found = [
        e
        for e in every
        if asked.get("stream", e.stream) == e.stream
        and ("category" not in asked or e.stream == asked["category"] or e.stream.startswith(asked["category"] + "-"))
        and (not asked.get("types") or e.type in asked["types"])
        and asked.get("since", 1) <= e.position <= asked.get("until", len(events))
        and asked.get("since_version", 1) <= e.version <= asked.get("until_version", len(events))
        and ("where" not in asked or WHERE[asked["where"]](e))
    ]
    if "last" in asked:
        found = found[max(0, len(found) - asked["last"]) :]
    if asked.get("reverse"):
        found.reverse()
    return found[: asked.get("limit")]


WHERE: Mapping[str, Any] = {
    "data ->> 'z' > 1": lambda e: e.data.get("z", 0) > 1,
    "type = 'A' and schema = 3": lambda e: (e.type, e.schema) == ("A", 3),
    "data -> 'a' is null": lambda e: "a" not in e.data,
    "data ->> 'part' = 'one' -- of a split": lambda e: e.data.get("part") == "one",
    "position % 2": lambda e: e.position % 2 == 1,
}
a_payload = st.fixed_dictionaries({"a": st.integers(0, 4)}, optional={"d": st.integers(0, 1), "x": st.just("ü\"'\\")})
an_event = st.tuples(st.sampled_from(STREAMS), st.sampled_from(TYPES), st.integers(1, 3), a_payload)
a_count = st.integers(0, 12)
common: dict[str, Any] = {
    "types": st.lists(st.sampled_from([*TYPES, 'F "\\', "Never"]), max_size=3).map(tuple),
    "since": a_count,
    "until": a_count,
    "limit": a_count,
    "last": a_count,
    "reverse": st.booleans(),
    "where": st.sampled_from(sorted(WHERE)),
    "raw_schema": st.booleans(),
}
of_the_log = st.fixed_dictionaries({}, optional={**common, "category": st.sampled_from(["order", 'quo"te', "never"])})
of_a_stream = st.fixed_dictionaries(
    {"stream": st.sampled_from(STREAMS[:2])}, optional={**common, "since_version": a_count, "until_version": a_count}
)


@settings(max_examples=20)
@given(events=st.lists(an_event, max_size=10), asked=st.lists(of_the_log, min_size=3, max_size=6))
def test_any_read_of_any_log_through_a_model_is_what_a_reference_makes_of_it(
    events: list[Stored], asked: list[dict[str, Any]]
) -> None:
    with log_of(MODEL, events) as log:
        assert both(log) == expected(events)
        for one in asked:
            assert both(log, **one) == expected(events, **one), one


# Any model: what each of four types with three schema versions becomes, by type and schema version

Become = tuple[Any, ...]
Domain = Mapping[tuple[int, int], Become]
NAMES = ["A", "b'b", 'C "c\\', "d d"]
NEWEST = 3


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """Steps that lead on: to the next schema version, or to types that come after."""
    made: dict[tuple[int, int], Become] = {}
    for type_ in range(len(NAMES)):
        for schema in range(1, NEWEST):
            plain = st.sampled_from([("next",), ("next",), ("drop",), ("drop some",)])
            end = st.tuples(st.integers(type_ + 1, len(NAMES) - 1), st.integers(1, NEWEST))
            further = (
                st.tuples(st.just("to"), end) | st.tuples(st.just("split"), st.lists(end, min_size=1, max_size=3))
                if type_ + 1 < len(NAMES)
                else plain
            )
            made[type_, schema] = draw(plain | further)
    return made


def said(type_: int, schema: int) -> str:
    return f"set = {{ at{type_}{schema} = '$.a' }}"


def toml_of(domain: Domain) -> str:
    """The model of a domain."""
    text = "".join(f"[event.{json.dumps(name)}]\nschema = {NEWEST}\n" for name in NAMES)
    for (type_, schema), (kind, *rest) in domain.items():
        text += f"[[event.{json.dumps(NAMES[type_])}.upcast]]\nfrom = {schema}\n"
        if kind == "split":
            parts = (f"type = {json.dumps(NAMES[to])}, schema = {n}, {said(type_, schema)}" for to, n in rest[0])
            text += f"split = [{', '.join(f'{{ {part} }}' for part in parts)}]\n"
        elif kind == "to":
            text += f"type = {json.dumps(NAMES[rest[0][0]])}\nschema = {rest[0][1]}\n{said(type_, schema)}\n"
        elif kind == "drop some":
            text += "drop = true\nwhen = \"new.data ->> 'a' > 2\"\n"
        else:
            text += f"{said(type_, schema)}\n" if kind == "next" else "drop = true\n"
    return text


Ended = tuple[int, int, dict[str, Any], bool, bool]


def ends(domain: Domain, type_: int, schema: int, data: dict[str, Any]) -> list[Ended]:
    """Where an event ends up: type, schema, payload, whether it is hidden there, whether it was split."""
    if (type_, schema) not in domain:
        return [(type_, schema, data, False, False)]
    kind, *rest = domain[type_, schema]
    after = {**data, f"at{type_}{schema}": data["a"]}
    if kind == "split":
        made = [end for to, n in rest[0] for end in ends(domain, to, n, after)]
        return [(*end[:4], True) for end in made]
    if kind == "to":
        to, n = rest[0]
        return ends(domain, to, n, after)
    if kind == "drop":
        return []
    if kind == "drop some":
        return [(*e[:3], e[3] or data["a"] > 2, e[4]) for e in ends(domain, type_, schema + 1, data)]
    return ends(domain, type_, schema + 1, after)


def read_as(domain: Domain, events: list[Stored], types: tuple[str, ...], last: int | None) -> list[Read]:
    """What a log is read as."""
    made = []
    for position, (stream, name, schema, data) in enumerate(events, 1):
        for n, (type_, newest, after, hidden, split) in enumerate(ends(domain, NAMES.index(name), schema, data), 1):
            if not hidden and (not types or NAMES[type_] in types):
                made.append(Read(position, stream, position, NAMES[type_], newest, after, n if split else 0))
    return made if last is None else made[max(0, len(made) - last) :]


@settings(max_examples=20)
@given(
    domain=domains(),
    events=st.lists(
        st.tuples(
            st.just("s"),
            st.sampled_from(NAMES),
            st.integers(1, NEWEST),
            st.builds(lambda a: {"a": a}, st.integers(0, 4)),
        ),
        max_size=8,
    ),
    types=st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
    last=st.none() | st.integers(0, 6),
    stream=st.none() | st.just("s"),
)
def test_any_log_through_any_model_is_what_a_reference_makes_of_it(
    domain: Domain, events: list[Stored], types: tuple[str, ...], last: int | None, stream: str | None
) -> None:
    with log_of(toml_of(domain), events) as log:
        asked = {"types": types, "last": last, "stream": stream if events else None}
        wanted = read_as(domain, events, types, last)
        assert both(log, **asked) == wanted
        assert both(log, **asked, reverse=True) == wanted[::-1]


# A log of more than one window

MANY = 2 * POSITIONS_PER_STATEMENT + 300


@pytest.fixture(scope="module")
def many() -> list[Stored]:
    """Events for three windows; most of them are split, some hidden."""
    chance = Random(5)
    types = [*TYPES, TYPES[3], TYPES[3]]
    return [
        (chance.choice(STREAMS), chance.choice(types), chance.choice([1, 1, 2, 3]), {"a": chance.randrange(5), "n": n})
        for n in range(MANY)
    ]


@pytest.fixture(scope="module")
def large(many: list[Stored]) -> Iterator[EventLog]:
    with log_of(MODEL, many) as log:
        yield log


@settings(max_examples=20)
@given(drawn=of_the_log | of_a_stream, scale=st.sampled_from([1, 1, 100, 180]))
def test_any_filter_over_several_windows_is_the_same_filter_over_the_reference(
    large: EventLog, many: list[Stored], drawn: dict[str, Any], scale: int
) -> None:
    counted = {"since", "until", "limit", "last", "since_version", "until_version"}
    asked = {key: value * scale if key in counted else value for key, value in drawn.items()}
    assert both(large, **asked) == expected(many, **asked)


@pytest.mark.parametrize("last", [1, 2, 3, 4, 5, 999, 1000, 1001, 2500, 10_000])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stream", [None, "order-1"])
def test_the_last_so_many_may_begin_within_a_split(
    large: EventLog, many: list[Stored], last: int, *, reverse: bool, stream: str | None
) -> None:
    asked = {"last": last, "reverse": reverse} | ({"stream": stream} if stream else {})
    assert both(large, **asked) == expected(many, **asked)


@pytest.mark.parametrize("limit", [1, 2, 3, 999, 1000, 1001, 3001])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_limit_may_end_within_a_split(large: EventLog, many: list[Stored], limit: int, *, reverse: bool) -> None:
    assert both(large, limit=limit, reverse=reverse) == expected(many, limit=limit, reverse=reverse)


def test_parts_come_in_their_order_and_backwards_in_reverse(large: EventLog) -> None:
    keys = [(event.position, event.part) for event in both(large)]
    assert keys == sorted(keys)
    assert [(event.position, event.part) for event in both(large, reverse=True)] == keys[::-1]


# Following


def test_following_sees_what_reading_sees_and_then_what_comes(log_path: Path) -> None:
    events: list[Stored] = [("order-1", type_, 1, {"a": n}) for n, type_ in enumerate([*TYPES, *TYPES])]
    write_empty_log(second := log_path.with_name("second.db"))
    with EventLog(second, write=True) as writer, EventLog(second) as reader:
        with writer.transaction():
            writer_of(writer).append([new(n, event) for n, event in enumerate(events[:6], 1)])
        hold(writer, MODEL)
        following = reader.follow(Query(types=("A", 'F "\\')))
        seen = b""
        while chunk := next(following):
            seen += chunk
        with writer.transaction():
            writer_of(writer).append([new(n, event) for n, event in enumerate(events[6:], 7)])
        while not (chunk := next(following)):
            pass
        seen += chunk
        assert seen == b"".join(reader.lines(Query(types=("A", 'F "\\'))))


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
def test_following_ends_at_its_limit_even_within_a_split(limit: int) -> None:
    events: list[Stored] = [("s", TYPES[3], 1, {"a": 1}), ("s", TYPES[3], 1, {"a": 1})]
    with log_of(MODEL, events) as log:
        assert of_lines(chunk for chunk in log.follow(Query(limit=limit)) if chunk) == both(log, limit=limit)


def test_following_sees_a_model_that_is_applied_meanwhile() -> None:
    with log_of("", [("s", "A", 1, {"a": 1})]) as log, EventLog(log.path) as reader:
        following = reader.follow(Query())
        first = of_lines(islice(following, 1))
        hold(log, MODEL)
        with log.transaction():
            writer_of(log).append([new(2, ("s", "A", 1, {"a": 2}))])
        second = of_lines(islice((chunk for chunk in following if chunk), 1))
        assert [(event.schema, event.data) for event in first] == [(1, {"a": 1})]
        assert [(event.schema, event.data) for event in second] == [(3, {"z": 2, "d": 0})]


# Names, sizes, hidden events


def test_a_type_filter_finds_old_names_and_only_what_is_read_so() -> None:
    events: list[Stored] = [("s", "B", 1, {"a": 1}), ("s", "B", 2, {"a": 2}), ("s", "A", 3, {"z": 3})]
    with log_of(MODEL, events) as log:
        assert [event.position for event in both(log, types=("A",))] == [1, 3]
        assert [event.position for event in both(log, types=("B",))] == [2]
        assert [event.position for event in both(log, types=("B",), raw_schema=True)] == [1, 2]
        assert [event.position for event in both(log, types=("A", "B"))] == [1, 2, 3]
        assert both(log, types=("Never",)) == []


def test_a_filter_finds_a_type_that_nothing_is_stored_as() -> None:
    with log_of(MODEL, [("s", TYPES[3], 1, {"a": 1})]) as log:
        assert [(event.type, event.part) for event in both(log, types=('F "\\',))] == [('F "\\', 3)]


def test_hashes_are_of_what_is_stored() -> None:
    with log_of(MODEL, [("s", "B", 1, {"a": 1})]) as log:
        (line,) = b"".join(log.lines(Query(), "hash")).splitlines()
        assert json.loads(line)["type"] == "B"
        assert json.loads(line)["data"] == {"a": 1}
        assert "part" not in json.loads(line)


def test_a_line_that_is_no_part_says_nothing_of_parts() -> None:
    with log_of(MODEL, [("s", TYPES[3], 1, {"a": 1}), ("s", "A", 1, {"a": 1})]) as log:
        parts = [json.loads(line).get("part") for line in b"".join(log.lines(Query())).splitlines()]
        assert parts == [1, 2, 3, 4, None]
        keys = list(json.loads(b"".join(log.lines(Query())).splitlines()[0]))
        assert keys.index("part") == keys.index("version") + 1


def test_a_log_whose_events_are_all_hidden_reads_as_empty() -> None:
    with log_of("[[event.A.upcast]]\nfrom = 1\ndrop = true", [("s", "A", 1, {})] * 3) as log:
        assert both(log) == both(log, stream="s") == both(log, last=2) == both(log, reverse=True) == []
        assert len(both(log, raw_schema=True)) == 3


def test_a_drop_whose_condition_is_null_hides_nothing() -> None:
    text = "[event.A]\nschema = 2\n[[event.A.upcast]]\nfrom = 1\ndrop = true\nwhen = \"new.data ->> 'gone'\""
    with log_of(text, [("s", "A", 1, {}), ("s", "A", 1, {"gone": True}), ("s", "A", 1, {"gone": 0})]) as log:
        assert [event.position for event in both(log)] == [1, 3]


@pytest.mark.parametrize("sql", ["new.type = 'A'", "new.schema = 1", "new.stream = 's'", "new.version = 1"])
def test_the_condition_of_a_drop_sees_the_event(sql: str) -> None:
    text = f"[event.A]\nschema = 2\n[[event.A.upcast]]\nfrom = 1\ndrop = true\nwhen = {json.dumps(sql)}"
    with log_of(text, [("s", "A", 1, {})]) as log:
        assert both(log) == []


@pytest.mark.parametrize(
    ("sql", "hidden"),
    [("new.stream = 'test'", True), ("new.stream = 'other'", False), ("new.data ->> 'a' = 1", False)],
)
def test_an_erased_event_stays_hidden_if_that_does_not_depend_on_its_payload(sql: str, hidden: bool) -> None:
    text = f"[event.A]\nschema = 2\n[[event.A.upcast]]\nfrom = 1\ndrop = true\nwhen = {json.dumps(sql)}"
    with log_of(text, [("test", "A", 1, {"a": 1})]) as log:
        list(erasure.erase(log, [1], "asked"))
        assert [event.data for event, _, _ in log.read(Query())] == ([] if hidden else [None])


def test_an_erased_event_is_read_under_its_new_type() -> None:
    text = "[[event.A.upcast]]\nfrom = 1\ntype = 'B'\nset = { a = 1 }\nadd = { n = '$.n' }"
    with log_of(text, [("s", "A", 1, {"n": 1})]) as log:
        list(erasure.erase(log, [1], "asked"))
        ((event, _, _),) = log.read(Query())
        assert (event.type, event.data is None) == ("B", True)


def test_the_condition_of_a_drop_sees_what_the_steps_before_it_made() -> None:
    text = (
        "[event.A]\nschema = 3\n[[event.A.upcast]]\nfrom = 1\nrename = { a = 'b' }\n"
        "[[event.A.upcast]]\nfrom = 2\ndrop = true\nwhen = \"new.data ->> 'b' = 1\""
    )
    with log_of(text, [("s", "A", 1, {"a": 1}), ("s", "A", 1, {"a": 2}), ("s", "A", 2, {"b": 1})]) as log:
        assert [event.position for event in both(log)] == [2]


def test_an_expression_sees_the_type_and_schema_that_its_step_begins_at() -> None:
    text = (
        "[[event.A.upcast]]\nfrom = 1\ncompute = { one = 'new.type || new.schema' }\n"
        "[[event.A.upcast]]\nfrom = 2\ntype = 'B'\nschema = 4\n"
        "[event.B]\nschema = 5\n[[event.B.upcast]]\nfrom = 4\ncompute = { two = 'new.type || new.schema' }\n"
    )
    with log_of(text, [("s", "A", 1, {})]) as log:
        assert both(log)[0].data == {"one": "A1", "two": "B4"}


def test_an_event_that_does_not_fit_is_named_and_those_before_it_are_read() -> None:
    text = "[[event.A.upcast]]\nfrom = 1\nconvert = { a = 'number' }"
    events: list[Stored] = [("s", "A", 1, {"a": "1"})] * (POSITIONS_PER_STATEMENT + 2) + [("s", "A", 1, {"a": "x"})]
    with log_of(text, events) as log:
        seen: list[bytes] = []
        with pytest.raises(MisfitError) as refused:
            seen.extend(log.lines(Query()))
        assert refused.value.details["position"] == POSITIONS_PER_STATEMENT + 3
        assert b"".join(seen).count(b"\n") >= POSITIONS_PER_STATEMENT
        assert len(both(log, until=POSITIONS_PER_STATEMENT + 2)) == POSITIONS_PER_STATEMENT + 2
        assert len(both(log, raw_schema=True)) == POSITIONS_PER_STATEMENT + 3


def test_an_event_that_does_not_fit_is_no_matter_to_who_does_not_ask_for_it() -> None:
    text = "[[event.A.upcast]]\nfrom = 1\nconvert = { a = 'number' }"
    with log_of(text, [("s", "A", 1, {"a": "x"}), ("t", "B", 1, {})]) as log:
        assert [event.position for event in both(log, stream="t")] == [2]
        assert [event.position for event in both(log, types=("B",))] == [2]
        assert [event.position for event in both(log, since=2)] == [2]


def test_large_payloads_are_split_and_read_in_steps() -> None:
    big = "x" * 3_000_000
    events: list[Stored] = [("s", TYPES[3], 1, {"a": 1, "big": big + str(n)}) for n in range(6)]
    with log_of(MODEL, events) as log:
        assert both(log) == expected(events)
        assert both(log, last=3, reverse=True) == expected(events, last=3, reverse=True)
        assert both(log, limit=5) == expected(events, limit=5)


def test_names_with_quotes_come_out_of_upcasts_as_they_went_in() -> None:
    text = '[[event.A.upcast]]\nfrom = 1\ntype = \'the "new" \\ one\'\n[[event."it\'s".upcast]]\nfrom = 1\ntype = "\'"'
    with log_of(text, [("s", "A", 1, {}), ("s", "it's", 1, {})]) as log:
        assert [event.type for event in both(log)] == ['the "new" \\ one', "'"]
        assert [event.position for event in both(log, types=("'",))] == [2]


def test_a_model_for_types_that_the_log_does_not_have_changes_nothing() -> None:
    with log_of("[[event.Never.upcast]]\nfrom = 1\nset = { a = 9 }", [("s", "A", 1, {"a": 1})]) as log:
        assert both(log) == both(log, raw_schema=True)
        assert both(log, types=("Never",)) == []


def test_the_logs_own_events_are_never_upcast() -> None:
    text = "[[event.ModelApplied.upcast]]\nfrom = 1\ndrop = true"
    with log_of(text, [("s", "A", 1, {})]) as log:
        assert [event[4] for event, _, _ in log.read(Query(system=True))] == ["A", "ModelApplied"]
        assert log.definitions.position == 2


@both_directions
def test_an_event_is_upcast_once_however_often_its_payload_is_used(store: Store, reverse: bool) -> None:
    commit(store, *(event(data=json.dumps({"n": n})) for n in range(5)))
    counted: list[object] = []

    def count(*data: Any) -> Any:
        counted.extend(data)
        return data[0]

    connection_of(store).create_scalar_function("counted", count, 1)
    upcasting = {"OrderPlaced": {1: (Shape("OrderPlaced", 2, "counted(new.data)", 0, None),)}}
    asked = Query(where="data ->> 'n' > 0 and data ->> 'n' < 4", reverse=reverse)
    fields = [Field("data.n"), Field("data.n")]
    assert list(store.values(asked, fields, upcasting)) == [(n, n) for n in ("321" if reverse else "123")]
    assert len(counted) == 5


def test_an_event_whose_payload_is_not_used_is_not_upcast(store: Store) -> None:
    commit(store, event())
    upcasting = {"OrderPlaced": {1: (Shape("OrderPlaced", 2, "json(new.id)", 0, None),)}}
    with pytest.raises(MisfitError):
        list(store.values(Query(), [Field("data")], upcasting))
    assert list(store.values(Query(), [Field("position")], upcasting)) == [("1",)]


def test_a_chain_of_many_steps_is_woven() -> None:
    text = "".join(f"[[event.A.upcast]]\nfrom = {n}\nrename = {{ k{n} = 'k{n + 1}' }}\n" for n in range(1, 30))
    with log_of(text, [("s", "A", 1, {"k1": 1.5}), ("s", "A", 29, {"k29": 2})]) as log:
        assert [event.data for event in both(log)] == [{"k30": 1.5}, {"k30": 2}]


@pytest.mark.parametrize("count", [1, 200])
def test_a_model_of_many_types_is_woven(count: int) -> None:
    text = "".join(f"[[event.T{n}.upcast]]\nfrom = 1\nset = {{ n = {n} }}\n" for n in range(count))
    events: list[Stored] = [("s", f"T{n}", 1, {}) for n in range(count)]
    with log_of(text, events) as log:
        assert [event.data for event in both(log)] == [{"n": n} for n in range(count)]
