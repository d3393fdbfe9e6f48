"""Read models kept up to date: where a run stops and goes on, which version is read, what changes do to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from esctl.archive import creation
from esctl.errors import ConflictError, HandlerError, NotFoundError
from esctl.events.event import NewEvent
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.projections import admin, runs, versions
from esctl.projections import status as projection_status
from esctl.upkeep import copies, erasure
from esctl.upkeep.verify import verify
from tests.logs import IDS, hold, put, run

COUNTS = """
[projection.counts]
table = "create table counts(k text primary key, n integer not null)"
[projection.counts.on]
T = "insert into counts values (new.data ->> 'k', 1) on conflict(k) do update set n = n + 1"
"""
DOUBLE = COUNTS.replace("'k', 1)", "'k', 2)").replace("n + 1", "n + 2")
LIST = """
[projection.list]
table = "create table list(position integer primary key, n)"
[projection.list.on]
"*" = "insert into list values (new.position, new.data ->> 'n')"
"""
# Two tables, of which the first refers to the second
ORDERS = '''
[projection.orders]
[projection.orders.tables]
lines = "create table lines(item integer primary key, k text not null references orders)"
orders = "create table orders(k text primary key)"
[projection.orders.on]
T = """
insert into orders values (new.data ->> 'k') on conflict do nothing; insert into lines(k) values (new.data ->> 'k')"""
'''


@pytest.fixture
def other(log: EventLog) -> Iterator[EventLog]:
    """Another process, as it were, that has the same log open."""
    with EventLog(log.path, write=True) as other:
        yield other


def event(n: int = 0, k: str = "x", *, type_: str = "T", schema: int = 0, **data: Any) -> NewEvent:
    return "s-1", type_, next(IDS), None, schema, json.dumps({"n": n, "k": k, **data}), "{}", None


def fill(log: EventLog, keys: str) -> None:
    """Append an event a letter, which is its `k`; `n` counts them."""
    put(log, *(event(n, k) for n, k in enumerate(keys, 1)))


def through(log: EventLog, version: int) -> None:
    for _ in runs.catch_up(log, version):
        pass


def rebuilt(log: EventLog, name: str) -> None:
    through(log, admin.rebuild(log, name, from_scratch=True))


def rows(log: EventLog, table: str = "counts") -> list[tuple[Any, ...]]:
    return list(log.store.projections().select(f"select * from {table} order by 1"))


def states(log: EventLog, name: str = "counts") -> dict[str, int]:
    """The states of a projection's versions, with the position of each."""
    return {v.state: v.position for v in log.store.projections().versions() if v.name == name}


def tables(log: EventLog) -> list[str]:
    """The tables in the file that are a projection's."""
    like = " or ".join(f"name glob '{name}*'" for name in ("counts", "list", "orders", "lines", "more"))
    sql = f"select name from sqlite_schema where type = 'table' and ({like}) order by name"
    return [str(name) for (name,) in log.store.projections().select(sql)]


def status(log: EventLog, name: str, state: str = "live") -> dict[str, Any]:
    return next(one for one in projection_status.status(log, [name]) if one["state"] == state)


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


def test_a_handler_sees_events_as_upcasts_read_them(log: EventLog) -> None:
    hold(
        log,
        LIST + "[[event.Old.upcast]]\nfrom = 1\ntype = 'T'\nschema = 1\nrename = { m = 'n' }\n"
        "[[event.Gone.upcast]]\nfrom = 1\ndrop = true\n",
    )
    put(log, ("s-1", "Old", "a", None, 1, '{"m":7}', "{}", None), event(8, type_="Gone", schema=1), event(9))
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

CHECK = "table = 'create table list(position integer primary key, n check (n <> 3))'\n"
PLAIN = "table = 'create table list(position integer primary key, n)'\n"
STRICT = "table = 'create table list(position integer primary key, n integer) strict'\n"
INTO = "{} list values (new.position, new.data ->> 'n')"
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


