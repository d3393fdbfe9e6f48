"""`esctl dead-letter drop`."""

from __future__ import annotations

from tests.conftest import Esctl, records


def test_a_drop_gives_up_one_event_and_has_the_others_handled(mail: Esctl) -> None:
    plan = records(mail("dead-letter", "drop", "mail", "order-2", "--dry-run"))
    assert plan == [{"reaction": "mail", "stream": "order-2", "position": 2}]
    assert mail("dead-letter", "drop", "mail", "order-2").returncode == 2
    assert records(mail("dead-letter", "list"))[0]["state"] == "parked"
    done = mail("dead-letter", "drop", "mail", "--all", "--yes")
    assert (records(done), done.stderr) == (plan, "mail never handles these: #2 in order-2\n")
    assert records(mail("react", "mail", "--exec", "true", "--changed"))[0]["handled"] == 1
    assert records(mail("dead-letter", "list")) == []
