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
from esctl.errors import VerificationError
from esctl.events import links
from esctl.events.event import Event, NewEvent
from esctl.events.links import names, value
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points import trace as traces
from esctl.store import format as storage
from esctl.store import migrations
from esctl.upkeep import copies, erasure
from tests.logs import alter, fresh, put

OLDER = Path(__file__).parents[1] / "data" / "storage-5.db"


@pytest.fixture(autouse=True)
def blocks_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "POSITIONS_PER_BLOCK", 10)


def problems(log: EventLog) -> list[str]:
    return [problem for check, _, problem in log.check(full=True) if check == "summaries"]


def entries(log: EventLog) -> list[int]:
    """The position of each link."""
    _, blocks = log.store.places().links()
    hashes = {number for event, _, _ in log.read(Query(system=True)) for number in of(event)}
    return [position for block in blocks for position in block.positions(hashes)]


def of(event: Event) -> list[int]:
    return list(links.hashes(event.id, event.meta)) if event.meta is not None else []


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
    causes, known, effects = set[str](), {*names(event.id, event.meta)}, set[str]()
    if cause := value(event.meta, "causation_id"):
        causes = {one.id for one in events if one.id == cause}
        causes = causes or {one.id for one in events if cause in names(one.id, one.meta)}
    while more := [one for one in events if one.id not in effects and value(one.meta, "causation_id") in known]:
        effects |= {one.id for one in more}
        known |= {name for one in more for name in names(one.id, one.meta)}
    return {event.id} | causes | effects


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
        assert before == list(range(1, 21))
        assert entries(log) == [position for position in before if position != 4]
        assert problems(log) == []


def test_a_fork_has_the_entries_of_its_events(tmp_path: Path) -> None:
    with fresh() as log:
        put(log, *linked(35))
        copies.fork(log, tmp_path / "fork.db", 27)
    with EventLog(tmp_path / "fork.db", write=True) as fork:
        assert entries(fork) == list(range(1, 21))
        put(fork, *linked(60)[40:])
        assert problems(fork) == []
        assert entries(fork) != list(range(1, 21))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from esctl_links", "positions 1 to 10 is not that of its events"),
        ("update esctl_links set hashes = zeroblob(length(hashes))", "positions 1 to 10 is not that of its events"),
        ("update esctl_links set offsets = zeroblob(length(offsets))", "positions 1 to 10 is not that of its events"),
        ("insert into esctl_links values (1, x'', x'')", "has blocks that are not full"),
        ("insert into esctl_links values (-1, x'', x'')", "has blocks that are not full"),
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
        assert len(entries(log)) > 50


@pytest.mark.parametrize(
    "change", ["hashes = x'00'", "offsets = x'00'", "hashes = zeroblob(40000), offsets = zeroblob(20000)"]
)
def test_links_that_are_not_whole_are_damage(log_path: Path, change: str) -> None:
    with EventLog(log_path, write=True) as log:
        put(log, *linked(12))
    alter(log_path, f"update esctl_links set {change}")
    with EventLog(log_path, write=True) as log:
        with pytest.raises(VerificationError, match="is damaged"):
            traces.trace(log, log.event("3").event)
        with pytest.raises(VerificationError, match="is damaged"):
            list(erasure.erase(log, [4], "test"))
