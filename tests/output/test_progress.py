"""Progress bars: on a terminal, for what takes long; elsewhere items pass and nothing is said."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import islice

import pytest

from esctl.output import console, progress


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything takes long."""
    monkeypatch.setattr(progress, "BAR_AFTER_SECONDS", -1)


@contextmanager
def terminal() -> Iterator[list[str]]:
    """A terminal as stderr; what it showed is in the list afterwards."""
    master, slave = os.openpty()
    shown: list[str] = []
    with os.fdopen(slave, "w") as side:
        with redirect_stderr(side):
            yield shown
        side.write("\nend")
        side.flush()
        while "\nend" not in "".join(shown).replace("\r", ""):
            shown.append(os.read(master, 100_000).decode())
    shown[:] = ["".join(shown).replace("\r", "").removesuffix("\nend")]
    os.close(master)


@pytest.mark.usefixtures("at_once")
def test_items_pass_and_nothing_is_said_where_nobody_looks() -> None:
    with redirect_stderr(io.StringIO()) as told:
        assert list(progress.watched(range(5), "check", 5, lambda _: 1)) == list(range(5))
    assert told.getvalue() == ""


@pytest.mark.usefixtures("at_once")
def test_what_takes_long_has_a_bar_with_its_label_and_the_sum_of_the_weights() -> None:
    with terminal() as shown:
        assert list(progress.watched([10, 20, 30], "verify", 60, lambda item: item)) == [10, 20, 30]
    assert "verify" in shown[0]
    assert "60 events" in shown[0]


def test_what_is_over_soon_has_no_bar() -> None:
    with terminal() as shown:
        assert list(progress.watched(range(3), "verify", 3, lambda _: 1)) == [0, 1, 2]
    assert shown == [""]


@pytest.mark.usefixtures("at_once")
def test_quiet_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "settings", console.Settings(quiet=True))
    with terminal() as shown:
        assert list(progress.watched(range(3), "verify", 3, lambda _: 1)) == [0, 1, 2]
    assert shown == [""]


@pytest.mark.usefixtures("at_once")
def test_who_leaves_in_the_middle_has_the_cursor_back() -> None:
    with terminal() as shown:
        assert list(islice(progress.watched(range(9), "verify", 9, lambda _: 1), 2)) == [0, 1]
    assert shown[0].index("\x1b[?25l") < shown[0].index("\x1b[?25h")
