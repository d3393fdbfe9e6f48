"""The memory of SQLite is bounded within a block, and as before after it."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest

from esctl.store.heap import limited


def test_what_needs_more_memory_fails_and_the_limit_ends_with_the_block() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        with limited(8_000_000), pytest.raises((apsw.NoMemError, MemoryError)):
            connection.execute("select length(zeroblob(10000000) || 'a')").fetchall()
        assert connection.execute("select length(zeroblob(10000000) || 'a')").fetchall()
