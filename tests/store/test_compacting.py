"""Free space goes back to the file system, at once unless somebody reads."""

from __future__ import annotations

import pytest

from esctl.store.store import Store
from tests.stores import commit, event


@pytest.mark.parametrize("full", [False, True])
def test_free_pages_leave_the_file(store: Store, full: bool) -> None:
    commit(store, *(event(data='"' + "x" * 5000 + '"') for _ in range(200)))
    with store.transaction():
        store.cut(0)
    before, after, shrunk = store.compact(full=full)
    assert after < before / 2
    assert shrunk
    assert store.head().position == 0
