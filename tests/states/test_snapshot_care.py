"""Snapshots of a whole log: which a policy asks for, what is listed, verified and taken away."""

from __future__ import annotations

import json
import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import MisfitError, NotFoundError
from esctl.events.event import NewEvent
from esctl.events.json import MAX_DEPTH
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding, snapshot_care
from esctl.states.snapshots import digest
from esctl.store.folds import Fold
from esctl.store.snapshots import Snapshot
from tests.logs import IDS, alter, day, fresh, hold, put

COUNT = '[aggregate.c]\nstreams = "c-*"\n[aggregate.c.on."*"]\nadd = { n = "$.n" }\n'
EVERY = COUNT.replace("streams", "snapshot = { every = 3 }\nstreams")
ON = COUNT.replace("streams", 'snapshot = { on = ["Closed"] }\nstreams')
BOTH = COUNT.replace("streams", 'snapshot = { every = 3, on = ["Closed"] }\nstreams')
UPCAST = "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\nset = { n = 100 }\n"


def event(stream: str, type_: str = "T", n: int = 1) -> NewEvent:
    return NewEvent(stream, type_, next(IDS), None, 0, json.dumps({"n": n}), "{}", None)


def kept(log: EventLog) -> list[tuple[str, int]]:
    return [(one.stream, one.version) for one in log.store.snapshots().of()]


def forge(path: Path, **changes: Any) -> None:
    """Have every snapshot say something else, with a hash that covers it."""
    names = Snapshot._fields
    with closing(sqlite3.connect(path)) as connection:
        columns = ", ".join(f"n.{name}" for name in names if name != "stream")
        rows = connection.execute(f"select s.name, {columns} from snapshots n join streams s using (stream_id)")
        for row in rows.fetchall():
            said = Snapshot(*row)._replace(**changes)
            said = said._replace(hash=digest(said))
            connection.execute(
                "update snapshots set state = ?, latest = ?, time = ?, hash = ? where version = ?",
                (said.state, said.latest, said.time, said.hash, said.version),
            )
        connection.commit()


# Taking


def test_a_snapshot_is_of_the_stream_as_it_is_now(log: EventLog) -> None:
    put(log, event("c-1"), event("c-1", n=4))
    made = snapshot_care.take(log, "c-1")
    assert made is not None
    assert (made.stream, made.aggregate, made.version, made.position, made.state) == ("c-1", "", 2, 2, '{"n":4}')
    assert snapshot_care.record(made)["bytes"] == 7


def test_a_snapshot_taken_twice_is_kept_once(log: EventLog) -> None:
    put(log, event("c-1"))
    snapshot_care.take(log, "c-1")
    snapshot_care.take(log, "c-1")
    assert kept(log) == [("c-1", 1)]


def test_a_snapshot_continues_from_the_one_before(log: EventLog) -> None:
    hold(log, COUNT)
    for n in range(1, 4):
        put(log, event("c-1"))
        made = snapshot_care.take(log, "c-1")
        assert made is not None
        assert json.loads(made.state) == {"n": n}


def test_no_snapshot_is_taken_of_a_stream_that_is_not_there(log: EventLog) -> None:
    with pytest.raises(NotFoundError):
        snapshot_care.take(log, "c-9")


def test_what_cannot_be_folded_is_named_with_stream_and_field(log: EventLog) -> None:
    hold(log, COUNT)
    put(log, event("c-1"), NewEvent("c-1", "T", next(IDS), None, 0, '{"n":"x"}', "{}", None))
    with pytest.raises(MisfitError, match="position 3 in c-1") as raised:
        snapshot_care.take(log, "c-1")
    assert (raised.value.details["stream"], raised.value.details["field"]) == ("c-1", "aggregate.c.on.*.add.n")


