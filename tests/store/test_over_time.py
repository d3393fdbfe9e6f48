"""Events over time, counted by summaries and by a look at each."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation
from esctl.errors import VerificationError
from esctl.log import EventLog
from esctl.store import format as storage
from tests.logs import alter, day, event, fresh, put

DAYS = st.lists(st.integers(1, 28), min_size=1, max_size=30)


@settings(max_examples=40)
@given(DAYS, st.integers(0, 20), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_every_event_is_in_its_part_of_the_time(
    days: list[int], archived: int, parts: int, size: int, in_order: bool
) -> None:
    days = sorted(days) if in_order else days
    with pytest.MonkeyPatch.context() as patch, fresh() as log:
        patch.setattr(storage, "POSITIONS_PER_BLOCK", size)
        put(log, *(event(f"s-{n % 3}", f"T{n % 2}", time=day(of)) for n, of in enumerate(days)))
        log.record("MarkSet", {"name": "m", "position": 1})
        list(creation.create(log, [(1, min(archived, len(days)))] if archived else [], most=5))
        over_time = log.store.facts().over_time(parts)
        total, by_type, by_stream = over_time.total(), over_time.by_type(), over_time.by_stream(2)
    width = Fraction(max(days) - min(days), parts)
    limits = [min(days) + width * n for n in range(1, parts)] if width else []
    expected = [bisect_right(limits, of) for of in days]
    assert total == [expected.count(part) for part in range(parts)]
    counted: Counter[tuple[int, str]] = Counter()
    for part, name, events in by_type:
        counted[part, name] += events
    assert counted == Counter((part, f"T{n % 2}") for n, part in enumerate(expected))
    largest = [name for name, _ in Counter(f"s-{n % 3}" for n in range(len(days))).most_common(2)]
    assert {(part, name): events for part, name, events in by_stream} == Counter(
        (part, f"s-{n % 3}") for n, part in enumerate(expected) if f"s-{n % 3}" in largest
    )


def test_a_log_without_events_has_none_in_any_part() -> None:
    with fresh() as log:
        assert log.store.facts().over_time(3).total() == [0, 0, 0]
        assert log.store.facts().over_time(3).by_type() == []


def test_a_time_that_is_none_is_damage(log_path: Path) -> None:
    with EventLog(log_path, write=True) as log:
        put(log, event("s"))
    alter(log_path, "update events set time = 'soon'")
    with EventLog(log_path) as log, pytest.raises(VerificationError, match="damaged"):
        log.store.facts().over_time(3).total()
