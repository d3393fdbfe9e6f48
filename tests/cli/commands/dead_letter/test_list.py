"""`esctl dead-letter list`."""

from __future__ import annotations

from tests.conftest import Esctl, records, succeeded


def test_letters_are_listed(mail: Esctl) -> None:
    (found,) = records(mail("dead-letter", "list"))
    assert found.pop("since")
    assert found == {
        "reaction": "mail", "stream": "order-2", "position": 2, "type": "Placed", "state": "parked", "attempts": 1,
        "status": 65, "error": "failed with status 65",
    }  # fmt: skip
    assert len(records(mail("dead-letter", "list", "mail"))) == 1
    assert mail("dead-letter", "list", "x").returncode == 3
    assert "order-2" in succeeded(mail("dead-letter", "list", "-o", "table"))
