"""`esctl reaction list`."""

from __future__ import annotations

from tests.conftest import Esctl, records, succeeded


def test_reactions_are_listed(mail: Esctl) -> None:
    assert mail("react", "audit", "--exec", "true {stream}", "--type", "Placed", "--from", "now").returncode == 0
    found = records(mail("reaction", "list"))
    assert [(one["reaction"], one["state"], one["position"], one["handled"]) for one in found] == [
        ("audit", "idle", 4, 0), ("mail", "idle", 4, 2)
    ]  # fmt: skip
    assert (found[0]["command"], found[0]["filter"]) == ("true {stream}", "--type Placed")


def test_of_a_log_without_reactions_there_is_nothing_to_list(run: Esctl) -> None:
    assert succeeded(run("reaction", "list")) == ""
    assert succeeded(run("reaction", "list", "-o", "csv")).startswith("reaction,part,state")
