"""`esctl reaction resume`."""

from __future__ import annotations

from tests.conftest import Esctl, records


def test_a_reaction_can_be_resumed_again_and_again(mail: Esctl) -> None:
    for _ in range(2):
        done = mail("reaction", "resume", "mail")
        assert records(done) == [{"reaction": "mail", "paused": False}]
    assert records(mail("reaction", "status"))[0]["state"] == "idle"
    assert mail("react", "mail").returncode == 0


def test_a_reaction_that_is_not_there_is_not_found(mail: Esctl) -> None:
    assert mail("reaction", "resume", "x").returncode == 3
