"""`esctl reaction drop`."""

from __future__ import annotations

from tests.conftest import Esctl, records


def test_a_drop_has_a_plan_and_asks(mail: Esctl) -> None:
    plan = records(mail("reaction", "drop", "mail", "--dry-run"))
    assert plan == [{"reaction": "mail", "position": 4, "letters": 1}]
    assert mail("reaction", "drop", "mail").returncode == 2
    assert records(mail("reaction", "drop", "mail", "--yes")) == plan
    assert mail("reaction", "drop", "mail", "--yes").returncode == 3
