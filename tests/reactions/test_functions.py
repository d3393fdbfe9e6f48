"""Handlers that are functions."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.api import Event, Json, Log, Park, Retry
from esctl.errors import ArgumentError, HandlerError, UnavailableError, UsageError


def orders(path: Path | str) -> Log:
    log = open_log(path, write=True)
    for n in range(1, 7):
        log.append(f"order-{n % 2}", "Placed", {"n": n})
    return log


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, log_path: Path) -> Any:
    with orders(log_path if request.param == "file" else ":memory:") as opened:
        yield opened


def test_a_function_gets_each_event_once(log: Log) -> None:
    seen: list[Event] = []
    done = log.react("r", seen.append, start="beginning", types=["Placed"])
    assert (done["handled"], done["position"]) == (6, 6)
    assert seen == list(log.replay())
    log.append("order-1", "Placed", {"n": 7})
    assert log.react("r", seen.append, types=["Placed"])["handled"] == 1
    assert seen[-1].data == {"n": 7}


@pytest.mark.parametrize(("start", "handled"), [("now", 0), (5, 2), ("#6", 1)])
def test_it_begins_at_a_point(log: Log, start: int | str, handled: int) -> None:
    assert log.react("r", lambda _: None, start=start)["handled"] == handled


def test_one_that_raises_has_failed(log: Log) -> None:
    def fail(event: Event) -> None:
        raise ValueError(event.data["n"])

    with pytest.raises(HandlerError, match="the handler raised ValueError: 1") as failed:
        log.react("r", fail, start="beginning", retries=0)
    assert "Traceback" in str(failed.value.details["stderr"])


def test_it_may_ask_to_try_again_or_never(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []

    def handle(event: Event) -> None:
        tried.append(event.position)
        if tried.count(event.position) == 1 and event.position == 2:
            raise Retry("later")
        if event.position == 3:
            raise Park("never")

    with caplog.at_level(logging.WARNING, "esctl"):
        done = log.react("r", handle, start="beginning", backoff=0.01)
    assert (done["handled"], done["parked"], done["failed"]) == (4, 1, 2)
    assert (tried.count(2), tried.count(3)) == (2, 1)
    assert "#3 Placed in order-1: attempt 1 asks to be parked (never); it is parked" in caplog.text


def test_what_it_returns_is_appended(log: Log) -> None:
    def handle(event: Event) -> object:
        if event.position == 1:
            return {"type": "Seen", "data": Json('{"n":1.50}')}
        return [{"type": "Seen", "stream": "seen"}] * (event.position - 2)

    assert log.react("r", handle, start="beginning", append=True, types=["Placed"])["appended"] == 11
    first = next(iter(log.replay(types=["Seen"])))
    assert (first.stream, first.data_json, first.meta["causation_id"]) == ("order-1", '{"n":1.50}', log.show(1).id)


@pytest.mark.parametrize("answer", ["text", 7, [1], [{"type": "Seen", "data": float("nan")}]])
def test_what_is_no_event_is_a_failure(log: Log, answer: object) -> None:
    with pytest.raises(HandlerError):
        log.react("r", lambda _: answer, start="beginning", append=True, types=["Placed"], retries=0)


def test_a_function_under_the_name_of_a_command_is_another_reaction(log: Log) -> None:
    log.react("r", lambda _: None, start="now", types=["Placed"])
    with pytest.raises(UsageError, match="with another --type"):
        log.react("r", lambda _: None)
    assert log.react("r", lambda _: None, changed=True)["handled"] == 0


def test_wrong_options_are_refused(log: Log) -> None:
    with pytest.raises(ArgumentError, match="several types"):
        log.react("r", lambda _: None, start="now", types="Placed")
    with pytest.raises(UsageError, match="say where it begins"):
        log.react("r", lambda _: None)
    with pytest.raises(UsageError, match="--append needs"):
        log.react("r", lambda _: [], start="now", append=True)


def test_a_reaction_is_followed_until_it_is_stopped(log_path: Path) -> None:
    with orders(log_path) as log:
        stop, seen = threading.Event(), list[int]()
        thread = threading.Thread(
            target=lambda: log.react("r", lambda e: seen.append(e.position), start="now", follow=True, stop=stop)
        )
        thread.start()
        deadline = time.monotonic() + 20
        while not Path(f"{log_path}-r.1.lock").exists():
            assert time.monotonic() < deadline
        time.sleep(0.2)
        log.append("order-1", "Placed")  # other threads use the log meanwhile
        while not seen:
            assert time.monotonic() < deadline
        stop.set()
        thread.join(20)
        assert (seen, thread.is_alive()) == ([7], False)


def test_a_log_in_memory_is_not_followed() -> None:
    with orders(":memory:") as log, pytest.raises(UsageError, match="cannot be followed"):
        log.react("r", lambda _: None, start="now", follow=True)


def test_a_log_that_is_open_for_reading_has_no_reactions_run(log_path: Path) -> None:
    with open_log(log_path) as log, pytest.raises(UnavailableError, match="read-only"):
        log.react("r", lambda _: None, start="now")
