"""`esctl types`: which types there are, in which versions of their shape, and how many events of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.events.lines import Defaults, parser
from esctl.log import EventLog
from tests.conftest import Esctl, writer_of

EVENTS = [("Placed", 1, 4), ("Paid", 1, 2), ("Placed", 10, 9), ("Placed", 2, 3), ("漢字", 1, 5), ("Placed", 2, 1)]


@pytest.fixture
def run(run: Esctl, log_path: Path) -> Esctl:
    """Run esctl on a log of the events above and a mark."""
    lines = [
        f'{{"stream":"s-{day}","type":"{type_}","schema":{schema},"time":"2026-01-0{day}T00:00:00Z","data":"é"}}\n'
        for type_, schema, day in EVENTS
    ]
    parse = parser(Defaults())
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append([parse(line.encode()) for line in lines])
    with open_log(log_path, write=True) as marked:
        marked.mark("end")
    return run


def listed(run: Esctl, *arguments: str) -> list[dict[str, Any]]:
    done = run("types", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_type_has_its_counts_ends_and_bytes(run: Esctl) -> None:
    def moment(day: int) -> str:
        return f"2026-01-0{day}T00:00:00.000000Z"

    each = len('"é"'.encode()) + len("{}")
    keys = ("type", "events", "first_position", "last_position", "first_time", "last_time", "bytes")
    types = [tuple(line[key] for key in keys) for line in listed(run)]
    assert types == [
        ("Paid", 1, 2, 2, moment(2), moment(2), each),
        ("Placed", 4, 1, 6, moment(4), moment(1), 4 * each),
        ("漢字", 1, 5, 5, moment(5), moment(5), each),
    ]


def test_schemas_are_the_versions_stored_in_order_each_once(run: Esctl) -> None:
    assert {line["type"]: line["schemas"] for line in listed(run)} == {"Paid": "1", "Placed": "1,2,10", "漢字": "1"}


def test_the_log_s_own_types_are_listed_only_if_asked_for(run: Esctl) -> None:
    assert [line["type"] for line in listed(run, "--system")] == ["MarkSet", "Paid", "Placed", "漢字"]


def test_every_format_holds_the_same(run: Esctl) -> None:
    types = listed(run)
    assert json.loads(run("types", "-o", "json").stdout) == types
    header, *rows = run("types", "-o", "tsv").stdout.splitlines()
    assert header.split("\t") == list(types[0])
    assert [row.split("\t") for row in rows] == [[str(value) for value in line.values()] for line in types]
    table = run("types", "-o", "table").stdout.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [[line["type"], str(line["events"])] for line in types]


def test_no_types_are_no_failure(esctl: Esctl, log_path: Path) -> None:
    done = esctl("types", "-l", str(log_path))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
