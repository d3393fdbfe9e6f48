"""Copy and replace: a new log in which every event has its newest schema; and chains of upcasts, step by step."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl import open_log
from esctl.errors import MisfitError, NotFoundError, UnavailableError, UsageError
from esctl.events import system
from esctl.events.event import NewEvent, SealedEvent
from esctl.events.query import Query
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.points.points import query_of
from tests.conftest import write_empty_log, writer_of

MODEL = """
[event.Placed]
schema = 3
[[event.Placed.upcast]]
from = 1
default = { discount = 0 }
[[event.Placed.upcast]]
from = 2
rename = { amount = "total" }

[[event.PaidV0.upcast]]
from = 1
type = "Paid"
schema = 1

[[event.Cart.upcast]]
from = 1
split = [
    { type = "Placed", schema = 2, rename = { sum = "amount" } },
    { type = "Emptied", schema = 1, remove = ["sum"] },
]

[[event.Heartbeat.upcast]]
from = 1
drop = true

[aggregate.order]
streams = "o-*"
initial = { n = 0 }
on."*".add = { n = 1 }
"""
EVENTS: list[dict[str, Any]] = [
    {"stream": "o-1", "type": "Placed", "id": "a", "schema": 1, "data": {"amount": 1}, "meta": {"actor": "zoe"}},
    {"stream": "o-1", "type": "Cart", "id": "b", "data": {"sum": 2, "cart": 7}, "time": "2026-01-01T00:00:00Z"},
    {"stream": "o-1", "type": "Heartbeat", "id": "c"},
    {"stream": "o-2", "type": "PaidV0", "id": "d", "data": {"x": [1]}, "time": "2025-01-01T00:00:00Z"},
    {"stream": "o-1", "type": "Other", "id": "e"},
    {"stream": "o-2", "type": "Placed", "id": "f", "schema": 3, "data": {"total": 3}},
]
UNSPLIT = [event for event in EVENTS if event["type"] != "Cart"]


def through(events: Iterable[SealedEvent], _: int) -> Iterable[SealedEvent]:
    return events


def made(folder: Path, events: list[dict[str, Any]], model: str = MODEL, *marks: tuple[str, str]) -> Path:
    """A log of events, appended one by one, that a model was applied to afterwards."""
    path = folder / "old.db"
    write_empty_log(path)
    (folder / "model.toml").write_text(model, encoding="utf-8")
    with open_log(path, write=True) as log:
        for event in events:
            log.append_all([event])
        for name, point in marks:
            log.mark(name, point)
        log.apply_model(folder / "model.toml")
    return path


def rewritten(path: Path) -> tuple[Path, dict[str, object]]:
    """The log written anew, and the report."""
    target = path.with_name("new.db")
    with EventLog(path) as log:
        return target, rewriting.rewrite(log, target, through)


def stored(path: Path) -> list[tuple[Any, ...]]:
    """What a log holds of its users' events, as it is stored."""
    with EventLog(path) as log:
        return [event for event, _, _ in log.read(Query(raw_schema=True))]


def read(path: Path) -> list[tuple[Any, ...]]:
    """What readers of a log see."""
    with EventLog(path) as log:
        return [event[:10] for event, _, _ in log.read(Query())]


def bytes_of(path: Path) -> str:
    """A digest of a file, taken in a process of its own, which has no database open."""
    code = "import hashlib,sys;print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())"
    return subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True).stdout


def test_every_event_is_stored_in_its_newest_schema(tmp_path: Path) -> None:
    target, _ = rewritten(made(tmp_path, EVENTS))
    assert [(event[4], event[5], json.loads(event[8])) for event in stored(target)] == [
        ("Placed", 3, {"total": 1, "discount": 0}),
        ("Placed", 3, {"total": 2, "cart": 7}),
        ("Emptied", 1, {"cart": 7}),
        ("Heartbeat", 1, {}),
        ("Paid", 1, {"x": [1]}),
        ("Other", 1, {}),
        ("Placed", 3, {"total": 3}),
    ]


