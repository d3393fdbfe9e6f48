"""SQLite's errors become esctl's; an expression of a model that runs too long is stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import apsw
import pytest

from esctl import open_log
from esctl.errors import HandlerError, UnavailableError, VerificationError
from esctl.events import system
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding
from esctl.store.errors import BLOCK_SECONDS, ROWS_PER_BLOCK, Patience, translate
from tests.conftest import writer_of
from tests.expressions import places
from tests.logs import hold

ENDLESS = "(with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n)"


@pytest.fixture
def endless(log_path: Path) -> Iterator[EventLog]:
    """A log with two events, and patience for a tenth of a second."""
    with open_log(log_path, write=True) as written:
        written.append("s", "T", {})
        written.append("s", "U", {})
    with EventLog(log_path, write=True) as log:
        log.store.statements.limit(0.1)
        yield log


def touch(log: EventLog, place: str) -> None:
    """Do what runs the expression of a place."""
    if place.startswith("event"):
        list(log.lines(Query()))
    elif "accept" in place:
        with log.transaction():
            writer_of(log).append([NewEvent("s", "T", "id", None, 1, "{}", "{}", None)])
    else:
        folding.state(log, Query(stream="s"))


@pytest.mark.parametrize("place", places("1"))
def test_an_expression_that_never_ends_is_stopped(endless: EventLog, place: str) -> None:
    hold(endless, places(ENDLESS)[place])
    begin = time.monotonic()
    with pytest.raises(HandlerError, match=r"more than 0\.1 seconds") as stopped:
        touch(endless, place)
    assert stopped.value.exit_code == 9
    assert time.monotonic() - begin < 5
    read = endless.read(Query(raw_schema=True, system=True))
    assert [event[4] for event, _, _ in read] == ["T", "U", system.MODEL_APPLIED]  # and the log is as it was


def test_rows_of_a_read_are_stopped_as_lines_are(endless: EventLog) -> None:
    hold(endless, places(ENDLESS)["event.T.upcast[1].compute.x"])
    with pytest.raises(HandlerError):
        list(endless.read(Query()))


@pytest.mark.parametrize("message", ["no such table: head", "unknown function: stat00in()"])
def test_what_only_a_damaged_schema_causes_is_damage(message: str) -> None:
    error = translate(apsw.SQLError(message), "log.db")
    assert isinstance(error, VerificationError)
    assert error.what == "log.db is damaged"


def test_a_statement_that_is_stopped_and_one_that_needs_too_much_memory_are_no_bugs() -> None:
    assert translate(apsw.InterruptError("interrupted"), "log.db").exit_code == HandlerError.exit_code
    assert translate(apsw.NoMemError("out of memory"), "log.db").exit_code == UnavailableError.exit_code


def test_the_rows_before_an_error_come_before_it_whatever_their_number() -> None:
    def failing(count: int) -> Iterator[int]:
        yield from range(count)
        raise apsw.SQLError

    for count in (0, 1, ROWS_PER_BLOCK - 1, ROWS_PER_BLOCK, ROWS_PER_BLOCK + 1):
        rows = Patience(1).steps.rows(lambda count=count: failing(count))  # type: ignore[misc]
        assert list(islice(rows, count)) == list(range(count))
        with pytest.raises(apsw.SQLError):
            next(rows)


def test_a_row_that_takes_time_is_not_held_back() -> None:
    def slow() -> Iterator[int]:
        for n in (1, 2):
            time.sleep(2 * BLOCK_SECONDS)
            yield n
        pytest.fail("nobody asked for a third row")

    rows = Patience(1).steps.rows(slow)
    assert [next(rows), next(rows)] == [1, 2]
