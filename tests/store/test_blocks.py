"""Blocks of work on a store: what an error in them becomes, and what is left when they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.archive import checking, moving
from esctl.errors import MisfitError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store.blocks import Conditioned, Moment
from esctl.store.segments import Segment
from tests.logs import event, hold, put, run
from tests.segments import make, place, replayed


@pytest.mark.parametrize("reason", [apsw.SQLError("malformed JSON"), apsw.TooBigError("too big")])
def test_what_a_condition_fails_with_is_the_users_to_mend(reason: Exception) -> None:
    failing = r"--where 'json\(data\)' fails on an event: "
    with pytest.raises(UsageError, match=failing) as caught, Conditioned(Query(where="json(data)")):
        raise reason
    assert caught.value.__cause__ is reason


def test_what_a_condition_fails_with_is_found_behind_a_misfit() -> None:
    with pytest.raises(UsageError, match="malformed JSON"), Conditioned(Query(where="json(data)")):
        raise MisfitError("an event does not fit") from apsw.SQLError("malformed JSON")


@pytest.mark.parametrize("error", [apsw.BusyError("busy"), MisfitError("misfit"), KeyError("x")])
def test_another_failure_is_not_the_conditions(error: Exception) -> None:
    with pytest.raises(type(error)), Conditioned(Query(where="1")):
        raise error


def test_without_a_condition_no_failure_is_the_conditions() -> None:
    with pytest.raises(apsw.SQLError), Conditioned(Query()):
        raise apsw.SQLError("malformed JSON")


def test_an_expression_that_fails_names_the_event_that_it_failed_on(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}, schema=1) for n in (1, 2, 3)))
    hold(log, "[[event.T.upcast]]\nfrom = 1\ncompute = { m = \"json(iif(new.data ->> 'n' = 2, '{', '1'))\" }\n")
    with pytest.raises(MisfitError) as caught:
        list(log.read(Query()))
    assert "the event at position 2 does not fit" in caught.value.what
    assert caught.value.details["position"] == 2


def test_a_moment_sees_one_state_of_the_file_and_keeps_what_it_wrote(log: EventLog, log_path: Path) -> None:
    put(log, event("s-1"))
    with closing(apsw.Connection(str(log_path))) as connection:
        with Moment(connection):
            connection.execute("create temp table seen as select count(*) as n from events")
            put(log, event("s-1"))
            assert connection.execute("select count(*) from events").get == 1
        assert connection.execute("select n from seen").get == 1
        assert connection.execute("select count(*) from events").get == 2


def test_a_moment_that_fails_leaves_nothing() -> None:
    with closing(apsw.Connection(":memory:")) as connection:

        def fail() -> None:
            with Moment(connection):
                connection.execute("create temp table seen(n)")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert not connection.in_transaction
        assert connection.execute("select count(*) from sqlite_temp_schema").get == 0


# One state


def test_a_block_of_one_state_sees_nothing_of_what_comes_meanwhile(log: EventLog) -> None:
    put(log, event("s-1"))
    with EventLog(log.path) as reader:
        with reader.store.one_state():
            put(log, event("s-1"))
            with reader.store.one_state():  # one within it is part of it
                assert reader.head().position == 1
            assert [found.event.position for found in reader.read(Query())] == [1]
        assert reader.head().position == 2


@pytest.mark.parametrize("remove", [moving.restore, lambda log, segment: moving.move(log, segment, None)])
def test_in_a_block_of_one_state_a_file_can_be_read_that_is_removed_meanwhile(
    twelve: EventLog, cold: Path, remove: Callable[[EventLog, Segment], object]
) -> None:
    segment, *_ = make(twelve, cold)
    file = place(twelve, segment)
    with EventLog(twelve.path) as reader:
        with reader.store.one_state():
            remove(twelve, segment)
            assert not file.exists()
            assert list(checking.problems(reader, segment)) == []
            assert replayed(reader) == list(range(1, 13))
        assert replayed(reader) == list(range(1, 13))


def test_a_block_of_one_state_begins_where_a_file_is_lost_and_closes_the_others(twelve: EventLog, cold: Path) -> None:
    first, *_ = make(twelve, cold)
    place(twelve, first).unlink()
    with EventLog(twelve.path) as reader:
        before = len(os.listdir("/dev/fd"))
        with reader.store.one_state():
            assert len(os.listdir("/dev/fd")) == before + 2
            assert list(checking.problems(reader, first)) != []
        assert len(os.listdir("/dev/fd")) == before


COUNT = "[projection.c]\ntable = 'create table c(tag)'\n[projection.c.on]\nT = \"insert into c values ('{}')\"\n"


def test_while_a_version_is_in_place_the_models_names_are_its_tables(log: EventLog) -> None:
    hold(log, COUNT.format("old"))
    put(log, event("s-1"))
    run(log).end()
    hold(log, COUNT.format("new"))
    run(log).end()
    projections = log.store.projections()
    previous = next(version for version in projections.versions() if version.state == "previous")
    with log.transaction():
        with projections.placed(previous):
            assert list(projections.select("select tag from c")) == [("old",)]
        assert list(projections.select("select tag from c")) == [("new",)]
