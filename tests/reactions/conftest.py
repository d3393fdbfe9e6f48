"""What reactions are tried on: a log of three streams, and handlers that write down what they got."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from esctl.log import EventLog
from esctl.reactions.definition import EXEC, Definition
from esctl.reactions.react import Wanted, react
from esctl.reactions.results import Result
from esctl.reactions.runner import Settings, Stop, Summary
from tests.logs import event, put

QUICK = Settings(retries=0, backoff=0.0, on_error="stop", breaker=0)
Run = Callable[..., Summary]


@pytest.fixture
def streams(log: EventLog) -> EventLog:
    """Nine events in three streams: position n is number (n - 1) // 3 + 1 of the stream a, b or c."""
    put(log, *(event(name, "T", {"n": n, "who": f"{name}@x"}) for n in (1, 2, 3) for name in "abc"))
    return log


@pytest.fixture
def run(streams: EventLog, tmp_path: Path) -> Run:
    """Runs the reaction `r` once, with a command for a shell that stands in the test's folder."""

    def once(
        command: str | None = None,
        settings: Settings = QUICK,
        *,
        start: str | None = "beginning",
        shell: bool = True,
        name: str = "r",
        said: list[str] | None = None,
        concurrency: int = 1,
        timeout: float = 20.0,
        changed: bool = False,
        group: tuple[int, int] = (1, 1),
        **filters: Any,
    ) -> Summary:
        definition = None
        if command is not None:
            text = f"cd '{tmp_path}'; {command}" if shell else command
            definition = Definition(EXEC, text, shell=shell, **filters)
        wanted = Wanted(name, definition, start, group, changed, concurrency, timeout)
        tell = (lambda _: None) if said is None else said.append
        return react(streams, wanted, settings, Stop(), tell=tell)

    return once


def lines(path: Path) -> list[str]:
    """What handlers wrote down."""
    return path.read_text().splitlines() if path.exists() else []


def positions(path: Path) -> list[int]:
    return [int(line) for line in lines(path)]


def row(log: EventLog, name: str = "r") -> Any:
    """The only part of a reaction."""
    (one,) = log.store.reactions().all(name)
    return one


def letters(log: EventLog) -> list[tuple[str, int, str]]:
    """Stream, position and state of each letter."""
    return [(letter.stream, letter.position, letter.state) for letter in log.store.reactions().letters()]


class Scripted:
    """Handlers that answer as they are told: by position, the statuses of one attempt after the other; then 0."""

    def __init__(self, answers: Mapping[int, Sequence[int]], at_once: int = 1) -> None:
        self.answers = {position: list(statuses) for position, statuses in answers.items()}
        self.at_once, self.started, self.waiting = at_once, list[int](), list[Any]()
        self.output: Callable[[Any], bytes] = lambda _: b""
        self.ended = False

    @property
    def running(self) -> int:
        return len(self.waiting)

    @property
    def has_room(self) -> bool:
        return self.running < self.at_once

    def fits(self, _: str) -> bool:
        return self.running < self.at_once

    def start(self, item: Any) -> None:
        assert all(item.key != other.key for other in self.waiting), "two of one stream at a time"
        self.started.append(item.position)
        self.waiting.append(item)

    def wait(self, _: float) -> list[Result]:
        if not self.waiting:
            return []
        item = self.waiting.pop()
        statuses = self.answers.get(item.position, [])
        status = statuses.pop(0) if statuses else 0
        return [Result(item, status, f"failed with status {status}" if status else "", "", self.output(item))]

    def end(self) -> None:
        self.ended = True


def decoded(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, lines(path))
