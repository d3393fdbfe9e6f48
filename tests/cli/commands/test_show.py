"""`esctl show`: one event, whole, and the tree of what is connected with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esctl import open_log
from esctl.events.lines import Defaults, parser
from esctl.log import EventLog
from tests.cli.commands.conftest import FIELDS
from tests.conftest import Esctl, succeeded, writer_of

LINES = [
    '{"stream":"order-1","type":"Placed","id":"a","data":{"n": 1.50},"meta":{"correlation_id":"c"}}',
    '{"stream":"payment-1","type":"Paid","id":"b","meta":{"correlation_id":"c","causation_id":"a"}}',
    '{"stream":"order-2","type":"Placed","id":"3","data":"é"}',
    '{"stream":"order-1","type":"Closed","id":"d","meta":{"correlation_id":"c","causation_id":"b"}}',
]


@pytest.fixture
def run(run: Esctl, log_path: Path) -> Esctl:
    """Run esctl on a log of the events above and a mark."""
    parse = parser(Defaults())
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append([parse(line.encode()) for line in LINES])
    with open_log(log_path, write=True) as marked:
        marked.mark("end")
    return run


@pytest.mark.parametrize("reference", ["1", "#1", "a"])
def test_an_event_is_found_by_position_and_by_id(run: Esctl, reference: str) -> None:
    whole = run("replay", "--hash", "--limit", "1").stdout
    assert succeeded(run("show", reference)) == whole
    assert json.loads(succeeded(run("show", reference, "-o", "json"))) == json.loads(whole)
    assert succeeded(run("show", reference, "-o", "raw")) == '{"n": 1.50}\n'


def test_what_could_be_both_is_a_position(run: Esctl) -> None:
    assert json.loads(run("show", "3").stdout)["id"] == "3"
    assert run("append", "s", "T", "--id", "2").returncode == 0
    assert json.loads(run("show", "2").stdout)["id"] == "b"


def test_an_id_of_digits_beyond_the_head_is_an_id(run: Esctl) -> None:
    assert run("append", "s", "T", "--id", "99").returncode == 0
    assert json.loads(run("show", "99").stdout)["position"] == 6


def test_an_event_of_the_log_s_own_can_be_shown(run: Esctl) -> None:
    assert json.loads(succeeded(run("show", "5")))["stream"] == "$esctl"


def test_people_get_a_line_a_field_and_nothing_is_cut(run: Esctl) -> None:
    long = "x" * 3000
    assert run("append", "order-9", "Noted", f"text={long}").returncode == 0
    lines = succeeded(run("show", "6", "-o", "table", env={"COLUMNS": "60"})).splitlines()
    assert [line.split()[0] for line in lines] == [*FIELDS, "salt", "hash"]
    assert lines[8].split()[1] == f'{{"text":"{long}"}}'


def test_csv_has_a_header_and_a_row(run: Esctl) -> None:
    header, row = succeeded(run("show", "2", "-o", "csv")).splitlines()
    assert header.split(",") == [*FIELDS, "salt", "hash"]
    assert row.startswith("2,payment-1,1,b,Paid,1,")


@pytest.mark.parametrize("reference", ["0", "6", "#99", "nothing", "-", "A", "9" * 40])
def test_an_event_that_is_not_there_is_exit_3(run: Esctl, reference: str) -> None:
    for options in ([], ["--trace"], ["-o", "table"]):
        done = run("show", *options, reference)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"there is no event {reference}" in done.stderr


# --trace


@pytest.mark.parametrize(("reference", "pointed"), [("a", 0), ("2", 1), ("d", 2)])
def test_the_trace_is_the_same_tree_from_each_of_its_events_and_points_at_that_one(
    run: Esctl, reference: str, pointed: int
) -> None:
    lines = [line.rstrip() for line in succeeded(run("show", reference, "--trace", "-o", "table")).splitlines()]
    drawn = ["#1 Placed in order-1 v1", "└── #2 Paid in payment-1 v1", "    └── #4 Closed in order-1 v2"]
    for index, (line, start) in enumerate(zip(lines, drawn, strict=True)):
        assert line.startswith(start)
        assert line.endswith("<-") == (index == pointed)


def test_the_trace_as_data_has_the_depth_of_each_event(run: Esctl) -> None:
    lines = [json.loads(line) for line in succeeded(run("show", "2", "--trace")).splitlines()]
    assert [(line["depth"], line["position"], line["id"]) for line in lines] == [(0, 1, "a"), (1, 2, "b"), (2, 4, "d")]
    assert list(lines[0]) == ["depth", *FIELDS[:8]]
    assert json.loads(succeeded(run("show", "2", "--trace", "-o", "json"))) == lines
    assert succeeded(run("show", "2", "--trace", "-o", "csv")).startswith("depth,position,")


def test_an_event_that_is_connected_with_nothing_is_a_tree_of_one(run: Esctl) -> None:
    assert succeeded(run("show", "3", "--trace", "-o", "table")).startswith("#3 Placed in order-2 v1")
    assert succeeded(run("show", "3", "--trace")).count("\n") == 1
