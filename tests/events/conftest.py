"""The local time zone of tests of times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def zone() -> Iterator[Callable[[str], None]]:
    """Sets the zone that is local to this process."""
    with pytest.MonkeyPatch.context() as patch:

        def local(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield local
    time.tzset()
