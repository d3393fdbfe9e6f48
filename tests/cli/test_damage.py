"""What a command fails on without a reason of its own is damage if the log has any, else a bug."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Esctl, succeeded
from tests.logs import alter


@pytest.fixture
def run(run: Esctl) -> Esctl:
    """Runs esctl on a log of three events, of which two are archived."""
    for number in range(3):
        succeeded(run("append", "s", "T", f"n={number}"))
    succeeded(run("archive", "create", "--before", "#3", "--yes", "--quiet"))
    return run


@pytest.mark.parametrize(
    ("sql", "command", "finding"),
    [
        ("update segments set location = 'a' || char(0)", "replay", "texts: location in the table segments has a NUL"),
        ("update types set name = cast(x'ff41' as text)", "types", "the name of a type is not UTF-8: b'\\xffA'"),
        ("update events set id = cast(x'ff' as text)", "replay -o csv", "text, position 3: a text of the event is not"),
        (
            "update head set recorded = cast(x'ff' as text)",
            "append s T",
            "log: it fails on a value",
        ),
    ],
)
def test_a_value_that_no_esctl_stores_is_damage_and_no_bug(
    run: Esctl, log_path: Path, sql: str, command: str, finding: str
) -> None:
    alter(log_path, sql)
    done = run(*command.split())
    assert done.returncode == 6
    assert f"{log_path} is damaged or altered" in done.stderr
    assert finding in done.stderr
    assert f"fix: esctl verify --log {log_path}" in done.stderr
    assert "bug" not in done.stderr


def test_debug_shows_what_the_command_failed_on(run: Esctl, log_path: Path) -> None:
    alter(log_path, "update types set name = cast(x'ff' as text)")
    assert "Traceback" in run("types", "--debug").stderr
