"""The model that a log holds: applied as an event of its own, the newest of which counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esctl.errors import NotFoundError, RefusedError, VerificationError
from esctl.events import system
from esctl.events.json import Json
from esctl.events.query import Query
from esctl.evolution.plan import Draft, apply, sound
from esctl.log import EventLog
from esctl.model import applied
from esctl.model.checks import checked
from tests.logs import stored_schema
from tests.models import COUNT, UPCAST


def draft(text: str) -> Draft:
    model, problems = checked(text, {})
    assert problems == []
    return Draft(text, {}, model)


def hold(log: EventLog, text: str) -> None:
    """Apply a model."""
    apply(log, draft(text), log.definitions.position)


# A log with and without


def test_a_log_without_a_model_says_nothing_of_its_events(log: EventLog) -> None:
    held = log.definitions
    assert (held.position, held.applied, held.upcasting, held.newest, held.schemas) == (0, None, {}, {}, {})
    assert held.of_stream("c-1") is None


def test_an_applied_model_is_an_event_of_the_log_with_its_actor(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "alice")
    hold(log, COUNT)
    event, _, _ = next(log.read(Query(stream=system.STREAM, system=True)))
    assert (event[1], event[4], json.loads(event[9])) == (system.STREAM, system.MODEL_APPLIED, {"actor": "alice"})
    applied = log.definitions.applied
    assert applied is not None
    assert (applied.number, applied.position, applied.actor, applied.text) == (1, 1, "alice", COUNT)


def test_the_newest_model_holds_and_every_earlier_one_is_kept(log: EventLog) -> None:
    for text in (COUNT, UPCAST, COUNT):
        hold(log, text)
    assert [(one.number, one.text) for one in log.models()] == [
        (1, COUNT),
        (2, UPCAST),
        (3, COUNT),
    ]
    assert list(log.definitions.model.aggregates) == ["c"]


def test_a_log_that_is_open_takes_up_the_model_that_another_applies(log: EventLog, log_path: Path) -> None:
    assert log.definitions.position == 0
    with EventLog(log_path, write=True) as other:
        hold(other, COUNT)
    assert list(log.definitions.model.aggregates) == ["c"]
    with EventLog(log_path, write=True) as other:
        hold(other, UPCAST)
    assert list(log.definitions.model.aggregates) == []


def test_a_model_that_was_rolled_back_holds_nowhere(log: EventLog) -> None:
    made = applied.Applied(1, "", 0, "", None, COUNT, {}, {})
    with log.transaction(keep=False):
        log.apply(applied.record(made))
        assert log.definitions.applied is not None
    assert log.definitions.applied is None


def test_a_model_at_the_place_of_one_that_was_rolled_back_is_read_anew(log: EventLog, log_path: Path) -> None:
    made = applied.Applied(1, "", 0, "", None, COUNT, {}, {})
    with log.transaction(keep=False):
        log.apply(applied.record(made))
        assert log.definitions.model.aggregates
    with EventLog(log_path, write=True) as other:
        hold(other, UPCAST)
    assert (list(log.definitions.model.events), list(log.definitions.model.aggregates)) == (["T"], [])
    assert stored_schema(log, "T") == 3


def test_what_is_kept_is_what_is_read(log: EventLog) -> None:
    made = applied.Applied(
        7, "f", 1, "", None, COUNT, {"a.json": '{"x": [1, 1.5]}'}, {"T": {1: "true", 2: '{"type": "object"}'}}
    )
    with log.transaction():
        log.apply(applied.record(made))
    found = log.definitions.applied
    assert found is not None
    assert found._replace(time="") == made._replace(actor=system.actor())


@pytest.mark.parametrize("record", ["{}", "[]", '{"number":1}', "null", '{"json_schemas":[]}'])
def test_an_event_that_holds_no_model_is_named(log: EventLog, record: str) -> None:
    with log.transaction():
        log.apply(Json(record))
    with pytest.raises(VerificationError, match="position 1"):
        _ = log.definitions


def test_a_model_that_this_esctl_does_not_take_is_named(log: EventLog) -> None:
    made = applied.Applied(1, "", 0, "", None, "[later]\n", {}, {})
    with log.transaction():
        log.apply(applied.record(made))
    with pytest.raises(VerificationError, match="model"):
        _ = log.definitions


# What is said of events and streams


def test_a_stream_has_the_aggregate_whose_pattern_it_matches(log: EventLog) -> None:
    hold(log, COUNT + '[aggregate.d]\nstreams = "[de]-?"\n')
    found = {name: log.definitions.of_stream(name) for name in ("c-1", "d-1", "e-2", "d-11", "cc-1", "C-1")}
    assert {name: one.name if one else None for name, one in found.items()} == {
        "c-1": "c", "d-1": "d", "e-2": "d", "d-11": None, "cc-1": None, "C-1": None
    }  # fmt: skip


def test_an_unknown_aggregate_is_told_with_those_there_are(log: EventLog) -> None:
    hold(log, COUNT)
    with pytest.raises(NotFoundError) as caught:
        log.definitions.aggregate("d")
    assert "c" in caught.value.why


# Fingerprints


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (UPCAST, True),
        (UPCAST + COUNT, True),
        ("# said\n" + UPCAST, True),
        (UPCAST.replace("a = 1", "a = 2"), False),
        (UPCAST + '[[event.U.upcast]]\nfrom = 1\ntype = "T"\nschema = 3\n', False),
        (COUNT, False),
    ],
)
def test_the_fingerprint_of_the_upcasts_changes_with_them_alone(log: EventLog, text: str, same: bool) -> None:
    hold(log, UPCAST)
    before = log.definitions.upcasts
    apply(log, draft(text), log.definitions.position)
    assert (log.definitions.upcasts == before) == same


# What a model may not say


def test_a_model_file_with_problems_is_refused_with_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text('[aggregate.a]\nstreams = "a-*"\nunknown = 1\naccept.T = "random()"\n')
    with pytest.raises(RefusedError) as caught:
        sound(file)
    assert caught.value.details["problems"]
