"""What SQLite can say of a log without the chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from esctl.errors import EsctlError, UnavailableError
from esctl.store.checks import Finding, guarded
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


def test_a_bug_in_a_check_is_no_finding() -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("a bug")
        yield

    with pytest.raises(RuntimeError):
        list(guarded("names", "log.db", broken()))


@pytest.mark.parametrize("error", [ValueError("v"), KeyError("k"), apsw.SQLError("malformed JSON"), EsctlError("e")])
def test_a_value_on_which_a_check_fails_is_a_finding(error: Exception) -> None:
    def failing() -> Iterator[Finding]:
        yield ("names", 1, "first")
        raise error

    found = list(guarded("names", "log.db", failing()))
    assert [(check, position) for check, position, _ in found] == [("names", 1), ("names", None)]


@pytest.mark.parametrize("error", [apsw.CorruptError("c"), UnavailableError("u"), MemoryError()])
def test_what_keeps_a_check_from_its_end_is_no_finding(error: Exception) -> None:
    def failing() -> Iterator[Finding]:
        raise error
        yield

    with pytest.raises(type(error)):
        list(guarded("names", "log.db", failing()))
