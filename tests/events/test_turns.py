"""Threads take turns, as long as the log is open."""

from __future__ import annotations

import threading

import pytest

from esctl.errors import UsageError
from esctl.events.turns import Turns


def test_one_thread_at_a_time_has_its_turn_and_may_take_it_again() -> None:
    turns, seen = Turns("open it"), list[int]()

    def work() -> None:
        with turns, turns:
            seen.append(len(seen))

    with turns:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert seen == []
    for thread in threads:
        thread.join()
    assert seen == [0, 1, 2, 3]


def test_after_the_last_turn_there_is_none() -> None:
    turns, closed = Turns("open it"), list[bool]()
    turns.end(lambda: closed.append(True))
    with pytest.raises(UsageError, match="the log is closed") as refused, turns:
        pass
    assert (refused.value.why, closed) == ("open it", [True])
