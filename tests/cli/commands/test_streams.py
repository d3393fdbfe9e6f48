"""`esctl streams`: which streams there are, and how much is in each."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.events.lines import Defaults, parser
from esctl.log import EventLog
from tests.conftest import Esctl, writer_of

EVENTS = [
    *(("order-2", 5, "{}"), ("order-1", 3, '{"n": 1}'), ("order-1", 9, '"é"'), ("Order-1", 1, "{}")),
    *(("order", 2, "{}"), ("[x]", 2, "{}"), ("漢字-1", 2, "{}"), ("order-2", 4, "[1, 2]")),
]


@pytest.fixture
def run(run: Esctl, log_path: Path) -> Esctl:
    """Run esctl on a log of the events above and a mark."""
    lines = [
        f'{{"stream":"{stream}","type":"T","time":"2026-01-0{day}T00:00:00Z","data":{data}}}\n'
        for stream, day, data in EVENTS
    ]
    parse = parser(Defaults())
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append([parse(line.encode()) for line in lines])
    with open_log(log_path, write=True) as marked:
        marked.mark("end")
    return run


def listed(run: Esctl, *arguments: str) -> list[dict[str, Any]]:
    done = run("streams", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_stream_has_its_counts_ends_and_bytes(run: Esctl) -> None:
    replayed = [json.loads(line) for line in run("replay").stdout.splitlines()]
    streams = listed(run)
    assert [stream["stream"] for stream in streams] == sorted({stream for stream, _, _ in EVENTS})
    for stream in streams:
        own = [event for event in replayed if event["stream"] == stream["stream"]]
        payloads = [data for name, _, data in EVENTS if name == stream["stream"]]
        assert stream == {
            "stream": own[0]["stream"], "events": len(own), "first_position": own[0]["position"],
            "last_position": own[-1]["position"], "first_time": own[0]["time"], "last_time": own[-1]["time"],
            "bytes": sum(len(data.encode()) + len("{}") for data in payloads),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("order-*", ["order-1", "order-2"]),
        ("order*", ["order", "order-1", "order-2"]),
        ("?rder-1", ["Order-1", "order-1"]),
        ("[oO]rder-[13-9]", ["Order-1", "order-1"]),
        ("order-1", ["order-1"]),
        ("漢*", ["漢字-1"]),
        ("[[]x]", ["[x]"]),
        ("nothing*", []),
        ("order-%", []),
        ("", []),
        ("$*", []),
    ],
)
def test_a_pattern_is_a_glob(run: Esctl, pattern: str, names: list[str]) -> None:
    assert [stream["stream"] for stream in listed(run, pattern)] == names


def test_the_log_s_own_streams_are_listed_only_if_asked_for(run: Esctl) -> None:
    assert [stream["stream"] for stream in listed(run, "--system", "$*")] == ["$esctl"]
    assert len(listed(run, "--system")) == len(listed(run)) + 1


def test_every_format_holds_the_same(run: Esctl) -> None:
    streams = listed(run)
    assert json.loads(run("streams", "-o", "json").stdout) == streams
    for format_, delimiter in (("csv", ","), ("tsv", "\t")):
        text = run("streams", "-o", format_).stdout
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        assert rows == [{key: str(value) for key, value in stream.items()} for stream in streams]
    table = run("streams", "-o", "table").stdout.splitlines()
    assert table[0].split() == list(streams[0])
    assert [line.split()[:2] for line in table[1:]] == [[stream["stream"], str(stream["events"])] for stream in streams]


def test_no_streams_are_no_failure(esctl: Esctl, log_path: Path) -> None:
    for format_, printed in (("ndjson", ""), ("json", "[]\n"), ("table", "")):
        done = esctl("streams", "-o", format_, "-l", str(log_path))
        assert (done.returncode, done.stderr, done.stdout) == (0, "", printed)


def test_an_empty_list_as_csv_has_its_header(esctl: Esctl, log_path: Path) -> None:
    for command, first in (("streams", "stream,events"), ("types", "type,events"), ("marks", "name,position")):
        assert esctl(command, "-o", "csv", "-l", str(log_path)).stdout.startswith(first)


@pytest.mark.parametrize("limit", [0, 2, 9])
@pytest.mark.parametrize("archived", [False, True])
def test_a_limit_gives_the_first_streams_by_name(run: Esctl, limit: int, *, archived: bool) -> None:
    if archived:
        assert run("archive", "create", "--before", "#6", "--yes").returncode == 0
    assert listed(run, "--limit", str(limit)) == listed(run)[:limit]
