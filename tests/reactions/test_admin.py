"""Declaring, pausing, resetting and dropping reactions."""

from __future__ import annotations

import time

import pytest

from esctl.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from esctl.events.times import clock_text
from esctl.log import EventLog
from esctl.points import marks
from esctl.reactions import admin, lease
from esctl.reactions.definition import EXEC, Definition
from esctl.store.reactions import PARKED, Letter
from tests.reactions.conftest import Run, row

ONE = Definition(EXEC, "true")


def test_a_reaction_is_made_at_a_point_of_the_log(streams: EventLog) -> None:
    marks.set_mark(streams, "here", 5)
    one, definition = admin.declare(streams, "r", ONE, start="here")
    assert (one.position, one.hash, one.log_id, definition) == (4, streams.event("4").hash, streams.log_id, ONE)
    again, _ = admin.declare(streams, "r", ONE, start="beginning")
    assert again == one
    known, definition = admin.declare(streams, "r", None, start=None)
    assert (known, definition) == (one, ONE)


def test_a_reaction_that_nobody_declared_is_not_there(streams: EventLog) -> None:
    with pytest.raises(NotFoundError, match="no reaction r"):
        admin.declare(streams, "r", None, start="now")
    with pytest.raises(NotFoundError):
        admin.named(streams, "r")


def test_a_definition_that_is_refused_makes_no_reaction(streams: EventLog) -> None:
    with pytest.raises(UsageError):
        admin.declare(streams, "r", Definition(EXEC, ""), start="now")
    with pytest.raises(UsageError):
        admin.declare(streams, "a/b", ONE, start="now")
    assert streams.store.reactions().all() == []


def test_a_reset_forgets_letters_and_begins_elsewhere(run: Run, streams: EventLog) -> None:
    run("true")
    with streams.transaction():
        streams.store.reactions().put(Letter("r", 1, "a", 1, "a", PARKED, 1, 1, "", "", "", None))
    admin.reset(streams, "r", 6)
    assert (row(streams).position, row(streams).hash) == (6, streams.event("6").hash)
    assert streams.store.reactions().letters() == []
    assert run().handled == 3


def test_while_a_process_runs_it_a_reaction_is_neither_reset_nor_dropped(run: Run, streams: EventLog) -> None:
    run("true")
    with streams.transaction():
        held = row(streams)._replace(token="t", holder="elsewhere 1", lease=clock_text(time.time() + 60))
        streams.store.reactions().replace(held)
    with pytest.raises(UnavailableError, match="is running"):
        admin.reset(streams, "r", 0)
    with pytest.raises(UnavailableError, match="is running"):
        admin.drop(streams, "r")


def test_a_dropped_reaction_is_gone(run: Run, streams: EventLog) -> None:
    run("true")
    admin.drop(streams, "r")
    assert streams.store.reactions().all() == []
    assert run("true").handled == 9


def test_a_reaction_of_this_machine_runs_as_long_as_its_lock_is_held(run: Run, streams: EventLog) -> None:
    run("true")
    with streams.transaction():  # as if its process had been killed
        streams.store.reactions().replace(row(streams)._replace(token="t", lease=clock_text(time.time() + 60)))
    one, _ = admin.declare(streams, "r", None, start=None)
    with lease.locked(streams, "r", 1, 0.0), pytest.raises(UnavailableError, match="is running"):
        admin.reset(streams, "r", 0)
    assert not lease.is_running(streams, one)
    admin.reset(streams, "r", 0)


@pytest.mark.parametrize("change", [{"key": "1"}, {"independent": True}])
def test_what_decides_which_events_wait_does_not_change_while_some_do(run: Run, change: dict[str, object]) -> None:
    run("exit 65", stream="a")
    with pytest.raises(ConflictError, match="has dead letters"):
        run("true", stream="a", changed=True, **change)
    assert run("true", stream="b", changed=True).handled == 0