def stumbling(table: str, handler: str) -> str:
    return f"[projection.list]\n{table}[projection.list.on]\nT = {json.dumps(handler)}\n"


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
    assert found["error"] == "t cannot be converted to number"


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


# A definition that changed


def test_a_changed_definition_is_built_beside_the_one_that_is_read_and_fed(
    log: EventLog, other: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(log, COUNTS)
    fill(log, "xyx")
    run(log)
    hold(log, DOUBLE)
    assert states(log) == {"live": 4, "building": 0}
    assert rows(log) == [("x", 2), ("y", 1)]
    fill(log, "yz")
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    seen = [rows(other) for _ in runs.run(log, [], runs.Run())]
    assert seen[0] == [("x", 2), ("y", 2)]
    assert seen[1:-1] == [[("x", 2), ("y", 2), ("z", 1)]] * (len(seen) - 2)
    assert seen[-1] == [("x", 4), ("y", 4), ("z", 2)]
    assert states(log) == {"live": 7, "previous": 7}


def test_while_a_new_version_cannot_be_built_the_live_one_is_read_and_fed(log: EventLog) -> None:
    hold(log, stumbling(PLAIN, INTO.format("insert into")))
    fill(log, "xyz")
    run(log)
    hold(log, stumbling(CHECK, INTO.format("insert into")))
    fill(log, "x")
    done = run(log)
    assert [failure.details["position"] for failure in done.failures] == [4]
    assert states(log, "list") == {"live": 6, "building": 3}
    fill(log, "y")
    run(log)
    assert [position for position, _ in rows(log, "list")] == [2, 3, 4, 6, 7]
    hold(log, stumbling(PLAIN, INTO.format("insert or ignore into")))
    run(log).end()
    assert states(log, "list") == {"live": 8, "previous": 8}
    assert [position for position, _ in rows(log, "list")] == [2, 3, 4, 6, 7]


def test_going_back_to_the_live_definition_forgets_the_one_that_was_building(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "x")
    run(log)
    hold(log, DOUBLE)
    hold(log, COUNTS)
    assert states(log) == {"live": 2}
    assert tables(log) == ["counts"]


def test_the_live_version_is_fed_under_the_upcasts_that_it_was_made_with(log: EventLog) -> None:
    upcast = "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\nset = { k = 'upcast' }\n"
    hold(log, COUNTS)
    put(log, event(k="x", schema=1))
    run(log)
    hold(log, COUNTS + upcast)
    put(log, event(k="y", schema=1))
    live = next(v for v in log.store.projections().versions() if v.state == "live")
    through(log, live.version)
    assert rows(log) == [("x", 1), ("y", 1)]
    run(log)
    assert rows(log) == [("upcast", 2)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("# a comment\n", id="comment"),
        pytest.param('[aggregate.a]\nstreams = "a-*"\n', id="aggregate"),
        pytest.param(
            "[projection.more]\ntable = 'create table more(a)'\non = { T = 'delete from more' }\n", id="other"
        ),
        pytest.param("[[event.Unseen.upcast]]\nfrom = 1\nset = { a = 1 }\n", id="upcast"),
        pytest.param("[event.T]\nerasable = true\n", id="erasable"),
        pytest.param("[projection.counts.columns.n]\nlabel = 'N'\n", id="columns"),
    ],
)
def test_what_a_projection_does_not_see_makes_no_new_version_of_it(log: EventLog, change: str) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, COUNTS + change)
    assert states(log) == {"live": 3}
    run(log, "counts")
    assert states(log) == {"live": 4}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(DOUBLE, id="handler"),
        pytest.param(COUNTS.replace("not null", ""), id="table"),
        pytest.param(
            COUNTS.replace(
                "[projection.counts.on]", "indexes = ['create index ns on counts(n)']\n[projection.counts.on]"
            ),
            id="index",
        ),
        pytest.param(COUNTS + "B = 'delete from counts'\n", id="another handler"),
        pytest.param(COUNTS + "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\nset = { k = 'z' }\n", id="upcast"),
        pytest.param(COUNTS + "[[event.Old.upcast]]\nfrom = 1\ntype = 'T'\nschema = 1\n", id="upcast into its type"),
        pytest.param(COUNTS + "[[event.T.upcast]]\nfrom = 1\ntype = 'New'\nschema = 1\n", id="upcast out of its type"),
    ],
)
def test_what_decides_its_rows_makes_a_new_version(log: EventLog, changed: str) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, changed)
    assert states(log) == {"live": 3, "building": 0}
    run(log)
    assert states(log) == {"live": 4, "previous": 4}


