"""What tests of states share: a log with two orders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from esctl.log import EventLog
from esctl.points.marks import set_mark
from esctl.states.folding import StateAt
from tests.logs import day, event, hold, put

ORDER = """
[aggregate.order]
streams = "order-*"
initial = { status = "New" }

[aggregate.order.on.Placed]
set = { status = "Placed", total = "$.total" }

[aggregate.order.on.Paid]
set = { status = "Paid" }
add = { paid = "$.amount" }

[aggregate.wide]
streams = "nothing-*"

[aggregate.wide.on."*"]
add = { events = 1 }
"""


def value(state: StateAt) -> Any:
    return json.loads(state.state)


@pytest.fixture
def shop(log: EventLog) -> EventLog:
    """Two orders, three transactions; the times of the second order run backwards."""
    hold(log, ORDER)
    put(log, event("order-1", "Placed", {"total": 30}, time=day(1)), event("order-2", "Placed", {"total": 5}))
    set_mark(log, "placed", 3)
    put(log, event("order-1", "Paid", {"amount": 10}, time=day(5)))
    put(log, event("order-1", "Paid", {"amount": 20}, time=day(3)))
    return log
