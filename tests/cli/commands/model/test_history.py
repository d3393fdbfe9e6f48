"""`esctl model history`: every model that was applied."""

from __future__ import annotations

import pytest

from tests.cli.commands.model.conftest import MODEL, Model
from tests.conftest import Esctl, records


def test_the_history_lists_every_model_oldest_first(run: Esctl, model: Model) -> None:
    for text in (MODEL, "", MODEL):
        assert run("model", "apply", model(text)).returncode == 0
    rows = records(run("model", "history"))
    assert [(row["number"], row["position"], row["actor"]) for row in rows] == [
        (1, 3, "zoe"), (2, 4, "zoe"), (3, 5, "zoe"),
    ]  # fmt: skip
    assert rows[0]["fingerprint"] == rows[2]["fingerprint"] != rows[1]["fingerprint"]


@pytest.mark.parametrize(
    ("format_", "empty"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", "number,position,time,actor,fingerprint\n"), ("table", "")],
)
def test_a_log_without_a_model_has_an_empty_history(run: Esctl, format_: str, empty: str) -> None:
    done = run("model", "history", "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")