def test_a_change_of_inline_alone_holds_at_once_for_every_version_that_may_be_read(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "x")
    run(log)
    rebuilt(log, "counts")
    hold(log, COUNTS.replace("[projection.counts.on]", "inline = true\n[projection.counts.on]"))
    assert states(log) == {"live": 2, "previous": 2}
    fill(log, "y")
    assert rows(log) == [("x", 1), ("y", 1)]
    through(log, admin.roll_back(log, "counts"))
    fill(log, "y")
    assert rows(log) == [("x", 1), ("y", 2)]
    hold(log, COUNTS)
    fill(log, "y")
    assert rows(log) == [("x", 1), ("y", 2)]


def test_a_projection_that_is_gone_from_the_model_is_gone_with_all_its_tables(log: EventLog) -> None:
    hold(log, COUNTS + ORDERS)
    fill(log, "xyx")
    run(log)
    rebuilt(log, "orders")
    assert tables(log) == ["counts", "lines", "lines__2", "orders", "orders__2"]
    hold(log, COUNTS)
    assert tables(log) == ["counts"]
    assert states(log, "orders") == {}


def test_a_table_of_a_projection_that_goes_is_free_for_another(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE.replace("projection.counts", "projection.anew").replace("table =", "tables.counts ="))
    run(log)
    assert rows(log) == [("x", 2), ("y", 2)]


def test_a_table_that_somebody_made_is_left_alone(log: EventLog) -> None:
    log.close()
    other = apsw.Connection(str(log.path))
    other.execute("create table counts(mine); insert into counts values (1)").fetchall()
    other.close()
    with EventLog(log.path, write=True) as again:
        with pytest.raises(ConflictError, match="the projection counts cannot have the table counts"):
            hold(again, COUNTS)
        assert again.definitions.position == 0
        assert rows(again) == [(1,)]


# One after the other, and back


