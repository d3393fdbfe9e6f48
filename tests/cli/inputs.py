"""Lines for `esctl append`, and what became of them."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Esctl, succeeded

LINE = b'{"stream":"good-1","type":"Good"}'


def events(run: Esctl) -> list[dict[str, Any]]:
    """Everything that the log holds."""
    return [json.loads(line) for line in succeeded(run("replay")).splitlines()]


def lines(*events: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)
