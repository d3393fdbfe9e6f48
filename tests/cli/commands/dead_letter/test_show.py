"""`esctl dead-letter show`."""

from __future__ import annotations

import json

from tests.conftest import Esctl, succeeded


def test_a_letter_is_shown_with_what_the_handler_wrote(mail: Esctl) -> None:
    for reference in ("order-2", "#2", "2"):
        found = json.loads(succeeded(mail("dead-letter", "show", "mail", reference, "-o", "json")))
        assert (found["waiting"], found["stderr"]) == (1, "no such address\n")
    assert mail("dead-letter", "show", "mail", "order-1").returncode == 3