def test_a_model_that_is_applied_while_a_snapshot_is_taken_does_not_make_it_a_wrong_answer(
    log: EventLog, log_path: Path
) -> None:
    class Overtaken(EventLog):
        """A log in which another process applies a model just before each transaction."""

        def transaction(self, **options: Any) -> AbstractContextManager[None]:
            with EventLog(log_path, write=True) as other:
                hold(other, COUNT + UPCAST)
            return super().transaction(**options)

    hold(log, COUNT)
    put(log, NewEvent("c-1", "T", "e-1", None, 1, '{"n":1}', "{}", None))
    with Overtaken(log_path, write=True) as overtaken:
        snapshot_care.take(overtaken, "c-1")
    assert json.loads(folding.state(log, Query(stream="c-1")).state) == {"n": 100}


def test_a_model_that_is_applied_while_many_are_taken_does_not_make_them_wrong_answers(
    log: EventLog, log_path: Path
) -> None:
    class Overtaken(EventLog):
        def transaction(self, **options: Any) -> AbstractContextManager[None]:
            with EventLog(log_path, write=True) as other:
                hold(other, COUNT + UPCAST)
            return super().transaction(**options)

    hold(log, COUNT)
    put(log, NewEvent("c-1", "T", "e-1", None, 1, '{"n":1}', "{}", None))
    with Overtaken(log_path, write=True) as overtaken:
        list(snapshot_care.take_many(overtaken, None, due=False))
    assert json.loads(folding.state(log, Query(stream="c-1")).state) == {"n": 100}
    hold(log, COUNT)
    assert json.loads(folding.state(log, Query(stream="c-1")).state) == {"n": 1}


# Many, and those that are due


@pytest.fixture
def many(log: EventLog) -> EventLog:
    """Streams with one to four events, of which the second and the last are closed; and one of another kind."""
    hold(log, COUNT)
    for n in (1, 2, 3, 4):
        put(log, *(event(f"c-{n}", "Closed" if n % 2 == 0 and i == n - 1 else "T") for i in range(n)))
    put(log, event("other"))
    return log


def test_all_are_those_of_every_aggregate(many: EventLog) -> None:
    made = list(snapshot_care.take_many(many, None, due=False))
    assert [(one.stream, one.version) for one in made] == [("c-1", 1), ("c-2", 2), ("c-3", 3), ("c-4", 4)]
    assert kept(many) == [(one.stream, one.version) for one in made]


def test_many_are_taken_in_several_transactions(many: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_care, "SNAPSHOTS_PER_TRANSACTION", 3)
    made = list(snapshot_care.take_many(many, "c", due=False))
    assert [json.loads(one.state)["n"] for one in made] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("model", "streams"),
    [(COUNT, []), (EVERY, ["c-3", "c-4"]), (ON, ["c-2", "c-4"]), (BOTH, ["c-2", "c-3", "c-4"])],
    ids=["no policy", "every", "on", "both"],
)
def test_due_are_those_that_the_policy_asks_for(many: EventLog, model: str, streams: list[str]) -> None:
    hold(many, model)
    assert [one.stream for one in snapshot_care.take_many(many, None, due=True)] == streams
    assert list(snapshot_care.take_many(many, None, due=True)) == []


def test_a_snapshot_is_due_again_when_as_many_events_have_come(many: EventLog) -> None:
    hold(many, EVERY)
    list(snapshot_care.take_many(many, None, due=True))
    put(many, event("c-3"), event("c-3"), event("c-4"))
    assert list(snapshot_care.take_many(many, None, due=True)) == []
    put(many, event("c-3"))
    assert [(one.stream, one.version) for one in snapshot_care.take_many(many, None, due=True)] == [("c-3", 6)]


def test_a_snapshot_that_went_stale_is_due_again(many: EventLog) -> None:
    hold(many, EVERY)
    list(snapshot_care.take_many(many, None, due=True))
    hold(many, EVERY.replace("$.n", "$.m"))
    assert [one.stream for one in snapshot_care.take_many(many, None, due=True)] == ["c-3", "c-4"]


# Listing


