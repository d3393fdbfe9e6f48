"""How projections stand: their versions, how far they are behind, what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.archive import creation
from esctl.log import EventLog
from esctl.projections import status as projection_status
from esctl.upkeep.verify import verify
from tests.logs import alter, hold, run
from tests.projections.counts import COUNTS, DOUBLE, ORDERS, fill, status


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


def test_a_compiled_form_that_is_not_the_models_is_a_problem(log: EventLog, log_path: Path) -> None:
    hold(log, COUNTS + ORDERS)
    fill(log, "xyx")
    run(log)
    assert list(projection_status.problems(log, full=True)) == []
    log.close()
    alter(log_path, "update projections set compiled = replace(compiled, 'n + 1', 'n + 2') where name = 'counts'")
    with EventLog(log_path) as again:
        assert list(projection_status.problems(again, full=True)) == [
            ("counts", "the compiled form of the projection counts is not what the model compiles to")
        ]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("compiled", "'[]'", "it is no JSON object"),
        ("version", "-3", "a version of the projection counts has the number -3"),
        ("position", "99", "the projection counts is at position 99"),
    ],
)
def test_an_altered_record_of_a_projection_is_a_problem(
    log: EventLog, log_path: Path, column: str, value: str, problem: str
) -> None:
    hold(log, COUNTS)
    run(log)
    log.close()
    alter(log_path, f"update projections set {column} = {value}")
    with EventLog(log_path) as again:
        assert any(problem in found for _, found in projection_status.problems(again, full=False))
