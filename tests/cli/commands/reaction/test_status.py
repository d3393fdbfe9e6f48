"""`esctl reaction status`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import Esctl, records, succeeded


def test_a_status_says_how_far_it_is_and_what_failed(mail: Esctl) -> None:
    (found,) = records(mail("reaction", "status"))
    assert {name: found[name] for name in ("state", "lag", "parked", "handled", "error")} == {
        "state": "idle", "lag": 0, "parked": 1, "handled": 2, "error": "#2 Placed in order-2: failed with status 65"
    }  # fmt: skip
    assert json.loads(succeeded(mail("reaction", "status", "mail", "-o", "json"))) == found
    table = succeeded(mail("reaction", "status", "-o", "table"))
    assert "parked" in table
    assert "holder" not in table


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--max-lag", "3"], 0),
        (["--max-lag", "2"], 9),
        (["--max-age", "1h"], 0),
        (["mail", "--max-lag", "0"], 9),
    ],
)
def test_a_limit_that_is_passed_is_an_error(mail: Esctl, log_path: Path, words: list[str], code: int) -> None:
    with open_log(log_path, write=True) as log:
        for _ in range(3):
            log.append("order-3", "Placed")
    done = mail("reaction", "status", *words)
    assert (done.returncode, len(records(done))) == (code, 1)
    assert ("3 events behind" in done.stderr) == (code == 9)


@pytest.mark.parametrize("age", ["x", "-1", "5 weeks", "1y", ""])
def test_a_limit_that_is_no_length_of_time_is_refused(mail: Esctl, age: str) -> None:
    assert mail("reaction", "status", f"--max-age={age}").returncode == 2


def test_a_reaction_that_is_not_there_is_not_found(mail: Esctl) -> None:
    done = mail("reaction", "status", "mial")
    assert done.returncode == 3
    assert "did you mean mail?" in done.stderr
