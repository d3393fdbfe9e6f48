"""How far reactions have come."""

from __future__ import annotations

import time
from typing import Any

import pytest

from esctl.errors import HandlerError, NotFoundError
from esctl.events.times import clock_text
from esctl.log import EventLog
from esctl.reactions import status
from esctl.store.reactions import RETRYING, Letter
from tests.logs import event, put
from tests.reactions.conftest import QUICK, Run, row


def only(log: EventLog, *names: str) -> dict[str, Any]:
    (record,) = status.status(log, names)
    return record


def test_a_reaction_that_has_handled_all_is_idle(run: Run, streams: EventLog) -> None:
    run("true", stream="b", name="mail")
    record = only(streams, "mail")
    assert {name: record[name] for name in ("state", "position", "lag", "lag_seconds", "handled", "parked")} == {
        "state": "idle", "position": 9, "lag": 0, "lag_seconds": 0, "handled": 3, "parked": 0
    }  # fmt: skip
    (listed,) = status.listed(streams)
    assert (listed["filter"], listed["state"], listed["part"]) == ("--stream b", "idle", None)


def test_the_lag_is_of_its_own_events(run: Run, streams: EventLog) -> None:
    run("true", stream="b")
    put(streams, event("a"), event("b"), event("b"))
    record = only(streams)
    assert (record["lag"], record["lag_seconds"]) == (2, 0)


def test_what_is_done_beyond_the_place_is_no_lag(run: Run, streams: EventLog) -> None:
    with pytest.raises(HandlerError):
        run("exit $((ESCTL_POSITION == 1))", QUICK._replace(retries=1, backoff=2.0), concurrency=3)
    record = only(streams)
    assert (record["state"], record["position"], record["failed"]) == ("stopped", 0, 1)
    assert record["lag"] == 3
    assert record["error"] == "#1 T in a: failed with status 1"


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"paused": 1}, "paused"),
        ({"closed_until": clock_text(time.time() + 6000)}, "waiting"),
        ({"token": "t", "holder": "elsewhere 1", "lease": clock_text(time.time() + 6000)}, "running"),
        ({"token": "t", "holder": "elsewhere 1", "lease": clock_text(time.time() - 1)}, "idle"),
        ({"token": "t", "lease": clock_text(time.time() + 6000)}, "idle"),
    ],
)
def test_a_state_is_a_word(run: Run, streams: EventLog, values: dict[str, object], state: str) -> None:
    run("true")
    with streams.transaction():
        streams.store.reactions().replace(row(streams)._replace(**values))
    assert only(streams)["state"] == state


def test_the_next_try_is_shown(run: Run, streams: EventLog) -> None:
    run("true")
    with streams.transaction():
        streams.store.reactions().put(Letter("r", 1, "a", 1, "a", RETRYING, 2, 1, "e", "", "", "2030"))
    record = only(streams)
    assert (record["retrying"], record["next_try"], record["breaker"]) == (1, "2030", "closed")


def test_parts_of_a_group_are_shown_each(run: Run, streams: EventLog) -> None:
    run("true", group=(2, 3))
    assert [record["part"] for record in status.listed(streams)] == ["1/3", "2/3", "3/3"]
    with pytest.raises(NotFoundError):
        status.status(streams, ["x"])
