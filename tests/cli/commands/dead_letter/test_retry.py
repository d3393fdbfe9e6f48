"""`esctl dead-letter retry`."""

from __future__ import annotations

from tests.conftest import Esctl, records


def test_a_letter_is_tried_again_by_the_next_run(mail: Esctl) -> None:
    done = mail("dead-letter", "retry", "mail", "order-2")
    assert records(done) == [{"reaction": "mail", "stream": "order-2", "position": 2}]
    assert done.stderr == "note: the reaction is not running: esctl react mail\n"
    assert records(mail("dead-letter", "list"))[0]["state"] == "retry"
    assert records(mail("react", "mail", "--exec", "true", "--changed"))[0]["handled"] == 2
    assert records(mail("dead-letter", "list")) == []


def test_which_letters_has_to_be_said(mail: Esctl) -> None:
    assert mail("dead-letter", "retry", "mail").returncode == 2
    assert mail("dead-letter", "retry", "mail", "order-2", "--all").returncode == 2
    assert len(records(mail("dead-letter", "retry", "mail", "--all"))) == 1
