"""Bound the memory that SQLite takes in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def limited(size: int) -> Iterator[None]:
    """A block in which SQLite gets no more than so many bytes; what needs more raises MemoryError or an EsctlError."""
    before = apsw.hard_heap_limit(size)
    try:
        yield
    finally:
        apsw.hard_heap_limit(before)