def test_what_is_listed_says_what_keeps_it_from_being_used(log: EventLog, log_path: Path) -> None:
    put(log, event("c-1"))
    snapshot_care.take(log, "c-1")
    hold(log, COUNT)
    snapshot_care.take(log, "c-1")
    hold(log, COUNT.replace("$.n", "$.m"))
    snapshot_care.take(log, "c-1", "c")
    listed = {row["aggregate"]: row["problem"] for row in snapshot_care.listed(log)}
    assert listed == {None: None, "c": None}
    hold(log, COUNT.replace("aggregate.c", "aggregate.d"))
    assert [row["problem"] for row in snapshot_care.listed(log)] == [None, "the model has no aggregate c"]
    log.close()
    alter(log_path, "update snapshots set state = '{}' where aggregate = ''")
    with EventLog(log_path) as again:
        assert next(snapshot_care.listed(again, "c-1"))["problem"] == "it is damaged"


def test_snapshots_are_listed_newest_first(log: EventLog) -> None:
    for _ in range(3):
        put(log, event("c-1"), event("c-0"))
        snapshot_care.take(log, "c-1")
        snapshot_care.take(log, "c-0")
    listed = [(row["stream"], row["version"]) for row in snapshot_care.listed(log)]
    assert listed == [("c-0", 3), ("c-0", 2), ("c-0", 1), ("c-1", 3), ("c-1", 2), ("c-1", 1)]
    assert [row["version"] for row in snapshot_care.listed(log, "c-0")] == [3, 2, 1]


# Verifying


@pytest.fixture
def taken(log: EventLog, log_path: Path) -> Path:
    hold(log, COUNT)
    for _ in range(3):
        put(log, event("c-1"))
        snapshot_care.take(log, "c-1")
    log.close()
    return log_path


def test_sound_snapshots_pass(taken: Path) -> None:
    with EventLog(taken) as log:
        assert snapshot_care.verify(log) == snapshot_care.Report(3, 0, 0, [])
        assert snapshot_care.verify(log, ["c-1"], sample=1).checked == 1


def test_a_snapshot_of_the_deepest_state_passes(log: EventLog) -> None:
    deep = '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH
    put(log, event("d-1")._replace(data=deep))
    snapshot_care.take(log, "d-1")
    report = snapshot_care.verify(log)
    assert (report.checked, report.differences) == (1, [])


def test_stale_snapshots_are_left_out(taken: Path) -> None:
    with EventLog(taken, write=True) as log:
        hold(log, COUNT.replace("$.n", "$.m"))
        assert snapshot_care.verify(log) == snapshot_care.Report(0, 3, 0, [])


