"""`esctl projection status`: how projections stand."""

from __future__ import annotations

import json

from tests.cli.commands.projection.conftest import HEAD, STATUS, Run


def test_the_status_tells_rows_checkpoint_lag_and_size(run: Run) -> None:
    assert run("projection", "run", "daily_revenue").code == 0
    behind, ahead, _ = run("projection", "status").records
    assert list(behind) == list(ahead) == STATUS
    assert (behind["rows"], behind["lag"]) == (0, 418)
    assert (ahead["rows"], ahead["position"], ahead["lag"], ahead["lag_seconds"]) == (43, HEAD, 0, 0)
    assert ahead["bytes"] > 0
    assert len(ahead["fingerprint"]) == 64
    assert [record["projection"] for record in run("projection", "status", "daily_revenue").records] == [
        "daily_revenue"
    ]


def test_the_status_names_the_event_the_handler_and_the_message_with_exit_9(fragile: Run) -> None:
    assert fragile("projection", "status").code == 0
    assert fragile("projection", "run").code == 9
    for format_ in ("ndjson", "table", "csv"):
        done = fragile("projection", "status", "-o", format_)
        assert done.code == 9
        assert "UNIQUE" in done.out
        assert "stopped at position 4" in done.err
    (record,) = [
        r for r in map(json.loads, fragile("projection", "status").out.splitlines()) if r["projection"] == "strict"
    ]
    assert (record["failed"], record["position"], record["rows"], record["lag"]) == (4, 3, 2, 2)
    assert "T" in record["handler"]
    assert record["failed_at"] is not None
    assert fragile("projection", "status", "lenient").code == 0
