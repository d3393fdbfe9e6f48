"""The event on which a read has failed is found, wherever it is."""

from __future__ import annotations

import pytest

from esctl.archive import creation
from esctl.events.query import Query
from esctl.store import candidates, failing, reads
from esctl.store import format as storage
from tests.logs import event, fresh, put

BROKEN = "data ->> 'n' = 13 and json_extract(data, 'no path')"


@pytest.mark.parametrize("archived", [0, 9, 20])
@pytest.mark.parametrize("types", [(), ("Rare",)])
def test_the_first_event_that_cannot_be_read_is_found(
    types: tuple[str, ...], archived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "POSITIONS_PER_BLOCK", 5)
    monkeypatch.setattr(reads, "LEAST_POSITIONS", 0)
    monkeypatch.setattr(candidates, "POINTS", 2)
    with fresh() as log:
        put(log, *(event("s", "Rare" if n % 6 == 1 else "T", {"n": n}) for n in range(1, 21)))
        if archived:
            list(creation.create(log, [(1, archived)], most=5))
        scan = log.store._scan(Query(types=types, where=BROKEN))
        assert failing.failing(log.store._reading, scan) == 13


def test_a_version_of_a_stream_has_its_position() -> None:
    with fresh() as log:
        put(log, *(event(f"s-{n % 2}") for n in range(6)))
        scan = log.store._scan(Query(stream="s-1"))
        assert failing.position_of(log.store._reading, scan, 2) == 4
        assert failing.position_of(log.store._reading, scan, 9) is None
