"""`esctl projection list`: the projections of a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl import open_log
from tests.cli.commands.projection.conftest import HEAD, STATUS, Run, runs_in

LISTED = ["projection", "version", "state", "inline", "tables", "position", "lag"]


def test_the_list_has_a_record_a_version(run: Run) -> None:
    records = run("projection", "list").records
    assert [list(record) for record in records] == [LISTED] * 3
    assert [(record["projection"], record["state"], record["inline"]) for record in records] == [
        ("customer_orders", "live", False), ("daily_revenue", "live", False), ("payments_by_status", "live", True),
    ]  # fmt: skip
    assert records[0]["tables"] == "customer_orders,order_history"
    assert (records[0]["position"], records[0]["lag"]) == (0, 418)
    assert run("projection", "run").code == 0
    assert [(r["position"], r["lag"]) for r in run("projection", "list").records] == [(HEAD, 0)] * 3


@pytest.mark.parametrize(("verb", "names"), [("list", LISTED), ("status", STATUS)])
@pytest.mark.parametrize("format_", ["ndjson", "json", "csv", "table", "raw"])
def test_a_log_without_projections_has_an_empty_list(tmp_path: Path, verb: str, names: list[str], format_: str) -> None:
    path = tmp_path / "bare.db"
    with open_log(path, write=True, create=True):
        pass
    empty = {"json": "[]\n", "csv": ",".join(names) + "\n"}.get(format_, "")
    assert runs_in(tmp_path, path)("projection", verb, "-o", format_) == (0, empty, "")
