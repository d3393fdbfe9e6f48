"""`esctl mark`: names for points, usable wherever a point is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from esctl import open_log
from tests.cli.commands.conftest import marks
from tests.conftest import Esctl


def positions(done: subprocess.CompletedProcess[str]) -> list[int]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line)["position"] for line in done.stdout.splitlines()]


def test_a_mark_is_told_and_listed_with_who_set_it_and_when(zoe: Esctl) -> None:
    made = json.loads(zoe("mark", "before import").stdout)
    assert (made["name"], made["position"], made["actor"]) == ("before import", 5, "zoe")
    assert made["time"] == json.loads(zoe("show", "6").stdout)["time"]
    assert [json.loads(line) for line in zoe("marks").stdout.splitlines()] == [made]


def test_a_mark_of_the_same_name_moves(zoe: Esctl) -> None:
    for point, position in (("#2", 2), ("#4", 4), ("#1", 1)):
        assert zoe("mark", "m", point).returncode == 0
        assert marks(zoe) == [("m", position)]
        assert positions(zoe("replay", "--until", "m")) == list(range(1, position + 1))


def test_a_mark_is_a_point_wherever_a_point_is(zoe: Esctl) -> None:
    zoe("mark", "two", "#2")
    zoe("mark", "four", "#4")
    assert positions(zoe("replay", "--since", "two")) == [2, 3, 4, 5]
    assert positions(zoe("replay", "--since", "two", "--until", "four")) == [2, 3, 4]
    assert positions(zoe("replay", "--as-of", "two")) == [1, 2]
    assert positions(zoe("replay", "s-1", "--as-of", "four", "--reverse")) == [3, 1]
    assert json.loads(zoe("mark", "also two", "two").stdout)["position"] == 2


def test_a_mark_at_a_time_is_what_was_recorded_by_then(zoe: Esctl) -> None:
    recorded = [json.loads(line)["recorded"] for line in zoe("replay").stdout.splitlines()]
    assert json.loads(zoe("mark", "third", recorded[2]).stdout)["position"] == 3
    assert json.loads(zoe("mark", "none", "2020-01-01").stdout)["position"] == 0
    assert positions(zoe("replay", "--until", "none")) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["now"], 2),
        (["#5"], 2),
        (["2026-02-30"], 2),
        ([""], 5),
        (["m\n"], 5),
        (["m" * 513], 5),
        (["m", "#99"], 3),
        (["m", "v1"], 2),
        (["m", "garbage"], 2),
        (["m", "#1", "#2"], 2),
        ([], 2),
    ],
)
def test_what_is_no_mark_is_refused_and_sets_none(zoe: Esctl, log_path: Path, arguments: list[str], code: int) -> None:
    done = zoe("mark", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    with open_log(log_path) as log:
        assert len(list(log.replay(system=True))) == 5


def test_a_name_that_is_none_is_no_point(zoe: Esctl) -> None:
    zoe("mark", "m")
    done = zoe("replay", "--since", "M")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a point in a log" in done.stderr


# The log's own events


def test_a_mark_is_an_event_that_readers_leave_out_unless_named_or_asked_for(zoe: Esctl) -> None:
    zoe("mark", "m")
    zoe("append", "s-1", "T")
    assert positions(zoe("replay")) == [1, 2, 3, 4, 5, 7]
    assert positions(zoe("replay", "--type", "MarkSet")) == []
    assert positions(zoe("replay", "--last", "2")) == [5, 7]
    assert positions(zoe("replay", "--system")) == [1, 2, 3, 4, 5, 6, 7]
    assert positions(zoe("replay", "--system", "--type", "MarkSet")) == [6]
    assert positions(zoe("replay", "$esctl")) == [6]
    event = json.loads(zoe("replay", "$esctl").stdout)
    assert (event["type"], event["data"], event["meta"]) == ("MarkSet", {"name": "m", "position": 5}, {"actor": "zoe"})


def test_nobody_else_appends_to_the_log_s_own_streams(zoe: Esctl) -> None:
    for done in (
        zoe("append", "$esctl", "MarkSet", '{"name":"x","position":1}'),
        zoe("append", input='{"stream":"$mine","type":"T"}\n'),
    ):
        assert done.returncode == 5
        assert "the log's own" in done.stderr
    assert zoe("replay", "--system").stdout.count("\n") == 5


def test_the_chain_holds_over_marks_too(zoe: Esctl) -> None:
    zoe("mark", "m")
    zoe("append", "s-1", "T")
    assert zoe("verify", "--full").returncode == 0


HISTORY = "".join(
    f'{{"stream":"s-{month}","type":"T","time":"2026-0{month}-15T12:00:00Z"}}\n' for month in (1, 2, 3, 4)
)


def test_an_imported_past_is_reported_and_marked_by_time(esctl: Esctl) -> None:
    esctl("init")
    assert esctl("append", input=HISTORY).returncode == 0
    done = esctl("mark", "march", "2026-03-31")
    assert json.loads(done.stdout)["position"] == 0
    note = "note: nothing was recorded by 2026-03-31; 3 events happened by then; --by time counts these\n"
    assert (done.returncode, done.stderr) == (0, note)
    assert esctl("mark", "march", "2026-03-31", "-q").stderr == ""
    done = esctl("mark", "march", "2026-03", "--by", "time")
    assert (json.loads(done.stdout)["position"], done.returncode, done.stderr) == (3, 0, "")
    assert positions(esctl("replay", "--until", "march")) == [1, 2, 3]


def test_a_past_that_is_not_in_order_is_not_marked_by_time(esctl: Esctl) -> None:
    esctl("init")
    lines = HISTORY.splitlines()
    assert esctl("append", input="\n".join([lines[0], lines[3], lines[1]])).returncode == 0
    done = esctl("mark", "march", "2026-03-31", "--by", "time")
    assert (done.returncode, done.stdout) == (2, "")
    assert "#3 T in s-2 happened at 2026-02-15T12:00:00.000000Z, but comes after #2 T in s-4" in done.stderr
    assert marks(esctl) == []


@pytest.mark.parametrize("arguments", [["m", "--by", "time"], ["m", "#2", "--by", "time"], ["m", "now", "--by", "x"]])
def test_by_goes_with_a_time(zoe: Esctl, arguments: list[str]) -> None:
    assert zoe("mark", *arguments).returncode == 2
    assert marks(zoe) == []
