"""Folds and projections get events as if some payloads were erased, and the file does not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esctl.archive import creation
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding
from tests.logs import event, hold, put

MODEL = """
[aggregate.sum]
streams = "s-*"
on.T.add = { n = "$.n" }
"""
where = pytest.mark.parametrize("archived", [0, 3, 5])


@pytest.fixture
def filled(log: EventLog, archived: int, tmp_path: Path) -> EventLog:
    """Five events that add 1, 2, 4, 8 and 16, of which the first are archived."""
    put(log, *(event("s-1", "T", {"n": 2**n}) for n in range(5)))
    hold(log, MODEL)
    if archived:
        list(creation.create(log, [(1, archived)], to=tmp_path / "cold"))
    return log


def total(log: EventLog) -> Any:
    return json.loads(folding.state(log, Query(stream="s-1"), saved=False).state).get("n")


@where
@pytest.mark.parametrize("write", [True, False])
def test_a_fold_passes_over_payloads_that_are_imagined_to_be_erased(
    filled: EventLog, log_path: Path, write: bool
) -> None:
    before = list(filled.read(Query(system=True)))
    with EventLog(log_path, write=write) as log:
        with log.store.projections().imagined([2, 4, 4]) as imagined:
            assert total(log) == 31
            with imagined.erased():
                assert total(log) == 31 - 2 - 8
            assert total(log) == 31
            with imagined.erased():
                assert total(log) == 31 - 2 - 8
        assert total(log) == 31
        assert list(log.read(Query(system=True))) == before


@where
def test_nothing_that_was_imagined_outlives_a_failure(filled: EventLog) -> None:
    with pytest.raises(ZeroDivisionError), filled.store.projections().imagined([1]) as imagined, imagined.erased():
        raise ZeroDivisionError
    assert total(filled) == 31
    with filled.store.projections().imagined([5]) as imagined, imagined.erased():
        assert total(filled) == 15
