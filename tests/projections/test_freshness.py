"""Who wants to see rows has them current where that is quick, and else is told what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl import open_log
from esctl.errors import UnavailableError
from esctl.log import EventLog
from esctl.projections import freshness

MODEL = """
[projection.counts]
table = "create table counts(type text primary key, n integer)"
[projection.counts.on]
"*" = "insert into counts values (new.type, 1) on conflict do update set n = n + 1"
"""


@pytest.fixture
def path(log_path: Path) -> Path:
    """A log whose projection lacks three events."""
    (log_path.parent / "model.toml").write_text(MODEL)
    with open_log(log_path, write=True) as log:
        log.apply_model(log_path.parent / "model.toml")
        log.project()
        log.append_all([{"stream": "s", "type": type_} for type_ in "ABA"])
    return log_path


def test_who_is_not_far_behind_catches_up(path: Path) -> None:
    with EventLog(path, write=True) as log:
        found = freshness.freshen(log, "counts")
    assert (found.behind, found.position, found.has_handlers, found.failures, found.hindered) == (0, 4, True, [], None)


@pytest.mark.parametrize(("always", "behind"), [(False, 3), (True, 0)])
def test_who_is_far_behind_waits_for_a_run_or_until_it_is_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, always: bool, behind: int
) -> None:
    monkeypatch.setattr(freshness, "FEW_EVENTS", 3)
    with EventLog(path, write=True) as log:
        assert freshness.freshen(log, "counts", always=always).behind == behind


def test_a_log_that_cannot_be_written_has_the_rows_that_it_has(path: Path) -> None:
    with EventLog(path) as log:
        found = freshness.freshen(log, "counts")
        assert (found.behind, isinstance(found.hindered, UnavailableError)) == (3, True)
        with pytest.raises(UnavailableError):
            freshness.freshen(log, "counts", always=True)


def test_a_log_is_opened_for_reading_where_it_cannot_be_for_writing(path: Path) -> None:
    tried = []

    def opening(write: bool) -> EventLog:
        tried.append(write)
        if write:
            raise UnavailableError("it is read-only")
        return EventLog(path)

    with freshness.opened(opening) as log:
        assert log.head()[0] == 4
    assert tried == [True, False]