def test_where_nothing_is_split_positions_versions_ids_times_order_and_meta_stay(tmp_path: Path) -> None:
    path = made(tmp_path, UNSPLIT)
    target, report = rewritten(path)
    kept = slice(0, 4), slice(6, 8), slice(9, 10)
    assert [[event[part] for part in kept] for event in stored(target)] == [
        [event[part] for part in kept] for event in stored(path)
    ]
    assert report["moved"] == 0


def test_readers_see_the_same_before_and_after(tmp_path: Path) -> None:
    path = made(tmp_path, UNSPLIT)
    target, _ = rewritten(path)
    assert read(target) == read(path)


def test_parts_are_events_of_their_own_and_what_follows_moves_on(tmp_path: Path) -> None:
    target, report = rewritten(made(tmp_path, EVENTS))
    assert [(event[0], event[1], event[2], event[3]) for event in stored(target)] == [
        (1, "o-1", 1, "a"),
        (2, "o-1", 2, "b/1"),
        (3, "o-1", 3, "b/2"),
        (4, "o-1", 4, "c"),
        (5, "o-2", 1, "d"),
        (6, "o-1", 5, "e"),
        (7, "o-2", 2, "f"),
    ]
    assert {key: report[key] for key in ("events", "rewritten", "split", "hidden", "moved")} == {
        "events": 6, "rewritten": 2, "split": 1, "hidden": 1, "moved": 5,
    }  # fmt: skip


def test_an_event_that_is_hidden_stays_in_its_place_and_hidden(tmp_path: Path) -> None:
    target, _ = rewritten(made(tmp_path, UNSPLIT))
    assert [event[3] for event in read(target)] == ["a", "d", "e", "f"]
    assert [event[3] for event in stored(target)] == ["a", "c", "d", "e", "f"]


