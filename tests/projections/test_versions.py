"""A changed definition gets a version beside the one that is read, and takes its place when it has caught up."""

from __future__ import annotations

import apsw
import pytest

from esctl.errors import ConflictError
from esctl.log import EventLog
from esctl.projections import admin, runs
from esctl.projections.versions import current
from tests.logs import hold, put, run
from tests.projections.counts import (
    CHECK,
    COUNTS,
    DOUBLE,
    INTO,
    ORDERS,
    PLAIN,
    event,
    fill,
    rebuilt,
    rows,
    states,
    stumbling,
    tables,
    through,
)


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


# A table that another has


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


def of_an_older_release(log: EventLog) -> None:
    """Forget which compiler the versions are from, as if an older esctl had made them."""
    with log.transaction():
        log.store._connection.execute("update projections set compiled = json_remove(compiled, '$.engine')")


def test_a_version_that_an_older_release_compiled_alike_is_kept_and_compared_once(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xyx")
    run(log)
    of_an_older_release(log)
    assert current(log) is None
    run(log)
    assert states(log) == {"live": 4}
    assert current(log) is not None


def test_a_version_that_an_older_release_compiled_otherwise_is_built_anew(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xyx")
    run(log)
    of_an_older_release(log)
    with log.transaction():
        log.store._connection.execute("update projections set fingerprint = 'of other SQL'")
    run(log)
    assert states(log) == {"live": 4, "previous": 4}


def test_a_version_that_was_brought_back_stays_whoever_compiled_it(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xyx")
    run(log)
    hold(log, DOUBLE)
    run(log)
    through(log, admin.roll_back(log, "counts"))
    before = rows(log)
    of_an_older_release(log)
    run(log)
    assert rows(log) == before
