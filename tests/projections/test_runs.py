"""A run takes every event once, in order, whatever stops it in between."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from esctl.errors import HandlerError, NotFoundError, VerificationError
from esctl.events.event import NewEvent
from esctl.log import EventLog
from esctl.projections import admin, runs
from esctl.upkeep import erasure
from esctl.upkeep.verify import verify
from tests.logs import alter, hold, put, run
from tests.projections.counts import (
    CHECK,
    COUNTS,
    DOUBLE,
    ERASABLE,
    INTO,
    LIST,
    PLAIN,
    event,
    fill,
    rebuilt,
    rows,
    states,
    status,
    stumbling,
    tables,
)

# Running


def test_a_run_goes_on_from_where_the_rows_are(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xyx")
    assert run(log).records == [{"projection": "counts", "version": 1, "position": 4, "read": 4, "switched": False}]
    fill(log, "z")
    assert run(log).records[0]["read"] == 1
    assert rows(log) == [("x", 2), ("y", 1), ("z", 1)]
    assert run(log).records[0]["read"] == 0


def test_only_those_that_are_named_run(log: EventLog) -> None:
    hold(log, COUNTS + LIST)
    fill(log, "xy")
    run(log, "list")
    assert (states(log), states(log, "list")) == ({"live": 0}, {"live": 3})


def test_of_a_name_that_is_none_nothing_runs(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    with pytest.raises(NotFoundError, match="there is no projection count") as raised:
        run(log, "counts", "count")
    assert raised.value.why == "did you mean counts?"
    assert states(log) == {"live": 0}


def test_rows_and_checkpoint_are_one_for_every_reader_at_any_moment(
    log: EventLog, other: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, LIST)
    fill(log, "xyzxy")
    advancing = runs.run(log, [], runs.Run())
    seen = [(states(other, "list")["live"], len(rows(other, "list"))) for _ in advancing]
    assert seen == [(2, 1), (4, 3), (6, 5)]


def test_a_run_that_is_left_goes_on_where_its_last_batch_ended(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, LIST)
    fill(log, "xyzxy")
    advancing = runs.run(log, [], runs.Run())
    next(advancing)
    assert states(log, "list") == {"live": 2}
    run(log)
    assert len(rows(log, "list")) == 5


def test_neither_the_logs_own_events_nor_erased_ones_are_seen(log: EventLog) -> None:
    hold(log, LIST)
    fill(log, "xyz")
    list(erasure.erase(log, [3], "asked"))
    hold(log, LIST + "# again\n")
    fill(log, "x")
    run(log)
    assert [position for position, _ in rows(log, "list")] == [2, 4, 7]


ERASED = """
[projection.list]
table = 'create table list(at integer primary key, n)'
[projection.list.on]
T = "insert into list values (new.position, new.data ->> 'n')"
"erased.T" = "insert into list values (new.position, 'erased ' || new.type || ifnull(new.data, ''))"
"""


def test_a_handler_for_erased_events_sees_those_alone_when_it_runs_and_when_all_is_built_again(log: EventLog) -> None:
    hold(log, ERASED)
    fill(log, "xy")
    run(log)
    fill(log, "z")
    list(erasure.erase(log, [3, 4], "asked"))
    run(log)
    expected = [(2, 1), (3, "erased T"), (4, "erased T")]
    assert rows(log, "list") == expected
    admin.rebuild(log, "list", from_scratch=False)
    run(log)
    assert rows(log, "list") == expected


def test_a_handler_for_erased_events_sees_them_under_their_new_type_and_leaves_others_to_any(log: EventLog) -> None:
    hold(
        log,
        "[projection.list]\ntable = 'create table list(at integer primary key, n)'\n[projection.list.on]\n"
        "'*' = \"insert into list values (new.position, new.type || (new.data ->> 'n'))\"\n"
        "'erased.New' = 'insert into list values (new.position, new.stream)'\n"
        "[[event.T.upcast]]\nfrom = 1\ntype = 'New'\n",
    )
    put(log, event(1, schema=1), event(2, type_="Other", schema=1), event(3, schema=1), event(4, type_="erased.New"))
    list(erasure.erase(log, [2, 3], "asked"))
    run(log)
    assert rows(log, "list") == [(2, "s-1"), (4, "New3"), (5, "s-1")]


def test_the_handler_erased_star_is_for_erased_events_of_every_type_without_its_own(log: EventLog) -> None:
    """It can stand alone, too."""
    hold(
        log,
        "".join(
            f"[projection.{name}]\ntable = 'create table {name}(at integer primary key, n)'\n[projection.{name}.on]\n"
            f"'erased.*' = \"insert into {name} values (new.position, 'any ' || new.type)\"\n{more}"
            for name, more in {
                "alone": "",
                "list": "'erased.T' = \"insert into list values (new.position, 'T')\"\n",
            }.items()
        ),
    )
    put(log, event(1), event(2, type_="Other"), event(3, type_="Other"))
    list(erasure.erase(log, [2, 3], "asked"))
    run(log)
    assert rows(log, "list") == [(2, "T"), (3, "any Other")]
    assert rows(log, "alone") == [(2, "any T"), (3, "any Other")]


def test_a_handler_for_erased_events_that_fails_is_named(log: EventLog) -> None:
    hold(log, ERASED.replace("'erased ' || new.type || ifnull(new.data, '')", "abs(-9223372036854775808)"))
    fill(log, "xyz")
    list(erasure.erase(log, [3], "asked"))
    (failure,) = run(log).failures
    assert (failure.details["position"], failure.details["handler"]) == (3, "on.erased.T")
    assert failure.details["field"] == "projection.list.on.erased.T"
    assert "error" not in failure.details  # in JSON, this key has the kind of the error


def test_a_handler_sees_events_as_upcasts_read_them(log: EventLog) -> None:
    hold(
        log,
        LIST + "[[event.Old.upcast]]\nfrom = 1\ntype = 'T'\nschema = 1\nrename = { m = 'n' }\n"
        "[[event.Gone.upcast]]\nfrom = 1\ndrop = true\n",
    )
    put(log, NewEvent("s-1", "Old", "a", None, 1, '{"m":7}', "{}", None), event(8, type_="Gone", schema=1), event(9))
    run(log)
    assert rows(log, "list") == [(2, 7), (4, 9)]


def test_the_parts_of_a_split_event_come_one_after_the_other(log: EventLog) -> None:
    hold(
        log,
        "[projection.list]\ntable = 'create table list(at integer primary key, type, n)'\n[projection.list.on]\n"
        "'*' = \"insert into list(type, n) values (new.type, new.data ->> 'n')\"\n[[event.T.upcast]]\nfrom = 1\n"
        "split = [{ type = 'B', schema = 1, set = { n = 5 } }, { type = 'A', schema = 1 }]\n",
    )
    put(log, event(1, schema=1), event(2, schema=1))
    run(log)
    assert rows(log, "list") == [(1, "B", 5), (2, "A", 1), (3, "B", 5), (4, "A", 2)]


def test_a_quick_run_leaves_to_others_whatever_is_more_than_catching_up(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    assert runs.quick(log, []) == [{"projection": "counts", "version": 1, "position": 3, "read": 3, "switched": False}]
    assert runs.quick(log, ["none"]) is None
    hold(log, DOUBLE)
    assert runs.quick(log, []) is None
    run(log)
    assert runs.quick(log, []) is not None
    fill(log, "xyz")
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    assert runs.quick(log, []) is None
    assert states(log) == {"live": 4, "previous": 4}


# What stops a run

STRICT = "table = 'create table list(position integer primary key, n integer) strict'\n"
ENDLESS = "(with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c)"


def put_at_3(sql: str) -> str:
    """A handler that stores `n`, but of the third event what an expression gives."""
    return f"insert into list values (new.position, iif(new.data ->> 'n' = 3, {sql}, new.data ->> 'n'))"


STUMBLES = [
    pytest.param(CHECK, INTO.format("insert into"), "CHECK constraint failed: n <> 3", id="constraint"),
    pytest.param(CHECK, INTO.format("insert or fail into"), "CHECK constraint failed: n <> 3", id="fail"),
    pytest.param(
        PLAIN,
        put_at_3("json_extract('{', '$')"),
        "malformed JSON",
        id="json",
    ),
    pytest.param(
        STRICT,
        put_at_3("'three'"),
        "cannot store TEXT value in INTEGER column list.n",
        id="strict",
    ),
    pytest.param(
        PLAIN,
        put_at_3(ENDLESS),
        "it ran for more than 0.05 seconds and was stopped",
        id="endless",
    ),
    pytest.param(
        PLAIN,
        put_at_3("abs(-9223372036854775807 - 1)"),
        "integer overflow",
        id="overflow",
    ),
]


@pytest.mark.parametrize("at_once", [1, 3, 20_000])
@pytest.mark.parametrize(("table", "handler", "error"), STUMBLES)
def test_a_run_stops_exactly_at_the_event_that_a_handler_cannot_take(
    log: EventLog, table: str, handler: str, error: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", at_once)
    log.store.patience.seconds = 0.05
    hold(log, stumbling(table, handler) + COUNTS)
    fill(log, "xyzxy")
    done = run(log)
    assert rows(log, "list") == [(2, 1), (3, 2)]
    assert rows(log) == [("x", 2), ("y", 2), ("z", 1)]
    assert [record["projection"] for record in done.records] == ["counts", "list"]
    found = status(log, "list")
    assert (found["position"], found["lag"], found["failed"], found["handler"]) == (3, 3, 4, "on.T")
    assert error in found["error"]
    assert found["failed_at"] > "2026"
    with pytest.raises(HandlerError) as raised:
        done.end()
    assert raised.value.what == "the projection list is stopped at position 4, T in s-1"
    assert raised.value.details["position"] == 4
    assert raised.value.exit_code == 9


@pytest.mark.parametrize(("table", "handler"), [param.values[:2] for param in STUMBLES])
def test_after_the_definition_was_mended_it_is_built_and_goes_on(log: EventLog, table: str, handler: str) -> None:
    log.store.patience.seconds = 0.05
    hold(log, stumbling(table, handler))
    fill(log, "xyzxy")
    run(log)
    hold(log, stumbling(PLAIN, INTO.format("insert into")))
    fill(log, "z")
    done = run(log)
    done.end()
    assert rows(log, "list") == [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (8, 1)]
    assert status(log, "list")["failed"] is None


def test_an_upcast_that_cannot_be_done_stops_those_that_see_it(log: EventLog) -> None:
    hold(log, LIST + COUNTS)
    put(log, event(1), event(2, type_="Other", schema=1, t="no number"), event(3))
    hold(log, LIST + COUNTS + "[event.Other]\nschema = 2\n[[event.Other.upcast]]\nfrom = 1\nconvert = { t = 'number' }")
    done = run(log)
    assert [failure.details["position"] for failure in done.failures] == [3]
    assert rows(log) == [("x", 2)]
    assert rows(log, "list") == [(2, 1), (3, 2), (4, 3)]  # as it was
    found = status(log, "list", "building")
    assert (found["position"], found["failed"], found["handler"]) == (2, 3, "on.*")
    assert found["error"] == "event.Other.upcast[1].convert.t: t cannot be converted to number"


def test_what_was_stopped_stops_there_again_until_it_is_mended(log: EventLog) -> None:
    hold(log, stumbling(CHECK, INTO.format("insert into")))
    fill(log, "xyz")
    first = run(log).failures
    fill(log, "xy")
    second = run(log).failures
    assert [failure.details["position"] for failure in (*first, *second)] == [4, 4]
    assert len(rows(log, "list")) == 2


def test_where_what_it_stumbles_over_is_erased_the_run_goes_on(log: EventLog) -> None:
    hold(log, stumbling(CHECK, INTO.format("insert into")))
    fill(log, "xyzxy")
    run(log)
    list(erasure.erase(log, [4], "asked"))
    run(log).end()
    assert [n for _, n in rows(log, "list")] == [1, 2, 4, 5]
    assert {key: status(log, "list")[key] for key in ("failed", "handler", "error", "failed_at")} == dict.fromkeys(
        ("failed", "handler", "error", "failed_at")
    )


def test_the_handler_is_named_that_could_not_take_its_part_of_a_split_event(log: EventLog) -> None:
    hold(
        log,
        "[projection.list]\n" + CHECK + "[projection.list.on]\nA = 'delete from list where n = 9'\n"
        f'B = "{INTO.format("insert into")}"\n[[event.T.upcast]]\nfrom = 1\n'
        "split = [{ type = 'A', schema = 1 }, { type = 'B', schema = 1 }]\n",
    )
    put(log, *(event(n, schema=1) for n in (1, 2, 3)))
    run(log)
    found = status(log, "list")
    assert (found["failed"], found["handler"]) == (4, "on.B")


def test_several_that_are_stopped_are_told_as_the_first_and_how_many_more(log: EventLog) -> None:
    one = stumbling(CHECK, INTO.format("insert into"))
    hold(log, one + one.replace("list", "more").replace("<> 3", "<> 2"))
    fill(log, "xyz")
    with pytest.raises(HandlerError, match="the projection list is stopped at position 4") as raised:
        run(log).end()
    assert raised.value.what.endswith("(and 1 more: esctl projection status)")


def test_a_table_that_somebody_dropped_stops_its_projection_alone_and_is_a_finding(log: EventLog) -> None:
    hold(log, COUNTS + LIST)
    fill(log, "xy")
    run(log)
    log.close()
    other = apsw.Connection(str(log.path))
    other.execute("drop table counts")
    other.close()
    with EventLog(log.path, write=True) as again:
        assert [str(finding["problem"]) for finding in verify(again, full=False, expect_head=None).findings] == [
            "the table counts of the projection counts is not there"
        ]
        fill(again, "z")
        assert [failure.details["projection"] for failure in run(again).failures] == ["counts"]
        assert len(rows(again, "list")) == 3
        rebuilt(again, "counts")
        assert rows(again) == [("x", 1), ("y", 1), ("z", 1)]


# Several at work


def test_two_that_run_at_the_same_time_take_every_event_once(
    log: EventLog, other: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 1)
    hold(log, COUNTS)
    fill(log, "xyxyx")
    ones, others = (runs.run(one, [], runs.Run()) for one in (log, other))
    for _ in range(9):
        next(ones, None)
        next(others, None)
    assert rows(log) == [("x", 3), ("y", 2)]


def test_a_model_that_is_applied_in_the_middle_of_a_build_is_the_one_that_is_built(
    log: EventLog, other: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, COUNTS)
    fill(log, "xyxyx")
    run(log)
    hold(log, DOUBLE)
    advancing = runs.run(log, [], runs.Run())
    next(advancing)
    next(advancing)
    hold(other, DOUBLE.replace("2", "3"))
    assert states(log) == {"live": 7, "building": 0}
    assert rows(log) == [("x", 3), ("y", 2)]
    list(advancing)
    run(log)
    assert rows(log) == [("x", 9), ("y", 6)]


def test_one_that_was_dropped_by_another_in_the_middle_of_a_run_is_left(
    log: EventLog, other: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, COUNTS)
    fill(log, "xyxyx")
    advancing = runs.run(log, [], runs.Run())
    next(advancing)
    admin.drop(other, "counts")
    assert list(advancing) == []
    assert tables(log) == []


# An erased payload


def test_an_erasure_that_was_not_scrubbed_is_seen_to_by_the_next_run(log: EventLog) -> None:
    hold(log, ERASABLE + COUNTS)
    fill(log, "xyz")
    run(log)
    list(erasure.erase(log, [3], "asked"))
    run(log)
    assert (rows(log), states(log)) == ([("x", 1), ("z", 1)], {"live": 5})


@pytest.mark.parametrize("position", [-1, 5, 2**53])
def test_a_checkpoint_that_is_none_of_the_logs_positions_is_damage(
    log: EventLog, log_path: Path, position: int
) -> None:
    hold(log, COUNTS)
    fill(log, "xyx")
    run(log)
    log.close()
    alter(log_path, f"update projections set position = {position}")
    before = log_path.read_bytes()
    with EventLog(log_path, write=True) as again:
        with pytest.raises(VerificationError, match=f"counts is at position {position}, the head at 4") as raised:
            run(again)
        assert raised.value.fix == "esctl projection rebuild counts"
        assert log_path.read_bytes() == before
        rebuilt(again, "counts")
        assert (rows(again), verify(again, full=False).ok) == ([("x", 2), ("y", 1)], True)
