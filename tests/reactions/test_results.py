"""What handlers answer."""

from __future__ import annotations

import errno
import os

from esctl.reactions.items import Item, Line
from esctl.reactions.results import AGAIN, PARK, Result


def test_the_statuses_are_those_of_sysexits() -> None:
    assert (AGAIN, PARK) == (os.EX_TEMPFAIL, os.EX_DATAERR)
    assert errno.ENOENT != AGAIN


def test_a_result_without_an_error_is_of_an_event_that_is_done() -> None:
    item = Item(b"{}", Line(1, "s", 1, "i", "T", 1, "", ""), "s")
    assert Result(item, 0) == (item, 0, "", "", b"", True)
