"""What a log holds, counted and listed."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.errors import VerificationError
from esctl.events.event import NewEvent
from esctl.log import EventLog
from esctl.store.store import Store
from tests.logs import alter, day, fresh, put
from tests.logs import event as new_event
from tests.stores import MIXED, commit


def test_names_are_those_of_the_events(mixed: Store) -> None:
    assert list(mixed.facts().names("stream")) == sorted({e[0] for e in MIXED}, key=str.encode)
    assert list(mixed.facts().names("type")) == sorted({e[1] for e in MIXED}, key=str.encode)


@pytest.mark.parametrize("prefix", ["", "a", "emoji-", 'quo"', "é", "plain-1", "plain-12", "%", "ü"])
def test_names_with_a_prefix_are_those_that_begin_so(mixed: Store, prefix: str) -> None:
    names = sorted({e[0] for e in MIXED}, key=str.encode)
    assert list(mixed.facts().names("stream", prefix)) == [name for name in names if name.startswith(prefix)]


# Counted one by one, hot and archived alike

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a-1", "a-2", "b-1"]),
        st.sampled_from(["T", "U"]),
        st.integers(1, 28).map("2026-01-{:02}T00:00:00.000000Z".format),
        st.integers(1, 2),
        st.sampled_from(["{}", "[1, 2]", '"é"']),
    ),
    min_size=1,
    max_size=12,
)
Stored = tuple[str, str, str, int, str]


def filled(log: EventLog, events: list[Stored], archived: int) -> None:
    commit(
        log.store,
        *(NewEvent(stream, type_, f"{n}", time, schema, data, "{}", None)
          for n, (stream, type_, time, schema, data) in enumerate(events)),
    )  # fmt: skip
    if archived:
        list(creation.create(log, [(1, min(archived, len(events)))], most=5))


def counted(events: list[Stored], by: int) -> list[dict[str, Any]]:
    """What facts say of each name, counted by hand."""
    groups: dict[object, list[tuple[int, Stored]]] = defaultdict(list)
    for position, event in enumerate(events, 1):
        groups[event[by]].append((position, event))
    return [
        {
            "events": len(group),
            "first_position": group[0][0],
            "last_position": group[-1][0],
            "bytes": sum(len(event[4].encode()) + 2 for _, event in group),
        }
        for _, group in sorted(groups.items(), key=str)
    ]


def some(rows: Any) -> list[dict[str, Any]]:
    return [{name: row[name] for name in ("events", "first_position", "last_position", "bytes")} for row in rows]


@settings(max_examples=30)
@given(EVENTS, st.integers(0, 12))
def test_streams_and_types_are_those_of_the_events(events: list[Stored], archived: int) -> None:
    with fresh() as log:
        filled(log, events, archived)
        facts = log.store.facts()
        assert some(facts.streams(None, system=False)) == counted(events, 0)
        assert some(facts.types(system=False)) == counted(events, 1)
        assert [row["stream"] for row in facts.streams("a-*", system=False)] == sorted(
            {stream for stream, *_ in events if stream.startswith("a-")}
        )
        assert dict(facts.matching("*")) == {stream: sum(e[0] == stream for e in events) for stream, *_ in events}


@settings(max_examples=30)
@given(EVENTS, st.integers(0, 12))
def test_the_facts_of_a_log_are_the_sums_of_its_events(events: list[Stored], archived: int) -> None:
    with fresh() as log:
        filled(log, events, archived)
        info = log.store.facts().info()
        assert (info["events"], info["streams"]) == (len(events), len({event[0] for event in events}))
        assert (info["first_time"], info["last_time"]) == (min(e[2] for e in events), max(e[2] for e in events))
        assert info["types"] == len({event[1] for event in events})
        assert info["payload_bytes"] == sum(row["bytes"] for row in counted(events, 0))


@settings(max_examples=30)
@given(EVENTS, st.integers(0, 12))
def test_stored_schema_versions_are_counted_by_type(events: list[Stored], archived: int) -> None:
    with fresh() as log:
        filled(log, events, archived)
        schemas = log.store.facts().schemas()
    kinds = [(type_, schema) for _, type_, _, schema, _ in events]
    assert [row for row in schemas if row[0] in ("T", "U")] == [(*k, kinds.count(k)) for k in sorted(set(kinds))]


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ("{}", "{}", []),
        ('{"a":1}', '{"a":2}', [("$.a", "1", "2")]),
        ('{"a":[1]}', '{"a":[1,2]}', [("$.a[1]", None, "2")]),
        ('{"a":1}', '{"a":"1"}', [("$.a", "1", '"1"')]),
    ],
)
def test_two_texts_differ_path_by_path(store: Store, before: str, after: str, paths: list[tuple[object, ...]]) -> None:
    assert store.facts().differences(before, after) == paths


def test_two_texts_of_many_fields_are_compared_in_a_moment(store: Store) -> None:
    before = json.dumps({f"k{n}": n for n in range(20_000)})
    began = time.monotonic()
    assert store.facts().differences(before, before[:-1] + ',"z":1}') == [("$.z", None, "1")]
    assert time.monotonic() - began < 10  # it takes 0.1 s; to compare each with all would take minutes


@pytest.mark.parametrize("archived", [0, 2, 4])
def test_what_happened_by_a_moment_is_counted_hot_and_archived_alike(archived: int) -> None:
    with fresh() as log:
        put(log, *(new_event("s", time=day(n)) for n in (2, 5, 3, 6)))
        log.record("MarkSet", {"name": "m", "position": 1})
        list(creation.create(log, [(1, archived)] if archived else []))
        happened = log.store.facts().happened
        assert happened(day(1)) == (0, 0, 0, 1)
        assert happened(day(4)) == (3, 2, 0, 2)
        assert happened(day(6)) == (4, 4, 0, None)
        assert happened("2999-01-01T00:00:00.000000Z") == (4, 4, 4, None)


@given(st.lists(st.text("ab+-.$é", min_size=1, max_size=5).filter(lambda name: name[0] != "$"), max_size=8))
def test_categories_are_the_names_up_to_their_first_dash(names: list[str]) -> None:
    with fresh() as log:
        with log.transaction():
            log.store.append([NewEvent(n, "T", f"e{i}", None, 1, "{}", "{}", None) for i, n in enumerate(names)])
        found = log.store.facts().categories(100)
        assert sorted(found) == sorted({name.partition("-")[0] for name in names})
        assert log.store.facts().categories(1) == found[:1]


@pytest.mark.parametrize("control", ["\n", "\x1b", "\x7f", "\x9b"])
@pytest.mark.parametrize("kind", ["stream", "type"])
def test_a_name_with_a_control_character_is_refused(filled: Path, kind: str, control: str) -> None:
    alter(filled, f"update {kind}s set name = name || ?", control)
    with closing(Store(filled)) as store:
        facts = store.facts()
        found = facts.streams(None, system=False) if kind == "stream" else facts.types(system=False)
        with pytest.raises(VerificationError, match="was altered") as raised:
            list(found)
    assert raised.value.why == f"the name of a {kind} has a control character"