def test_a_snapshot_that_was_forged_is_found_with_what_differs(taken: Path) -> None:
    forge(taken, state='{"n":2,"more":[true]}')
    with EventLog(taken) as log:
        report = snapshot_care.verify(log)
    assert (report.checked, report.stale, report.wrong) == (3, 0, 3)
    found = [(d["version"], d["path"], d["before"], d["after"]) for d in report.differences]
    assert found == [
        (3, "more[0]", "true", None), (3, "n", "2", "3"),
        (2, "more[0]", "true", None),
        (1, "more[0]", "true", None), (1, "n", "2", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["time", "latest"])
def test_a_snapshot_whose_times_were_forged_is_found(taken: Path, field: str) -> None:
    forge(taken, **{field: "2000-01-01T00:00:00.000000Z"})
    with EventLog(taken) as log:
        assert snapshot_care.verify(log).wrong == 3


@pytest.mark.parametrize("state", ["{}", "no json", '{"n":', "null", '{"n":9}', '{"n":3}'])
def test_a_damaged_snapshot_is_wrong_whatever_it_says(taken: Path, state: str) -> None:
    alter(taken, "update snapshots set state = ?, hash = x'00' where version = 3", state)
    with EventLog(taken) as log:
        report = snapshot_care.verify(log)
    assert (report.checked, report.wrong, {d["version"] for d in report.differences}) == (3, 1, {3})


# Pruning


@pytest.mark.parametrize(("keep", "versions"), [(0, []), (1, [3]), (2, [3, 2]), (9, [3, 2, 1])])
def test_the_newest_stay(taken: Path, keep: int, versions: list[int]) -> None:
    with EventLog(taken, write=True) as log:
        assert snapshot_care.prune(log, None, keep) == 3 - len(versions)
        assert [version for _, version in kept(log)] == versions


def test_those_that_are_of_no_use_go_and_do_not_count(taken: Path) -> None:
    alter(taken, "update snapshots set state = '{}' where version = 3")
    with EventLog(taken, write=True) as log:
        assert snapshot_care.prune(log, ["c-1"], 1) == 2
        assert kept(log) == [("c-1", 2)]


def test_only_the_streams_that_are_named_are_pruned(log: EventLog) -> None:
    put(log, event("c-1"), event("c-2"))
    snapshot_care.take(log, "c-1")
    snapshot_care.take(log, "c-2")
    assert snapshot_care.prune(log, ["c-1"], 0) == 1
    assert kept(log) == [("c-2", 1)]


def test_states_of_a_stream_by_several_aggregates_are_kept_apart(log: EventLog) -> None:
    hold(log, COUNT + '[aggregate.d]\nstreams = "d-*"\n')
    put(log, event("c-1"))
    snapshot_care.take(log, "c-1")
    snapshot_care.take(log, "c-1", "d")
    assert snapshot_care.prune(log, None, 1) == 0
    assert len(kept(log)) == 2


def test_a_prune_of_a_stream_that_is_not_there_changes_nothing(taken: Path) -> None:
    with EventLog(taken, write=True) as log:
        with pytest.raises(NotFoundError):
            snapshot_care.prune(log, ["c-1", "c-9"], 0)
        assert len(kept(log)) == 3


# Streams together, and one by one


FAILING = COUNT + "[[event.Bad.upcast]]\nfrom = 1\nconvert = { n = 'integer' }\n"
appended = st.lists(
    st.tuples(st.sampled_from(["c-1", "c-2", "c-3"]), st.sampled_from(["T", "Bad"]), st.sampled_from([1, 2, "x"])),
    max_size=12,
)


@settings(max_examples=40)
@given(st.lists(appended, min_size=1, max_size=3))
def test_streams_folded_together_have_the_snapshots_and_differences_of_each_folded_alone(
    rounds: list[list[tuple[str, str, Any]]],
) -> None:
    found: list[list[object]] = []
    for together in (True, False):
        with fresh() as log, patch.object(snapshot_care, "_pays", lambda _, together=together: together):
            hold(log, FAILING)
            said: list[object] = []
            for events in rounds:
                made = (
                    NewEvent(stream, type_, next(IDS), day(1), 0, json.dumps({"n": n}), "{}", None)
                    for stream, type_, n in events
                )
                put(log, *made)
                try:
                    said += [(*one[:6], one.state) for one in snapshot_care.take_many(log, None, due=False)]
                except MisfitError as error:
                    said.append((error.what, error.details.get("position")))
            said.append([(*one[:6], one.state) for one in log.store.snapshots().of()])
            said.append(snapshot_care.verify(log))
            with closing(apsw.Connection(log.path)) as connection:
                connection.execute("update snapshots set state = ? where version % 2", ('{"n":7}',)).fetchall()
            said.append(snapshot_care.verify(log))
            said.append(snapshot_care.verify(log, sample=2))
            found.append(said)
    assert found[0] == found[1]


def test_each_event_is_folded_once_however_many_snapshots_a_stream_has(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(log, COUNT)
    for _ in range(4):
        put(log, event("c-1"), event("c-2"))
        list(snapshot_care.take_many(log, None, due=False))
    versions: list[int] = []
    feed = Fold.feed_all

    def feed_all(fold: Fold, query: Query) -> list[tuple[int, str]]:
        found = feed(fold, query)
        versions.append(sum(state[0] for state in fold.all_states().values()))
        return found

    monkeypatch.setattr(Fold, "feed_all", feed_all)
    monkeypatch.delattr(Fold, "feed")
    assert snapshot_care.verify(log) == snapshot_care.Report(8, 0, 0, [])
    assert versions == [2, 4, 6, 8]
