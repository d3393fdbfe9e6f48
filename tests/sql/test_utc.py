"""The SQL function `utc`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.events.times import utc_text
from esctl.sql.functions import define


@pytest.fixture(scope="module")
def connection() -> Iterator[apsw.Connection]:
    """A database with the function."""
    with closing(apsw.Connection(":memory:")) as connection:
        define(connection)
        yield connection


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-07-28T12:00:00Z", "2026-07-28T12:00:00.000000Z"),
        ("2026-07-28 14:00 +0200", "2026-07-28T12:00:00.000000Z"),
        ("2026-07-28 12:00:00", "2026-07-28T12:00:00.000000Z"),
        ("2026-07-28", "2026-07-28T00:00:00.000000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("@1769848200.5", "2026-01-31T08:30:00.500000Z"),
        (1769848200, "2026-01-31T08:30:00.000000Z"),
        (1769848200.25, "2026-01-31T08:30:00.250000Z"),
        (None, None),
        ("garbage", None),
        ("2026-02-30", None),
        ("now", None),
        ("0123456789", None),
        (b"2026-07-28T12:00:00Z", None),
        (-1, None),
        (10**15, None),
        (float("inf"), None),
        (True, "1970-01-01T00:00:01.000000Z"),  # to SQLite a 1
    ],
)
def test_it_gives_the_logs_form_or_null(connection: apsw.Connection, value: object, expected: str | None) -> None:
    assert connection.execute("select utc(?)", (value,)).get == expected


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30)), st.integers(-23, 23))  # noqa: DTZ001
def test_what_it_gives_is_the_moment(connection: apsw.Connection, moment: datetime, hours: int) -> None:
    shown = (moment + timedelta(hours=0)).isoformat(timespec="microseconds") + f"{hours:+03d}:00"
    expected = utc_text((moment - timedelta(hours=hours)).replace(tzinfo=UTC))
    assert connection.execute("select utc(?), utc(utc(?))", (shown, shown)).get == (expected, expected)


def test_an_index_may_use_it_since_it_is_deterministic(connection: apsw.Connection) -> None:
    connection.execute("create table t(a); create index i on t(utc(a))").fetchall()
