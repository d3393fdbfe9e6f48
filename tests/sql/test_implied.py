"""What a condition implies of type and time."""

from __future__ import annotations

import pytest

from esctl.sql.implied import implied

T1, T2 = "2026-01-01T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("condition", "types"),
    [
        ("type = 'A'", {"A"}),
        ("'A' = type", {"A"}),
        ("type is 'A'", {"A"}),
        ("type in ('A', 'B')", {"A", "B"}),
        ("type = 'A' or type = 'B'", {"A", "B"}),
        ("(type = 'A' and data ->> 'n' > 5) and stream = 's'", {"A"}),
        ("type in ('A', 'B') and type in ('B', 'C')", {"B"}),
        ("type = 'A' -- a comment", {"A"}),
    ],
)
def test_the_types_that_every_match_has_are_implied(condition: str, types: set[str]) -> None:
    assert implied(condition).types == types


@pytest.mark.parametrize(
    "condition",
    [
        *("type = 'A' or position = 3", "type = 'a' collate nocase", "not type = 'A'", "type <> 'A'", "type = 5"),
        *(
            "type = data ->> 'type'",
            "iif(type = 'A', 1, 0)",
            "type || '' = 'A'",
            "type like 'A'",
        ),
        *("data ->> 'type' = 'A'", "type = 'A' or time > '2026'", "no_such_column = type", "type = ", "position = 1"),
    ],
)
def test_anything_else_implies_no_type(condition: str) -> None:
    assert implied(condition).types is None


@pytest.mark.parametrize(
    ("condition", "since", "until"),
    [
        (f"time >= '{T1}'", T1, None),
        (f"time > '{T1}' and time < '{T2}'", T1, T2),
        (f"time between '{T1}' and '{T2}'", T1, T2),
        (f"'{T2}' >= time", None, T2),
        (f"time = '{T1}'", T1, T1),
        (f"time in ('{T2}', '{T1}')", T1, T2),
        (f"time >= '{T1}' and time >= '{T2}'", T2, None),
        ("time >= utc('2026-01-01')", T1, None),
        (f"time >= '{T1}' or type = 'A'", None, None),
        (f"recorded >= '{T1}'", None, None),
        ("time >= 5", None, None),
    ],
)
def test_the_least_and_greatest_time_of_every_match_are_implied(
    condition: str, since: str | None, until: str | None
) -> None:
    found = implied(condition)
    assert (found.since, found.until) == (since, until)
