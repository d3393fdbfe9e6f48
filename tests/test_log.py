"""Laws of a log: what goes in comes out, in order, byte for byte, whatever is asked for and however it was cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from esctl.errors import NotFoundError, VerificationError
from esctl.events.event import Event, NewEvent, new_ids
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.log import EventLog
from tests.conftest import write_empty_log, writer_of
from tests.logs import alter, fresh
from tests.strategies import text


def commit(log: EventLog, events: list[NewEvent]) -> None:
    with log.transaction():
        writer_of(log).append(events)


def replayed(log: EventLog, **filters: Any) -> list[Event]:
    return [event for event, _, _ in log.read(Query(**filters))]


def lines(log: EventLog, **filters: Any) -> list[bytes]:
    return b"".join(log.lines(Query(**filters))).splitlines(keepends=True)


# What events may be

blank = st.sampled_from(["", "", "", " ", "\t", "  "])
number = st.sampled_from(
    ["0", "-0", "0.0", "-0.0", "1.0", "99.90", "1E400", "1e-7", "-1.5e+30", "12345678901234567890123",
     "0.1000000000000000055"]
)  # fmt: skip
quoted = st.builds(lambda value, ascii_: json.dumps(value, ensure_ascii=ascii_), text, st.booleans())
scalar = number | quoted | st.sampled_from(["true", "false", "null"]) | st.integers().map(str)


def _array(values: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.lists(st.tuples(blank, values, blank).map("".join), max_size=3).map(lambda items: f"[{','.join(items)}]")


def _object(values: SearchStrategy[str]) -> SearchStrategy[str]:
    pair = st.tuples(blank, quoted, blank, values, blank)
    pairs = st.lists(pair, max_size=3, unique_by=lambda p: str(json.loads(p[1])))
    return pairs.map(lambda items: "{" + ",".join(f"{p[0]}{p[1]}{p[2]}:{p[3]}{p[4]}" for p in items) + "}")


json_text = st.recursive(scalar, lambda values: _array(values) | _object(values), max_leaves=6)
json_object = _object(json_text)
some_name = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=6)
stream_name = st.sampled_from(
    ["order-1", "order-2", "orders", "order", 'quo"te-1', "back\\slash-é"]
) | some_name.filter(lambda name: not name.startswith("$"))
type_name = st.sampled_from(["OrderPlaced", "OrderClosed", 'Quo"ted']) | some_name
moment = st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z")


@st.composite
def inputs(draw: DrawFn) -> list[dict[str, str]]:
    """Events as the JSON text of each key of a line; id, time, schema and meta may be left out."""
    made = draw(
        st.lists(
            st.fixed_dictionaries(
                {"stream": stream_name.map(json.dumps), "type": type_name.map(json.dumps), "data": json_text},
                optional={
                    "time": moment.map(json.dumps),
                    "schema": st.integers(1, 9).map(str),
                    "meta": json_object,
                },
            ),
            max_size=12,
        )
    )
    for n, event in enumerate(made):
        if draw(st.booleans()):
            event["id"] = json.dumps(f"{draw(some_name)} {n}")
    return made


def parsed(events: list[dict[str, str]]) -> list[NewEvent]:
    parse = parser(Defaults())
    return [parse(("{" + ",".join(f'"{key}":{text}' for key, text in e.items()) + "}").encode()) for e in events]


def as_json(name: object) -> str:
    return json.dumps(name, ensure_ascii=False)


def in_batches(log: EventLog, events: list[NewEvent], sizes: list[int]) -> None:
    """Append in transactions of the sizes given; the last takes what is left."""
    rest = iter(events)
    for size in sizes:
        commit(log, list(islice(rest, size)))
    commit(log, list(rest))


# The laws


@settings(max_examples=25)
@given(events=inputs())
def test_what_is_appended_is_what_is_replayed_byte_for_byte(events: list[dict[str, str]]) -> None:
    with fresh() as log:
        commit(log, parsed(events))
        recorded = log.head()[2]
        written, versions = lines(log), dict[str, int]()
        assert len(written) == len(events)
        for position, (given_, line) in enumerate(zip(events, written, strict=True), 1):
            stream = json.loads(given_["stream"])
            versions[stream] = versions.get(stream, 0) + 1
            said = json.loads(line)
            named = {key: json.loads(given_[key]) if key in given_ else said[key] for key in ("id", "type")}
            time = json.loads(given_["time"]) if "time" in given_ else recorded
            expected = (
                f'{{"position":{position},"stream":{as_json(stream)},"version":{versions[stream]},'
                f'"id":{as_json(named["id"])},"type":{as_json(named["type"])},"schema":{given_.get("schema", "1")},'
                f'"time":"{time}","recorded":"{recorded}",'
                f'"data":{given_["data"]},"meta":{given_.get("meta", "{}")}}}\n'
            )
            assert line.decode() == expected


@settings(max_examples=25)
@given(events=inputs())
def test_an_event_without_an_id_gets_one_of_its_own(events: list[dict[str, str]]) -> None:
    with fresh() as log:
        commit(log, parsed(events))
        ids = [event[3] for event in replayed(log)]
        assert len(set(ids)) == len(ids)
        made = [id_ for id_, event in zip(ids, events, strict=True) if "id" not in event]
        assert all(
            re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id_) for id_ in made
        )
        assert made == sorted(made)


@settings(max_examples=25)
@given(events=inputs(), cut=st.integers(0, 13))
def test_until_a_position_and_then_the_rest_is_everything(events: list[dict[str, str]], cut: int) -> None:
    with fresh() as log:
        commit(log, parsed(events))
        assert replayed(log, until=cut) + replayed(log, since=cut + 1) == replayed(log)
        assert lines(log, until=cut) + lines(log, since=cut + 1) == lines(log)


@settings(max_examples=25)
@given(events=inputs(), sizes=st.lists(st.integers(0, 5), max_size=4))
def test_the_log_is_the_same_whatever_the_batches_but_for_times_and_hashes(
    events: list[dict[str, str]], sizes: list[int]
) -> None:
    batch = parsed(events)
    with fresh() as one, fresh() as other:
        commit(one, batch)
        in_batches(other, batch, sizes)
        assert [(*e[:6], *e[8:]) for e in replayed(one)] == [(*e[:6], *e[8:]) for e in replayed(other)]
        assert [e[6] for e in replayed(one) if e[6] != e[7]] == [e[6] for e in replayed(other) if e[6] != e[7]]


@settings(max_examples=25)
@given(events=inputs(), sizes=st.lists(st.integers(0, 5), max_size=4))
def test_appending_everything_again_changes_nothing(events: list[dict[str, str]], sizes: list[int]) -> None:
    batch = parsed(events)
    with fresh() as log:
        commit(log, batch)
        before = list(log.read(Query())), log.head()
        in_batches(log, batch, sizes)
        assert (list(log.read(Query())), log.head()) == before


@settings(max_examples=25)
@given(events=inputs(), sizes=st.lists(st.integers(0, 5), max_size=4))
def test_the_log_as_it_stood_then_is_a_prefix(events: list[dict[str, str]], sizes: list[int]) -> None:
    with fresh() as log:
        in_batches(log, parsed(events), sizes)
        everything = replayed(log)
        for moment in {event[7] for event in everything}:
            assert replayed(log, as_of=moment) == [event for event in everything if event[7] <= moment]
        assert [event[7] for event in everything] == sorted(event[7] for event in everything)


@settings(max_examples=25)
@given(events=inputs())
def test_a_replay_appended_to_another_log_is_the_same_log(events: list[dict[str, str]]) -> None:
    parse = parser(Defaults())
    with fresh() as one, fresh() as other:
        commit(one, parsed(events))
        commit(other, [parse(line) for line in lines(one)])
        assert [(*e[:7], *e[8:]) for e in replayed(one)] == [(*e[:7], *e[8:]) for e in replayed(other)]


# Queries: any combination of filters is the same filter in Python over the whole replay

TIMES = [f"2026-01-{day:02}T00:00:00.000000Z" for day in range(1, 8)]
STREAMS = ["order-1", "order-2", "order", "orders-1", "order.1", 'quo"te-1', "order-1-a", "o"]
TYPES = ["Placed", "Closed", 'Quo"ted']
COUNT = 60


def _searched() -> list[NewEvent]:
    ids, chance = new_ids(), Random(1)
    return [
        NewEvent(
            chance.choice(STREAMS), chance.choice(TYPES), next(ids), chance.choice(TIMES), 1, f'{{"n":{n}}}', "{}", None
        )
        for n in range(COUNT)
    ]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log of several transactions, to be asked in every way."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    write_empty_log(path)
    events = _searched()
    with EventLog(path, write=True) as log:
        in_batches(log, events, [7, 13, 1, 20])
    with EventLog(path) as log:
        yield log


def chosen(events: list[Event], asked: dict[str, Any]) -> list[Event]:
    """The same filters, in Python."""

    def within(value: Any, low: str, high: str) -> bool:
        return bool(asked.get(low, value) <= value <= asked.get(high, value))

    found = [
        e
        for e in events
        if asked.get("stream", e[1]) == e[1]
        and ("category" not in asked or e[1] == asked["category"] or e[1].startswith(asked["category"] + "-"))
        and (not asked.get("types") or e[4] in asked["types"])
        and within(e[0], "since", "until")
        and within(e[2], "since_version", "until_version")
        and within(e[6], "since_time", "until_time")
        and e[7] <= asked.get("as_of", e[7])
    ]
    if "last" in asked:
        found = found[max(0, len(found) - asked["last"]) :]
    if asked.get("reverse"):
        found.reverse()
    return found[: asked.get("limit")]


a_position = st.integers(0, COUNT + 5)
a_time = st.sampled_from([*TIMES, "2025-12-31T00:00:00.000000Z", "2026-01-03T12:00:00.000000Z"])
a_count = st.integers(0, 12) | st.just(1000)
common = {
    "types": st.lists(st.sampled_from([*TYPES, "Never"]), max_size=3).map(tuple),
    "since": a_position,
    "until": a_position,
    "since_time": a_time,
    "until_time": a_time,
    "as_of": a_position,
    "limit": a_count,
    "last": a_count,
    "reverse": st.booleans(),
}
a_category = st.sampled_from(["order", "orders", "order-1", 'quo"te', "o", "never", "order."])
of_the_log = st.fixed_dictionaries({}, optional={**common, "category": a_category})
a_version = st.integers(0, 12)
of_a_stream = st.fixed_dictionaries(
    {"stream": st.sampled_from(STREAMS[:2] + STREAMS[4:6])},
    optional={**common, "since_version": a_version, "until_version": a_version},
)


def asked_of(events: list[Event], drawn: dict[str, Any]) -> dict[str, Any]:
    """The filters with `as_of`, drawn as a position, made the recorded time of its event."""
    if "as_of" not in drawn:
        return drawn
    at = drawn["as_of"]
    return drawn | {"as_of": events[at][7] if at < len(events) else "2000-01-01T00:00:00.000000Z"}


def test_the_log_that_is_searched_has_what_the_filters_look_for(searched: EventLog) -> None:
    events = replayed(searched)
    assert len({event[7] for event in events}) > 1
    assert {event[4] for event in events} == set(TYPES)
    assert {"order-1", "order-2", "order.1", 'quo"te-1'} <= {event[1] for event in events} <= set(STREAMS)


@settings(max_examples=120)
@given(drawn=of_the_log)
def test_any_combination_of_filters_is_the_same_filter_over_the_replay(
    searched: EventLog, drawn: dict[str, Any]
) -> None:
    events = replayed(searched)
    asked = asked_of(events, drawn)
    assert replayed(searched, **asked) == chosen(events, asked)


@settings(max_examples=120)
@given(drawn=of_a_stream)
def test_any_combination_of_filters_on_a_stream_is_the_same_filter_over_the_replay(
    searched: EventLog, drawn: dict[str, Any]
) -> None:
    events = replayed(searched)
    asked = asked_of(events, drawn)
    assert replayed(searched, **asked) == chosen(events, asked)


@settings(max_examples=60)
@given(drawn=of_the_log | of_a_stream)
def test_lines_are_those_of_the_same_events(searched: EventLog, drawn: dict[str, Any]) -> None:
    events = replayed(searched)
    asked = asked_of(events, drawn)
    assert [json.loads(line)["position"] for line in lines(searched, **asked)] == [e[0] for e in chosen(events, asked)]


# Streams that are not there


@pytest.mark.parametrize(
    ("asked", "near"),
    [("order-3", "order-1"), ("ordr-1", "order-1"), ("Order-1", "order-1"), ('quo"te-2', 'quo"te-1')],
)
def test_a_stream_that_is_not_there_is_told_with_those_that_come_near(
    searched: EventLog, asked: str, near: str
) -> None:
    with pytest.raises(NotFoundError, match=re.escape(f"there is no stream {asked}")) as caught:
        searched.read(Query(stream=asked))
    assert near in caught.value.why
    assert caught.value.fix
    assert caught.value.details["stream"] == asked


def test_a_stream_that_nothing_comes_near_is_told_without_a_guess(searched: EventLog) -> None:
    with pytest.raises(NotFoundError) as caught:
        searched.lines(Query(stream="entirely-other"))
    assert "did you mean" not in caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize("filters", [{"category": "never"}, {"types": ("Never",)}, {"since": 1000}], ids=str)
def test_filters_that_nothing_meets_find_nothing_and_are_no_error(searched: EventLog, filters: dict[str, Any]) -> None:
    assert lines(searched, **filters) == []


def test_an_undone_append_does_not_make_a_stream(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        with log.transaction(keep=False):
            writer_of(log).append([NewEvent("order-1", "Placed", "id-1", None, 1, "{}", "{}", None)])
        with pytest.raises(NotFoundError):
            log.read(Query(stream="order-1"))


# Names that an editor changed


@pytest.mark.parametrize(
    "sql",
    [
        "update streams set name = name || char(10)",
        "update types set name = name || char(27)",
        "update events set id = id || char(155)",
        "update events set time = char(13)",
        "update events set data = char(34, 27, 34)",
    ],
)
def test_an_event_with_a_control_character_is_refused(log_path: Path, sql: str) -> None:
    with EventLog(log_path, write=True) as log:
        commit(log, [NewEvent("s", "T", "e", None, 1, "{}", "{}", None)])
    alter(log_path, sql)
    with EventLog(log_path) as log, pytest.raises(VerificationError, match="was altered") as raised:
        replayed(log)
    assert raised.value.why == "the event at position 1 has a control character"
