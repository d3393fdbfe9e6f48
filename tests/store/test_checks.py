"""What SQLite can say of a log without the chain."""

from __future__ import annotations

import pytest

from esctl.store.store import Store


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_log_has_no_findings(mixed: Store, full: bool) -> None:
    assert list(mixed.check(full=full)) == []
