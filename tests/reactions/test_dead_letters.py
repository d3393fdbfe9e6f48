"""Dead letters as people see them."""

from __future__ import annotations

import pytest

from esctl.errors import NotFoundError, UsageError
from esctl.log import EventLog
from esctl.reactions import dead_letters
from esctl.store.reactions import PARKED, RETRY, SKIP
from tests.reactions.conftest import QUICK, Run, letters


@pytest.fixture
def parked(run: Run, streams: EventLog) -> EventLog:
    """The streams b and c are parked at their first events."""
    run("test $ESCTL_STREAM = a || { echo oops >&2; exit 2; }", QUICK._replace(on_error="park"))
    return streams


def test_a_letter_is_one_row_however_many_events_wait(parked: EventLog) -> None:
    found = dead_letters.listed(parked, "r")
    assert [(one["stream"], one["position"], one["attempts"], one["status"]) for one in found] == [
        ("b", 2, 1, 2), ("c", 3, 1, 2)
    ]  # fmt: skip
    assert dead_letters.listed(parked) == found
    with pytest.raises(NotFoundError):
        dead_letters.listed(parked, "x")


@pytest.mark.parametrize("reference", ["b", "2", "#2"])
def test_a_letter_is_shown_by_stream_or_position(parked: EventLog, reference: str) -> None:
    shown = dead_letters.show(parked, "r", reference)
    assert (shown["type"], shown["state"], shown["waiting"], shown["stderr"]) == ("T", PARKED, 2, "oops\n")


def test_what_is_no_letter_is_not_found(parked: EventLog) -> None:
    with pytest.raises(NotFoundError, match="no dead letter of a"):
        dead_letters.show(parked, "r", "a")
    with pytest.raises(UsageError, match="or --all"):
        dead_letters.choose(parked, "r", [], all_=False)


def test_letters_are_asked_for_by_name_or_all(parked: EventLog) -> None:
    dead_letters.ask(parked, dead_letters.choose(parked, "r", ["c"], all_=False), skip=True)
    assert letters(parked) == [("b", 2, PARKED), ("c", 3, SKIP)]
    chosen = dead_letters.choose(parked, "r", [], all_=True)
    assert [dead_letters.brief(one) for one in chosen] == [{"reaction": "r", "stream": "b", "position": 2}]
    dead_letters.ask(parked, chosen, skip=False)
    assert letters(parked) == [("b", 2, RETRY), ("c", 3, SKIP)]
    assert not dead_letters.is_running(parked, "r")


def test_a_letter_that_changed_meanwhile_is_left_alone(parked: EventLog) -> None:
    chosen = dead_letters.choose(parked, "r", ["b"], all_=False)
    dead_letters.ask(parked, chosen, skip=True)
    dead_letters.ask(parked, chosen, skip=False)
    assert letters(parked)[0] == ("b", 2, SKIP)
