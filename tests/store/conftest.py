"""Logs that tests of the store read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from esctl.events.event import NewEvent
from esctl.store.store import Store
from tests.conftest import write_empty_log
from tests.stores import ANOTHER, EVENTS, MIXED, appended, commit, events, new_log


@pytest.fixture(scope="module")
def mixed() -> Iterator[Store]:
    with new_log() as connect:
        commit(connect(), *MIXED)
        yield connect(write=False)


@pytest.fixture
def filled(log_path: Path) -> Path:
    with closing(Store(log_path, write=True)) as store:
        appended(store, events(20))
    return log_path


def batch() -> list[NewEvent]:
    """Enough for three windows; payloads of mixed sizes, names that need quoting among them."""
    return [
        NewEvent(
            'cart-"1"' if n % ANOTHER == 0 else "order-1",
            f"Type{n % 5}",
            f"id-{n}",
            f"2026-01-{1 + n % 28:02}T00:00:00.000000Z",
            1,
            f'"{"x" * (n % 97)}{n}"',
            "{}",
            None,
        )
        for n in range(1, EVENTS + 1)
    ]


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that tests of this module read, and never append to."""
    path = tmp_path_factory.mktemp("reads") / "log.db"
    write_empty_log(path)
    with closing(Store(path, write=True)) as store, store.transaction():
        store.append(batch())
    return path


@pytest.fixture(scope="module")
def long_store(long_log: Path) -> Iterator[Store]:
    with closing(Store(long_log)) as store:
        yield store
