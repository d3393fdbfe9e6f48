"""What a log holds, counted and listed."""

from __future__ import annotations

import pytest

from esctl.store.store import Store
from tests.stores import MIXED


def test_names_are_those_of_the_events(mixed: Store) -> None:
    assert list(mixed.facts().names("stream")) == sorted({e[0] for e in MIXED}, key=str.encode)
    assert list(mixed.facts().names("type")) == sorted({e[1] for e in MIXED}, key=str.encode)


@pytest.mark.parametrize("prefix", ["", "a", "emoji-", 'quo"', "é", "plain-1", "plain-12", "%", "ü"])
def test_names_with_a_prefix_are_those_that_begin_so(mixed: Store, prefix: str) -> None:
    names = sorted({e[0] for e in MIXED}, key=str.encode)
    assert list(mixed.facts().names("stream", prefix)) == [name for name in names if name.startswith(prefix)]
