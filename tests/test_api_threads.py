"""One log that threads share: its calls take turns, and nothing is lost, doubled or mistaken for bad input."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from esctl import open_log
from esctl.api import Log
from esctl.errors import ConflictError, UsageError

THREADS = 8
MODEL = """
[aggregate.s]
streams = "s-*"
initial = { n = 0 }
on.T.add = { n = "$.n" }
[projection.counts]
table = "create table counts(stream text primary key, n integer)"
on.T = "insert into counts values (new.stream, 1) on conflict do update set n = n + 1"
"""


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, log_path: Path, tmp_path: Path) -> Iterator[Log]:
    """A log with a model."""
    (tmp_path / "m.toml").write_text(MODEL)
    with open_log(log_path if request.param == "file" else ":memory:", write=True) as opened:
        opened.apply_model(tmp_path / "m.toml")
        yield opened


def at_once(task: Callable[[int], object]) -> None:
    """Run a task in each thread at the same time; what one raises is raised."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        task(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(run, number) for number in range(THREADS)]:
            done.result()


def test_eight_threads_append_and_read_beside_each_other(log: Log) -> None:
    def work(number: int) -> None:
        stream = f"s-{number}"
        for version in range(20):
            assert log.append(stream, "T", {"n": version}, expect=version).version == version + 1
            assert [event.data["n"] for event in log.replay(stream)] == [*range(version + 1)]
            assert log.state(stream).state == {"n": sum(range(version + 1))}
            if version % 10 == 9:
                assert {row["stream"]: row["n"] for row in log.rows("counts")}[stream] == version + 1

    at_once(work)
    assert log.verify().ok
    assert Counter(event.stream for event in log.replay()) == {f"s-{number}": 20 for number in range(THREADS)}


def test_one_of_eight_threads_wins_where_all_expect_the_same(log: Log) -> None:
    lost: list[int] = []

    def work(number: int) -> None:
        try:
            log.append("s-1", "T", {"n": number}, expect="none")
        except ConflictError:
            lost.append(number)

    at_once(work)
    assert (log.version("s-1"), len(lost)) == (1, THREADS - 1)


def test_each_event_of_a_shared_replay_goes_to_one_thread(log: Log) -> None:
    log.append_all({"stream": f"s-{n % 3}", "type": "T", "data": {"n": n}} for n in range(2500))
    events, taken = log.replay(), [Counter[int]() for _ in range(THREADS)]
    at_once(lambda number: taken[number].update(event.data["n"] for event in events))
    assert sum(taken, Counter()) == Counter(range(2500))


def test_a_replay_that_is_dropped_half_read_disturbs_no_other_thread(log: Log) -> None:
    large = "x" * 200_000  # such events are read a few at a time, from a statement that stays open
    log.append_all({"stream": "s-1", "type": "Large", "data": large} for _ in range(40))

    def work(number: int) -> None:
        for n in range(10):
            next(log.replay(reverse=bool(n % 2)))
            log.append(f"s-{number}", "T", {"n": 1})

    at_once(work)
    assert log.verify().ok


def test_a_log_that_one_thread_closes_tells_the_others_so(log: Log) -> None:
    log.append_all({"stream": "s-1", "type": "T", "data": {"n": n}} for n in range(2000))

    def work(number: int) -> None:
        if number == 0:
            log.close()
            return
        with pytest.raises(UsageError, match="the log is closed"):  # noqa: PT012
            while True:
                for _ in log.replay():
                    pass

    at_once(work)
