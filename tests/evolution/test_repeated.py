"""`upcast check` names stored events in which an object has a key twice."""

from __future__ import annotations

import json
from pathlib import Path

from esctl.events.event import NewEvent
from esctl.evolution.repeated import repeated
from esctl.log import EventLog
from tests.conftest import Esctl
from tests.logs import put

TEXTS = [("{}", "{}"), ('{"a":1,"a":2}', "{}"), ('{"a":"a"}', '{"b":1,"b":1}'), ("[1,1]", "{}")]


def fill(log: EventLog) -> None:
    put(log, *[NewEvent("s", "T", f"e{n}", None, 1, data, meta, None) for n, (data, meta) in enumerate(TEXTS)])


def test_keys_that_occur_twice_in_data_or_meta_are_found(log: EventLog) -> None:
    fill(log)
    assert list(repeated(log, 1)) == [
        (2, "the key 'a' occurs twice in an object of data"),
        (3, "the key 'b' occurs twice in an object of meta"),
    ]


def test_a_sample_looks_at_some_events_only(log: EventLog) -> None:
    fill(log)
    assert [position for position, _ in repeated(log, 3)] == [3]


def test_upcast_check_lists_them(run: Esctl, log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        fill(log)
    done = run("upcast", "check")
    assert done.returncode == 6
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["failed"], row["kinds"]) == (2, {"repeated key": 2})
    assert [failure["position"] for failure in row["failures"]] == [2, 3]
