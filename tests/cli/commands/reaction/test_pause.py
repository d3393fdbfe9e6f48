"""`esctl reaction pause`."""

from __future__ import annotations

from tests.conftest import Esctl, records


def test_a_reaction_can_be_paused_again_and_again(mail: Esctl) -> None:
    for _ in range(2):
        done = mail("reaction", "pause", "mail")
        assert records(done) == [{"reaction": "mail", "paused": True}]
    assert records(mail("reaction", "status"))[0]["state"] == "paused"
    assert mail("react", "mail").returncode == 8


def test_a_reaction_that_is_not_there_is_not_found(mail: Esctl) -> None:
    assert mail("reaction", "pause", "x").returncode == 3
