"""A log with a reaction that parked one stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import Esctl


@pytest.fixture
def mail(run: Esctl, log_path: Path) -> Esctl:
    """The reaction `mail` has handled two of four events; order-2 is parked at the second, and the fourth waits."""
    with open_log(log_path, write=True) as log:
        for n in range(4):
            log.append(f"order-{n % 2 + 1}", "Placed", {"n": n})
    command = "test $ESCTL_STREAM = order-1 || { echo 'no such address' >&2; exit 65; }"
    assert run("react", "mail", "--shell", "--exec", command, "--from", "beginning").returncode == 0
    return run