def test_a_rollback_brings_the_previous_rows_back_caught_up(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    fill(log, "z")
    through(log, admin.roll_back(log, "counts"))
    assert rows(log) == [("x", 1), ("y", 1), ("z", 1)]
    assert states(log) == {"live": 5, "previous": 4}
    through(log, admin.roll_back(log, "counts"))
    assert rows(log) == [("x", 2), ("y", 2), ("z", 2)]


def test_what_was_brought_back_stays_until_another_model_is_applied(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    through(log, admin.roll_back(log, "counts"))
    fill(log, "z")
    run(log)
    run(log)
    assert rows(log) == [("x", 1), ("y", 1), ("z", 1)]
    assert states(log) == {"live": 5, "previous": 4}
    hold(log, DOUBLE + "# another\n")
    run(log)
    assert rows(log) == [("x", 2), ("y", 2), ("z", 2)]


def test_what_was_brought_back_stays_when_others_are_built_anew(log: EventLog) -> None:
    other = LIST.replace('"*"', "Other")
    hold(log, COUNTS + other)
    put(log, event(k="x"), event(type_="Other"), event(5, type_="Other"))
    run(log)
    hold(log, DOUBLE + other)
    run(log)
    through(log, admin.roll_back(log, "counts"))
    list(erasure.erase(log, [3], "asked"))
    erasure.scrub(log)
    run(log)
    assert rows(log, "list") == [(4, 5)]
    assert (rows(log), states(log)) == ([("x", 1)], {"live": log.head()[0], "previous": 5})


def test_a_rebuild_after_a_rollback_is_of_what_the_model_says(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    through(log, admin.roll_back(log, "counts"))
    through(log, admin.rebuild(log, "counts", from_scratch=False))
    assert rows(log) == [("x", 2), ("y", 2)]
    run(log)
    assert rows(log) == [("x", 2), ("y", 2)]


def test_a_rollback_that_was_left_unfinished_goes_on_with_the_next_run(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    fill(log, "xyz")
    admin.roll_back(log, "counts")
    assert states(log) == {"live": 4, "building": 4}
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 1)
    run(log)
    assert rows(log) == [("x", 2), ("y", 2), ("z", 1)]


def test_there_is_nothing_to_bring_back_where_nothing_was_replaced(log: EventLog) -> None:
    hold(log, COUNTS)
    with pytest.raises(NotFoundError, match="there is no previous version of counts"):
        admin.roll_back(log, "counts")
    with pytest.raises(NotFoundError, match="there is no projection list"):
        admin.roll_back(log, "list")


def test_tables_that_refer_to_each_other_change_places_and_back(log: EventLog) -> None:
    hold(log, ORDERS)
    fill(log, "xyx")
    run(log)
    for _ in range(2):
        rebuilt(log, "orders")
        fill(log, "z")
        run(log)
    through(log, admin.roll_back(log, "orders"))
    assert [k for _, k in rows(log, "lines")] == ["x", "y", "x", "z", "z"]
    sql = 'select distinct "table" from pragma_foreign_key_list(?)'
    for live in log.store.projections().versions():
        lines = live.actual("lines")
        assert list(log.store.projections().select(sql, (lines,))) == [(live.actual("orders"),)]
    assert list(log.store.projections().select("select * from pragma_foreign_key_check")) == []
    admin.drop(log, "orders")
    assert tables(log) == []


def test_a_projection_that_was_dropped_comes_back_only_when_it_is_named(log: EventLog) -> None:
    hold(log, COUNTS + LIST)
    fill(log, "xy")
    run(log)
    assert [version.name for version in admin.drop(log, "counts")] == ["counts"]
    run(log)
    hold(log, COUNTS + LIST + "# another\n")
    run(log)
    assert (tables(log), states(log)) == (["list"], {"dropped": 0})
    with pytest.raises(NotFoundError, match="the projection counts has no tables"):
        versions.live(log, "counts")
    with pytest.raises(NotFoundError, match="there is nothing of the projection counts to drop"):
        admin.drop(log, "counts")
    run(log, "counts")
    assert rows(log) == [("x", 1), ("y", 1)]
    assert states(log) == {"live": 4}


def test_a_projection_that_was_dropped_and_is_rebuilt_simply_begins_anew(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    rebuilt(log, "counts")
    admin.drop(log, "counts")
    rebuilt(log, "counts")
    assert (rows(log), states(log)) == ([("x", 1), ("y", 1)], {"live": 3})


def test_a_projection_that_was_dropped_and_left_the_model_comes_back_with_it(log: EventLog) -> None:
    hold(log, COUNTS + LIST)
    admin.drop(log, "counts")
    hold(log, LIST)
    hold(log, COUNTS + LIST)
    fill(log, "xy")
    run(log)
    assert rows(log) == [("x", 1), ("y", 1)]


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


def test_what_one_has_begun_to_build_another_ends(
    log: EventLog, other: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, COUNTS)
    fill(log, "xyxyx")
    run(log)
    number = admin.rebuild(log, "counts", from_scratch=False)
    advancing = runs.catch_up(log, number)
    next(advancing)
    assert admin.rebuild(other, "counts", from_scratch=False) == number
    assert states(other) == {"live": 6, "building": 2}
    run(other)
    assert states(log) == {"live": 6, "previous": 6}
    assert rows(log) == [("x", 3), ("y", 2)]


def test_from_scratch_throws_away_what_was_begun(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 2)
    hold(log, COUNTS)
    fill(log, "xyxyx")
    run(log)
    next(runs.catch_up(log, admin.rebuild(log, "counts", from_scratch=False)))
    admin.rebuild(log, "counts", from_scratch=True)
    assert states(log) == {"live": 6, "building": 0}


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


# Erased payloads


def held_anywhere(path: str | Path, secret: bytes) -> list[str]:
    """The files of a log in which some bytes stand."""
    return [p.name for p in Path(path).parent.rglob("*") if p.is_file() and secret in p.read_bytes()]


ERASABLE = "[event.T]\nerasable = true\n"


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("other", ["nothing", "previous", "building", "rolled back"])
def test_what_is_erased_is_in_no_version_of_any_projection(
    log: EventLog, other: str, archived: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(log, ERASABLE + COUNTS + LIST)
    put(log, *(event(n, f"secret-{n:03}-" + "x" * 40 * n) for n in range(1, 40)))
    run(log)
    if other != "nothing":
        admin.rebuild(log, "counts", from_scratch=True)
        monkeypatch.setattr(runs, "POSITIONS_PER_TRANSACTION", 10)
        build = runs.catch_up(log, next(v.version for v in log.store.projections().versions() if v.version > 2))
        for _, _ in zip(range(99 if other != "building" else 2), build, strict=False):
            pass
    if other == "rolled back":
        admin.roll_back(log, "counts")
    if archived:
        list(creation.create(log, [(1, 30)], most=20))
    before = rows(log)
    list(erasure.erase(log, [8, 35], "asked"))
    assert rows(log) == before  # read until it is built anew
    assert erasure.scrub(log)
    run(log).end()
    gone = {f"secret-{n:03}" for n in (7, 34)}
    assert [k for k, _ in rows(log)] == [k for k, _ in before if k[:10] not in gone]
    assert [position for position, _ in rows(log, "list")] == [n for n in range(2, 41) if n not in (8, 35)]
    assert states(log) == {"live": log.head()[0]}
    log.close()
    assert held_anywhere(log.path, b"secret-007") == held_anywhere(log.path, b"secret-034") == []
    assert held_anywhere(log.path, b"secret-006") != []


def test_a_projection_that_never_sees_the_type_is_left_alone_by_an_erasure(log: EventLog) -> None:
    hold(log, ERASABLE + COUNTS + LIST.replace('"*"', "Other"))
    fill(log, "xyz")
    run(log)
    rebuilt(log, "list")
    list(erasure.erase(log, [3], "asked"))
    erasure.scrub(log)
    assert states(log, "list") == {"live": 4, "previous": 4}
    assert [v.version for v in log.store.projections().versions() if v.name == "counts"] == [4]


def test_a_type_is_seen_under_the_name_that_an_upcast_gives_it(log: EventLog) -> None:
    hold(log, COUNTS + "[[event.Old.upcast]]\nfrom = 1\ntype = 'T'\nschema = 1\n[event.Old]\nerasable = true\n")
    put(log, event(k="secret", type_="Old", schema=1), event())
    run(log)
    list(erasure.erase(log, [2], "asked"))
    erasure.scrub(log)
    assert rows(log) == [("x", 1)]


def test_where_it_cannot_be_built_anew_what_was_built_takes_its_place(log: EventLog) -> None:
    """A row that stands for what is erased may not stay because a later event has no row without it."""
    hold(
        log,
        ERASABLE + "[projection.list]\ntable = 'create table list(n not null)'\n[projection.list.on]\n"
        'T = "insert into list values (new.data ->> \'k\')"\nU = "insert into list select (select n from list)"\n',
    )
    put(log, event(k="secret-payload"), event(type_="U"), event(k="later"))
    run(log).end()
    list(erasure.erase(log, [2], "asked"))
    erasure.scrub(log)
    assert (rows(log, "list"), states(log, "list")) == ([], {"live": 2})
    assert status(log, "list")["failed"] == 3
    log.close()
    assert held_anywhere(log.path, b"secret-payload") == []


def test_the_message_of_what_stopped_a_projection_goes_with_the_payload_that_it_quotes(log: EventLog) -> None:
    """SQLite quotes what it stumbles over."""
    hold(
        log,
        ERASABLE + stumbling(PLAIN, "insert into list values (new.position, new.data -> ('$' || (new.data ->> 'k')))"),
    )
    put(log, event(k=""), event(k="secret-payload"))
    run(log)
    assert "secret-payload" in status(log, "list")["error"]
    list(erasure.erase(log, [3], "asked"))
    erasure.scrub(log)
    log.close()
    assert held_anywhere(log.path, b"secret-payload") == []


def test_an_erasure_that_was_not_scrubbed_is_seen_to_by_the_next_run(log: EventLog) -> None:
    hold(log, ERASABLE + COUNTS)
    fill(log, "xyz")
    run(log)
    list(erasure.erase(log, [3], "asked"))
    run(log)
    assert (rows(log), states(log)) == ([("x", 1), ("z", 1)], {"live": 5})


# Copies of a log


def test_a_backup_holds_the_rows_and_goes_on_from_them(log: EventLog, tmp_path: Path) -> None:
    hold(log, COUNTS + ORDERS)
    fill(log, "xyx")
    run(log)
    rebuilt(log, "counts")
    copies.backup(log, tmp_path / "backup.db")
    with EventLog(tmp_path / "backup.db") as backup:
        copies.restore(backup, tmp_path / "restored.db")
    for name in ("backup.db", "restored.db"):
        with EventLog(tmp_path / name, write=True) as copy:
            assert states(copy) == {"live": 4, "previous": 4}
            fill(copy, "z")
            assert [record["version"] for record in run(copy).records] == [3, 2]
            assert rows(copy) == [("x", 2), ("y", 1), ("z", 1)]
            assert [k for _, k in rows(copy, "lines")] == ["x", "y", "x", "z"]


@pytest.mark.parametrize("position", [1, 2, 4, 5, 6, 8])
def test_a_fork_has_the_rows_of_what_it_holds(log: EventLog, tmp_path: Path, position: int) -> None:
    """Versions stand before the place, at it, and beyond it; each is either of use or gone."""
    hold(log, LIST + ORDERS)
    fill(log, "xyx")
    run(log, "list")
    rebuilt(log, "list")
    fill(log, "yz")
    run(log, "list")
    assert states(log, "list") == {"live": 6, "previous": 4}
    hold(log, LIST + COUNTS)  # position 7
    fill(log, "z")
    copies.fork(log, tmp_path / "fork.db", position)
    with EventLog(tmp_path / "fork.db", write=True) as fork:
        fill(fork, "w")
        run(fork).end()
        kept = [n for n in (2, 3, 4, 5, 6, 8) if n <= position]
        assert [at for at, _ in rows(fork, "list")] == [*kept, position + 2]
        other = "counts" if position > 6 else "orders"
        assert set(states(fork, other)) == {"live"}
        assert {k for k, *_ in rows(fork, other)} == {*"xyxyz.z"[: max(0, position - 1)], "w"} - {"."}


def test_a_fork_in_which_only_a_previous_version_is_of_use_has_rows_again(log: EventLog, tmp_path: Path) -> None:
    hold(log, LIST)
    fill(log, "xyx")
    run(log)
    rebuilt(log, "list")
    fill(log, "yz")
    run(log)
    copies.fork(log, tmp_path / "fork.db", 5)
    with EventLog(tmp_path / "fork.db", write=True) as fork:
        run(fork).end()
        assert [at for at, _ in rows(fork, "list")] == [2, 3, 4, 5]


def test_a_log_that_was_rewritten_builds_its_projections_anew_when_they_are_run(log: EventLog, tmp_path: Path) -> None:
    text = LIST + "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\nset = { n = 7 }\n"
    hold(log, text)
    put(log, event(1, schema=1), event(2))
    run(log)
    found = rows(log, "list")
    rewriting.rewrite(log, tmp_path / "new.db", lambda events, _: events)
    with EventLog(tmp_path / "new.db", write=True) as new:
        assert [record["state"] for record in projection_status.listed(new)] == ["new"]
        run(new)
        assert rows(new, "list") == found == [(2, 7), (3, 2)]


# What is told


def test_a_list_says_where_each_version_is_and_where_its_rows_are(log: EventLog) -> None:
    hold(log, COUNTS + ORDERS)
    fill(log, "xyx")
    run(log, "counts")
    hold(log, DOUBLE + ORDERS)
    told = {(one["projection"], one["state"]): one for one in projection_status.listed(log)}
    assert [(key, one["tables"], one["position"], one["lag"]) for key, one in told.items()] == [
        (("counts", "live"), "counts", 4, 0),
        (("counts", "building"), "counts__3", 0, 3),
        (("orders", "live"), "lines,orders", 0, 3),
    ]


def test_the_lag_counts_events_and_not_the_logs_own(log: EventLog) -> None:
    hold(log, COUNTS)
    run(log)
    fill(log, "x")
    hold(log, COUNTS + "# another\n")
    fill(log, "yz")
    hold(log, COUNTS + "# a third\n")
    assert status(log, "counts")["lag"] == 3
    list(creation.create(log, [(1, 4)], most=2))
    assert status(log, "counts")["lag"] == 3
    assert status(log, "counts")["lag_seconds"] >= 0
    assert list(projection_status.behind(log, "select * from COUNTS, log")) == [("counts", 3)]
    assert list(projection_status.behind(log, "select * from log")) == []


def test_a_status_counts_rows_of_all_tables_and_the_bytes_that_they_take(log: EventLog) -> None:
    hold(log, ORDERS)
    fill(log, "xyx")
    run(log)
    found = status(log, "orders")
    assert (found["rows"], found["lag"], found["lag_seconds"], found["failed"]) == (5, 0, 0, None)
    assert found["bytes"] >= 2 * 4096
    assert len(found["fingerprint"]) == 64


def test_a_checkpoint_beyond_the_head_is_a_finding(log: EventLog) -> None:
    hold(log, COUNTS)
    with log.transaction():
        version = log.store.projections().versions()[0]
        version.position = 99
        log.store.projections().save(version)
    assert [str(finding["problem"]) for finding in verify(log, full=False, expect_head=None).findings] == [
        "the projection counts is at position 99, the head at 1"
    ]


def test_a_table_that_another_still_has_stands_in_the_way_of_a_model(log: EventLog) -> None:
    """It is read until the other is built anew without it."""
    hold(log, ORDERS)
    fill(log, "xyx")
    run(log)
    alone = "[projection.orders]\ntable = 'create table orders(k)'\non = { T = 'delete from orders' }\n"
    lines = "[projection.more]\ntables.lines = 'create table lines(k)'\non = { T = 'delete from lines' }\n"
    with pytest.raises(ConflictError, match="the projection more cannot have the table lines") as raised:
        hold(log, alone + lines)
    assert raised.value.why == "the projection orders still has it; apply a model without orders first"
    assert (log.definitions.position, states(log, "orders"), len(rows(log, "lines"))) == (1, {"live": 4}, 3)
    hold(log, alone)
    run(log)
    hold(log, alone + lines)
    run(log)
    assert rows(log, "lines") == rows(log, "orders") == []
