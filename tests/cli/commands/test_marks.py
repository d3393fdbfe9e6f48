"""`esctl marks`: the names that points of a log have."""

from __future__ import annotations

import json

from tests.cli.commands.conftest import marks
from tests.conftest import Esctl


def test_marks_are_listed_by_position_in_every_format(zoe: Esctl) -> None:
    for name, point in (("c", "#4"), ("a", "#2"), ("b", "#0")):
        assert zoe("mark", name, point).returncode == 0
    assert marks(zoe) == [("b", 0), ("a", 2), ("c", 4)]
    listed = [json.loads(line) for line in zoe("marks").stdout.splitlines()]
    assert json.loads(zoe("marks", "-o", "json").stdout) == listed
    assert zoe("marks", "-o", "csv").stdout.splitlines()[0] == "name,position,time,actor"
    assert [line.split()[:2] for line in zoe("marks", "-o", "table").stdout.splitlines()] == [
        ["name", "position"], ["b", "0"], ["a", "2"], ["c", "4"],
    ]  # fmt: skip
