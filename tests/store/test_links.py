"""The index of what links events finds what a look at every event finds, whatever happens to the log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation, listing, moving
from esctl.events.event import Event, NewEvent
from esctl.events.links import names, value
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points import trace as traces
from esctl.store import format as storage
from esctl.store import migrations
from esctl.upkeep import copies, erasure
from tests.logs import alter, fresh, put
from tests.stores import connection_of

OLDER = Path(__file__).parents[1] / "data" / "storage-5.db"


@pytest.fixture(autouse=True)
def blocks_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "POSITIONS_PER_BLOCK", 10)


def problems(log: EventLog) -> list[str]:
    return [problem for check, _, problem in log.check(full=True) if check == "summaries"]


def entries(log: EventLog) -> list[tuple[int, int]]:
    found: Any = connection_of(log.store).execute("select * from esctl_links order by 2, 1").fetchall()
    return list(found)


def chosen(random: Random, first: int, count: int) -> Iterator[NewEvent]:
    """Events of which some name others, by ids that are there, come later or never do."""
    for n in range(first, first + count):
        meta: dict[str, Any] = {}
        if random.random() < 0.5:
            other = random.randrange(first + count + 9)
            meta["causation_id"] = random.choice([f"e{other}", f"/s/{other}", f"{other}", 7])
        if random.random() < 0.3:
            meta["correlation_id"] = random.choice(["c", "d", 1, "1"])
        if random.random() < 0.3:
            meta["source"] = "/s"
        yield made(f"/s/{n}" if "source" in meta else f"e{n}", meta)


def made(event_id: str, meta: dict[str, Any]) -> NewEvent:
    return NewEvent("s-1", "T", event_id, None, 0, "{}", json.dumps(meta), None)


def linked(count: int) -> list[NewEvent]:
    return [made(f"e{n}", {"causation_id": f"e{n - 3}", "correlation_id": "c"}) for n in range(count)]


def by_a_look_at_each(log: EventLog, event: Event) -> set[str]:
    """The ids of what is related to an event."""
    events = [one for one, _, _ in log.read(Query(system=True))]
    raw = [json.loads(one.meta).get("correlation_id") if one.meta else None for one in events]
    own = json.loads(event.meta or "{}").get("correlation_id")
    if own is not None:
        return {one.id for one, of in zip(events, raw, strict=True) if of == own and type(of) is type(own)}
    found, known = {event.id}, {*names(event.id, event.meta)}
    if cause := value(event.meta, "causation_id"):
        exact = {one.id for one in events if one.id == cause}
        found |= exact or {one.id for one in events if cause in names(one.id, one.meta)}
    while True:
        more = [one for one in events if value(one.meta, "causation_id") in known and one.id not in found - {event.id}]
        names_ = {name for one in more for name in names(one.id, one.meta)}
        found |= {one.id for one in more}
        if names_ <= known:
            return found
        known |= names_


STEPS = st.lists(st.tuples(st.sampled_from(["append", "archive", "restore", "erase"]), st.integers(0, 99)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_a_trace_finds_what_a_look_at_each_event_finds(seed: int, steps: list[tuple[str, int]]) -> None:
    random = Random(seed)
    with fresh() as log:
        for step, n in [("append", 30), *steps]:
            head = log.head().position
            if step == "append":
                put(log, *chosen(random, head, n % 40))
            elif step == "archive":
                list(creation.create(log, listing.hot(log, n % (head + 1)), most=10))
            elif step == "restore" and (archived := listing.archived(log)):
                moving.restore(log, archived[n % len(archived)])
            elif step == "erase":
                event = log.event(str(1 + n % head)).event
                if event.data is not None and event.stream == "s-1":
                    list(erasure.erase(log, [event.position], "test"))
        assert problems(log) == []
        for position in random.sample(range(1, log.head().position + 1), 8):
            event = log.event(str(position)).event
            assert {one.event.id for one in traces.trace(log, event)} == by_a_look_at_each(log, event)


def test_an_erased_event_has_no_entry() -> None:
    with fresh() as log:
        put(log, *linked(20))
        before = entries(log)
        list(erasure.erase(log, [4], "test"))
        assert entries(log) == [row for row in before if row[1] != 4]
        assert len(before) - len(entries(log)) == 2


def test_a_fork_has_the_entries_of_its_events(tmp_path: Path) -> None:
    with fresh() as log:
        put(log, *linked(35))
        copies.fork(log, tmp_path / "fork.db", 27)
    with EventLog(tmp_path / "fork.db", write=True) as fork:
        assert {position for _, position in entries(fork)} == set(range(1, 21))
        put(fork, *linked(60)[40:])
        assert problems(fork) == []
        assert max(entries(fork))[1] > 0


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from esctl_links where position = 5", "does not have this event"),
        ("insert into esctl_links values (1, 5)", "has 1 entries of no event"),
    ],
)
def test_an_altered_index_is_found(log_path: Path, sql: str, said: str) -> None:
    with EventLog(log_path, write=True) as log:
        put(log, *linked(12))
    alter(log_path, sql)
    with EventLog(log_path) as log:
        assert [said in problem for problem in problems(log)] == [True]


def test_a_rolled_back_transaction_leaves_no_entry() -> None:
    with fresh() as log:
        with log.transaction(keep=False):
            log.store.append(linked(30))
        assert entries(log) == []


def test_a_migrated_log_has_the_entries_of_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    shutil.copy(OLDER, tmp_path / "log.db")
    migrations.migrate(tmp_path / "log.db")
    with EventLog(tmp_path / "log.db") as log:
        assert problems(log) == []
        assert len(entries(log)) > 100