def test_a_state_is_the_same_before_and_after(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    target, _ = rewritten(path)
    with open_log(path) as old, open_log(target) as new:
        for stream in ("o-1", "o-2"):
            assert new.state(stream).state == old.state(stream).state
            assert new.state(stream).aggregate == "order"


def test_parts_of_an_event_whose_id_is_long_have_ids_that_fit(tmp_path: Path) -> None:
    name = "x" * 512
    target, _ = rewritten(made(tmp_path, [{**EVENTS[1], "id": name}]))
    digest = hashlib.sha256(name.encode()).hexdigest()
    assert [event[3] for event in stored(target)] == [f"{digest}/1", f"{digest}/2"]


@pytest.mark.parametrize("data", [{"other": 1}, {"cart": 7}])
def test_an_id_that_a_part_would_have_and_another_event_has_loses_no_event(
    tmp_path: Path, data: dict[str, int]
) -> None:
    other = {"stream": "o-1", "type": "Emptied", "id": "b/2", "data": data}
    path = made(tmp_path, [EVENTS[1], other, EVENTS[4]])
    target, _ = rewritten(path)
    assert len(stored(target)) == 4
    assert [event[4] for event in stored(target)] == ["Placed", "Emptied", "Emptied", "Other"]


def test_the_new_log_has_a_new_id_and_a_chain_that_holds_and_says_what_it_was_made_of(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    target, report = rewritten(path)
    with open_log(path) as old, open_log(target) as new:
        assert new.log_id != old.log_id
        assert new.verify(full=True).ok
        assert (report["log_id"], report["head"], report["log"]) == (new.log_id, new.head(), str(target))
        source = {"log_id": old.log_id, "head": old.head()}
    with EventLog(target) as log:
        (event,) = log.system_events(system.LOG_REWRITTEN)
    assert json.loads(event[8]) == source


def test_the_model_goes_along_and_holds_in_the_new_log(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    target, _ = rewritten(path)
    with EventLog(path) as old, EventLog(target, write=True) as new:
        assert old.definitions.applied is not None
        assert new.definitions.applied is not None
        assert new.definitions.applied.text == old.definitions.applied.text
        assert new.definitions.applied.fingerprint == old.definitions.applied.fingerprint
        with new.transaction():
            writer_of(new).append([NewEvent("o-9", "Placed", "new", None, 0, "{}", "{}", None)])
    assert stored(target)[-1][5] == 3


def test_the_old_file_is_not_touched(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    before = bytes_of(path)
    rewritten(path)
    assert bytes_of(path) == before


def test_a_new_log_is_its_owner_s_alone(tmp_path: Path) -> None:
    target, _ = rewritten(made(tmp_path, EVENTS))
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.toml", "new.db", "old.db"]


def test_a_log_that_was_rewritten_has_nothing_left_to_rewrite(tmp_path: Path) -> None:
    target, _ = rewritten(made(tmp_path, EVENTS))
    with EventLog(target) as log:
        assert rewriting.plan(log) == {"events": 7, "rewritten": 0, "split": 0, "hidden": 1}


def test_a_log_without_a_model_is_copied_as_it_is(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS, "")
    target, report = rewritten(path)
    assert stored(target) == stored(path)
    assert (report["rewritten"], report["split"], report["hidden"]) == (0, 0, 0)


def test_an_empty_log_becomes_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    write_empty_log(path)
    target, report = rewritten(path)
    assert (stored(target), report["events"]) == ([], 0)


def test_numbers_keep_the_text_that_they_were_written_with(tmp_path: Path) -> None:
    path = made(tmp_path, [])
    text = '{"amount":1.10,"big":123456789012345678901234567890,"e":1e400}'
    with EventLog(path, write=True) as log, log.transaction():
        writer_of(log).append([NewEvent("o-1", "Placed", "a", None, 2, text, "{}", None)])
    target, _ = rewritten(path)
    (event,) = stored(target)
    for number in ("1.10", "123456789012345678901234567890", "1e400"):
        assert number in event[8]


def test_the_plan_counts_what_the_report_says(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    with EventLog(path) as log:
        planned = rewriting.plan(log)
    _, report = rewritten(path)
    assert planned == {key: report[key] for key in planned}


# Marks


def test_marks_move_along_with_their_events(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS, MODEL, ("start", "#0"), ("one", "#1"), ("four", "#4"), ("last", "#6"))
    target, _ = rewritten(path)
    with open_log(target) as log:
        assert {name: mark.position for name, mark in log.marks().items()} == {
            "start": 0, "one": 1, "four": 5, "last": 7,
        }  # fmt: skip


def test_a_mark_holds_the_same_events_in_the_new_log(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS, MODEL, *((f"m{n}", f"#{n}") for n in range(7)))
    target, _ = rewritten(path)
    with EventLog(path) as old, EventLog(target) as new:
        for n in range(7):
            seen = [[event[8] for event, _, _ in log.read(query_of(log, None, until=f"m{n}"))] for log in (old, new)]
            assert seen[0] == seen[1], f"mark at #{n}"


# Failures


def test_a_target_that_is_there_is_kept(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    target = tmp_path / "new.db"
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        rewritten(path)
    assert target.read_text(encoding="utf-8") == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.toml", "new.db", "old.db"]


def test_a_link_that_leads_nowhere_is_a_target_that_is_there(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    (tmp_path / "new.db").symlink_to("elsewhere")
    with pytest.raises(UsageError):
        rewritten(path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_itself_is_no_target(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    with EventLog(path) as log, pytest.raises(UsageError):
        rewriting.rewrite(log, path, through)
    assert len(stored(path)) == 6


def test_a_folder_that_is_not_there_is_no_place_for_a_log(tmp_path: Path) -> None:
    path = made(tmp_path, EVENTS)
    with EventLog(path) as log, pytest.raises(UnavailableError):
        rewriting.rewrite(log, tmp_path / "none" / "new.db", through)


def test_an_event_that_cannot_be_upcast_stops_it_and_leaves_nothing(tmp_path: Path) -> None:
    model = '[[event.Placed.upcast]]\nfrom = 1\nconvert = { amount = "number" }\n'
    path = made(tmp_path, [EVENTS[0], {"stream": "o-1", "type": "Placed", "schema": 1, "data": {"amount": "x"}}], model)
    with pytest.raises(MisfitError) as caught:
        rewritten(path)
    assert caught.value.details["position"] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.toml", "old.db"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_is_interrupted_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = made(tmp_path, EVENTS)

    def stopped(events: Iterable[SealedEvent], _: int) -> Iterable[SealedEvent]:
        for event in events:
            yield event
            if event[0][0] == 4:
                raise error

    with EventLog(path) as log, pytest.raises(error):
        rewriting.rewrite(log, tmp_path / "new.db", stopped)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.toml", "old.db"]


def test_events_that_come_meanwhile_are_left_to_the_old_log(tmp_path: Path) -> None:
    path = made(tmp_path, UNSPLIT)

    def busy(events: Iterable[SealedEvent], _: int) -> Iterable[SealedEvent]:
        for event in events:
            if event[0][0] == 2:
                with EventLog(path, write=True) as other, other.transaction():
                    writer_of(other).append([NewEvent("o-1", "Other", "late", None, 1, "{}", "{}", None)])
            yield event

    with EventLog(path) as log:
        rewriting.rewrite(log, tmp_path / "new.db", busy)
    assert [event[3] for event in stored(path)] == ["a", "c", "d", "e", "f", "late"]
    assert [event[3] for event in stored(tmp_path / "new.db")] == ["a", "c", "d", "e", "f"]


@settings(max_examples=12)
@given(types=st.lists(st.sampled_from(["Placed", "Cart", "Heartbeat", "PaidV0", "Other"]), max_size=12))
def test_any_log_reads_the_same_after_it_was_rewritten(
    types: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = [{"stream": f"o-{n % 2}", "type": type_, "id": f"e{n}", "schema": 1} for n, type_ in enumerate(types)]
    path = made(tmp_path_factory.mktemp("log"), events)
    target, _ = rewritten(path)
    assert [(*event[4:6], event[8]) for event in read(target)] == [(*event[4:6], event[8]) for event in read(path)]
    assert [event[1] for event in read(target)] == [event[1] for event in read(path)]


# Chains, step by step


def steps(path: Path, type_: str) -> list[rewriting.Shown]:
    with EventLog(path) as log:
        return list(rewriting.steps(log, type_))


def test_a_chain_is_shown_step_by_step_on_the_oldest_event_that_enters_it(tmp_path: Path) -> None:
    first, second = steps(made(tmp_path, EVENTS), "Placed")
    assert first[:5] == (1, "Placed 1", "Placed 2", "default discount = 0", 1)
    assert (json.loads(first.before or ""), json.loads(first.after or "")) == (
        {"amount": 1}, {"amount": 1, "discount": 0},
    )  # fmt: skip
    assert second[:5] == (2, "Placed 2", "Placed 3", "rename amount to total", 1)
    assert second.before == first.after
    assert json.loads(second.after or "") == {"total": 1, "discount": 0}


def test_a_renamed_type_is_followed_to_its_end(tmp_path: Path) -> None:
    model = '[[event.Old.upcast]]\nfrom = 1\ntype = "Placed"\nschema = 2\n' + MODEL
    shown = steps(made(tmp_path, [], model), "Old")
    assert [(step.from_, step.to) for step in shown] == [("Old 1", "Placed 2"), ("Placed 2", "Placed 3")]
    assert {step[4:] for step in shown} == {(None, None, None)}


def test_a_split_is_shown_with_its_parts_as_an_array(tmp_path: Path) -> None:
    split = steps(made(tmp_path, EVENTS), "Cart")[0]
    assert (split.from_, split.to) == ("Cart 1", "Placed 2 + Emptied 1")
    assert json.loads(split.after or "") == [{"cart": 7, "amount": 2}, {"cart": 7}]


def test_a_hidden_event_becomes_nothing(tmp_path: Path) -> None:
    (step,) = steps(made(tmp_path, EVENTS), "Heartbeat")
    assert (step.to, step.operations, step.position, step.before, step.after) == ("nothing", "drop", 3, "{}", None)


@pytest.mark.parametrize("type_", ["Other", "Nothing", "Paid"])
def test_a_type_without_upcasts_has_no_chain(tmp_path: Path, type_: str) -> None:
    with pytest.raises(NotFoundError, match=f"{type_} has no upcasts"):
        steps(made(tmp_path, EVENTS), type_)
