"""What SQLite can say of a log without the chain."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from esctl.store.store import Store
from tests.logs import alter


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_log_has_no_findings(mixed: Store, full: bool) -> None:
    assert list(mixed.check(full=full)) == []


@pytest.mark.parametrize(
    ("sql", "check", "full"),
    [
        ("update head set position = position + 1", "contiguity", False),
        ("update head set created = '2026-01-01T00:00:00.000000Z'", "head", False),
        ("update events set version = version + 1 where position = 20", "versions", False),
        ("delete from events where position = 3", "contiguity", False),
        ("update events set data = '{' where position = 2", "json", True),
        ("update streams set name = name || char(10)", "names", False),
        ("update types set name = char(27) || name", "names", False),
        ("update events set id = char(127) || id where position = 2", "names", True),
    ],
)
def test_what_is_not_as_it_has_to_be_is_found_by_its_check(filled: Path, sql: str, check: str, full: bool) -> None:
    alter(filled, sql)
    with closing(Store(filled)) as store:
        found = {check for check, _, _ in store.check(full=full)}
    assert check in found
