"""Projections are rebuilt, rolled back and dropped; a copy of a log has the rows of what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.errors import NotFoundError
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.projections import admin, runs, versions
from esctl.projections import status as projection_status
from esctl.upkeep import copies, erasure
from tests.logs import hold, put, run
from tests.projections.counts import COUNTS, DOUBLE, LIST, ORDERS, event, fill, rebuilt, rows, states, tables, through

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


def test_a_rollback_that_is_done_is_not_undone_by_another(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    number = admin.roll_back(log, "counts")
    through(log, number)
    through(log, admin.roll_back(log, "counts"))
    assert (rows(log), states(log)) == ([("x", 1), ("y", 1)], {"live": 4, "previous": 4})
    through(log, admin.rebuild(log, "counts", from_scratch=False))
    assert rows(log) == [("x", 2), ("y", 2)]
    assert admin.roll_back(log, "counts") == number


def test_under_another_model_a_rollback_is_a_new_one(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    through(log, admin.roll_back(log, "counts"))
    hold(log, COUNTS + "# another\n")
    run(log)
    assert rows(log) == [("x", 1), ("y", 1)]
    through(log, admin.roll_back(log, "counts"))
    assert rows(log) == [("x", 2), ("y", 2)]


def test_a_rollback_that_was_left_unfinished_goes_on_when_it_is_run_again(log: EventLog) -> None:
    hold(log, COUNTS)
    fill(log, "xy")
    run(log)
    hold(log, DOUBLE)
    run(log)
    number = admin.roll_back(log, "counts")
    assert admin.roll_back(log, "counts") == number
    through(log, number)
    assert (rows(log), states(log)) == ([("x", 1), ("y", 1)], {"live": 4, "previous": 4})


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


# Rebuilt


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
