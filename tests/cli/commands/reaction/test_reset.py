"""`esctl reaction reset`."""

from __future__ import annotations

import pytest

from tests.conftest import Esctl, records


@pytest.mark.parametrize(("point", "position"), [("beginning", 0), ("now", 4), ("#3", 2)])
def test_a_reset_has_a_plan_and_asks(mail: Esctl, point: str, position: int) -> None:
    plan = records(mail("reaction", "reset", "mail", "--from", point, "--dry-run"))
    assert plan == [{"reaction": "mail", "before": 4, "position": position, "letters": 1}]
    assert mail("reaction", "reset", "mail", "--from", point).returncode == 2
    assert len(records(mail("dead-letter", "list"))) == 1
    done = mail("reaction", "reset", "mail", "--from", point, "--yes")
    assert (done.returncode, records(done)) == (0, plan)
    assert f"goes on behind position {position} instead of 4" in done.stderr
    assert records(mail("dead-letter", "list")) == []
    assert records(mail("reaction", "status"))[0]["position"] == position
