"""Frames that another process makes are those that this one makes, and whatever becomes of it, nothing is lost."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pytest

from esctl.archive import creation, making
from esctl.errors import ConflictError
from esctl.log import EventLog
from esctl.store import segments
from tests.conftest import write_empty_log
from tests.fifty import hashed, names
from tests.logs import event, put, whole

SPANS = [(1, 20), (21, 45)]


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Another process makes frames of ten events, however few there are; gives those that were started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(making, "EVENTS_FOR_TWO", 0)
    monkeypatch.setattr(making, "_cores", lambda: 2)
    smaller = "import sys; sys.path[:] = sys.argv[4:]; from esctl.store import segments; segments.FRAME_EVENTS = 10; "
    monkeypatch.setattr(making, "_RUN", smaller + making._RUN)
    monkeypatch.setattr(segments, "FRAME_EVENTS", 10)
    monkeypatch.setattr(subprocess, "Popen", start)
    return started


def alone(log: EventLog) -> list[making.Made]:
    return [made for first, last in SPANS for made in making._frames(log, first, last, 9)]


def test_it_makes_the_same_frames(fifty: EventLog, beside: list[subprocess.Popen[bytes]]) -> None:
    assert list(making.frames(fifty, SPANS, 9)) == alone(fifty)
    assert len(alone(fifty)) == 5
    assert [process.returncode for process in beside] == [0]


def test_few_events_are_compressed_alone(fifty: EventLog, beside: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "EVENTS_FOR_TWO", 46)
    assert list(making.frames(fifty, SPANS, 9)) == alone(fifty)
    assert beside == []


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("after", range(6))
def test_if_it_ends_before_its_time_the_rest_is_made_here(
    fifty: EventLog, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    received = making._received

    def some(stream: IO[bytes]) -> Iterator[making.Made]:
        return islice(received(stream), after)

    monkeypatch.setattr(making, "_received", some)
    assert list(making.frames(fifty, SPANS, 9)) == alone(fifty)


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("run", ["raise SystemExit(3)", "no python", "import os; os.abort()", "print('x' * 99)"])
def test_a_process_that_fails_is_done_without(
    fifty: EventLog, fifty_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    monkeypatch.setattr(making, "_RUN", run)
    before = hashed(fifty_path)
    list(creation.create(fifty, SPANS, most=25))
    assert names(fifty) == ["1-20", "21-45"]
    assert hashed(fifty_path) == before
    assert whole(fifty_path)


def test_a_killed_process_is_done_without(fifty: EventLog, fifty_path: Path, beside: list[Any]) -> None:
    before = hashed(fifty_path)
    for _ in creation.create(fifty, SPANS, most=25):
        beside[0].send_signal(signal.SIGKILL)
    assert hashed(fifty_path) == before
    assert whole(fifty_path)


def test_who_stops_taking_frames_ends_the_process(fifty: EventLog, beside: list[Any]) -> None:
    with closing(making.frames(fifty, SPANS, 9)) as made:
        next(made)
        assert beside[0].poll() in (None, 0)
    assert beside[0].returncode is not None


def test_frames_of_another_log_are_refused(fifty: EventLog, tmp_path: Path) -> None:
    """The other process opens the log by its name, which another file may have by then."""
    path = write_empty_log(tmp_path / "other.db")
    with EventLog(path, write=True) as other:
        put(other, *(event("s", "T") for _ in range(20)))
        made = next(making._frames(other, 1, 20, 9))
    with pytest.raises(ConflictError), closing(creation.Draft(tmp_path)) as draft:
        creation._add(fifty, draft, made)
