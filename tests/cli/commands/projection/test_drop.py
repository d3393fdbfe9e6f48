"""`esctl projection drop`: the tables of a projection, removed."""

from __future__ import annotations

import re

from tests.cli.commands.projection.conftest import Run, told


def test_a_drop_asks_has_a_plan_and_is_told(run: Run) -> None:
    assert run("projection", "run").code == 0
    plan = run("projection", "drop", "customer_orders", "--dry-run")
    assert plan.records == [{"projection": "customer_orders", "version": 1, "tables": "customer_orders,order_history"}]
    refused = run("projection", "drop", "customer_orders")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.endswith(" --yes\n")
    assert run("projection", "show", "customer_orders").code == 0
    done = run("projection", "drop", "customer_orders", "--yes")
    assert (done.code, done.out) == (0, plan.out)
    assert "order_history" in done.err
    assert told(run("projection", "drop", "customer_orders", "--yes", "--error-format", "json"), 3)
    assert told(run("projection", "drop", "customer_orders", "--dry-run", "--error-format", "json"), 3)


def test_what_was_dropped_comes_back_only_when_it_is_named(run: Run) -> None:
    assert run("projection", "run").code == 0
    rows = run("projection", "show", "daily_revenue").out
    assert run("projection", "drop", "daily_revenue", "--yes", "-q").err == ""
    assert "daily_revenue" not in [record["projection"] for record in run("projection", "run").records]
    said = told(run("projection", "show", "daily_revenue", "--error-format", "json"), 3)
    assert re.fullmatch(r"esctl projection run --log \S+ daily_revenue", said["fix"])
    assert run("projection", "status").code == 0
    assert run("projection", "verify").code == 0
    assert len(run("projection", "show", "daily_revenue", "--until", "#100").records) == 11
    assert run("projection", "run", "daily_revenue").code == 0
    assert run("projection", "show", "daily_revenue").out == rows
