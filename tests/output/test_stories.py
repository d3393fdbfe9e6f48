"""The entries of a story in words: short, and nothing that happened is hidden."""

from __future__ import annotations

from typing import Any

import pytest

from esctl.output.stories import cells, duration

ENTRY: dict[str, Any] = {
    "position": 7, "stream": "s", "version": 2, "type": "Paid", "time": "2026-01-01T00:00:00.000000Z", "elapsed": 60,
    "changes": [], "causation_id": None, "cause": None, "marks": [], "erased": False, "refused": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "+0s"), (0.25, "+0.25s"), (-0.5, "-0.5s"), (1.9, "+00:00:01"), (5025, "+01:23:45"),
        (86399.9, "+23:59:59"), (86400, "+1d 00:00"), (38 * 86400 + 18720, "+38d 05:12"), (-90, "-00:01:30"),
    ],
)  # fmt: skip
def test_a_duration_has_days_and_minutes_or_hours_to_seconds_or_a_part_of_a_second(
    seconds: float | None, text: str
) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ('"New"', '"Paid"', "a: New → Paid"), (None, "5", "a: 5"), ("5", None, "a: 5 → gone"),
        ('""', "null", 'a: "" → null'), ("[1]", "{}", "a: [1] → {}"),
    ],
)  # fmt: skip
def test_a_change_is_told_with_both_values_and_an_empty_one_is_visible(
    before: str | None, after: str | None, text: str
) -> None:
    entry = {**ENTRY, "changes": [{"path": "a", "change": "", "before": before, "after": after}]}
    assert cells(entry)[-1] == text


def test_what_is_special_about_an_event_comes_before_its_changes() -> None:
    change = {"path": "a", "change": "added", "before": None, "after": "1"}
    entry = {**ENTRY, "changes": [change, change], "causation_id": "e-1", "marks": ["audit"], "refused": True}
    assert cells(entry)[-1] == "(refused) [audit] (caused by e-1) a: 1, a: 1"
    assert cells({**ENTRY, "erased": True})[-1] == "(erased)"


def test_a_cause_in_the_log_is_named_by_its_position() -> None:
    assert cells({**ENTRY, "causation_id": "e-1", "cause": 3})[-1] == "(caused by #3)"


def test_a_part_of_a_split_event_has_its_number() -> None:
    assert cells({**ENTRY, "part": 2})[:4] == ("#7/2", ENTRY["time"], "+00:01:00", "Paid")
