"""`esctl info`: the facts of a log, and its events over time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.conftest import Esctl

FACTS = [
    *("log", "log_id", "created", "events", "streams", "types", "first_time", "last_time", "first_recorded"),
    *("last_recorded", "payload_bytes", "head", "file_bytes", "storage_version"),
]


def info(run: Esctl) -> dict[str, Any]:
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    facts: dict[str, Any] = json.loads(line)
    return facts


def appended(run: Esctl, *events: tuple[str, str, str]) -> None:
    lines = [f'{{"stream":"{s}","type":"{t}","time":"{time}","data":"é"}}\n' for s, t, time in events]
    assert run("append", input="".join(lines)).returncode == 0


def test_the_facts_are_those_of_the_events(run: Esctl, log_path: Path) -> None:
    appended(run, ("a", "T", "2026-01-05T00:00:00Z"), ("b", "T", "2026-01-01T00:00:00Z"))
    appended(run, ("a", "U", "2026-01-03T00:00:00Z"))
    facts = info(run)
    events = [json.loads(line) for line in run("replay").stdout.splitlines()]
    assert list(facts) == [*FACTS, "over_time"]
    assert (facts["log"], facts["events"], facts["streams"], facts["types"]) == (str(log_path), 3, 2, 2)
    assert facts["first_time"] == "2026-01-01T00:00:00.000000Z"
    assert facts["last_time"] == "2026-01-05T00:00:00.000000Z"
    assert (facts["first_recorded"], facts["last_recorded"]) == (events[0]["recorded"], events[-1]["recorded"])
    assert facts["created"] <= facts["first_recorded"]
    assert facts["payload_bytes"] == 3 * len('"é"{}'.encode())
    assert f"{facts['head']}\n" == run("head").stdout
    assert facts["file_bytes"] == log_path.stat().st_size
    assert re.fullmatch("[0-9a-f-]{36}", facts["log_id"])


def test_an_empty_log_has_facts_too(run: Esctl) -> None:
    facts = info(run)
    assert (facts["events"], facts["streams"], facts["types"], facts["first_time"]) == (0, 0, 0, None)
    assert sum(facts["over_time"]) == 0
    for format_ in ("table", "csv", "json"):
        assert run("info", "-o", format_).returncode == 0


def test_events_over_time_fall_into_equal_parts_of_it(run: Esctl) -> None:
    moments = ["2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", "2026-01-25T00:00:00Z", "2026-02-18T00:00:00Z"]
    appended(run, *(("s", "T", moment) for moment in moments))
    over_time = info(run)["over_time"]
    assert len(over_time) == 48
    assert {bucket: count for bucket, count in enumerate(over_time) if count} == {0: 2, 24: 1, 47: 1}


def test_events_of_one_moment_are_all_there(run: Esctl) -> None:
    appended(run, *[("s", "T", "2026-01-01T00:00:00Z")] * 5)
    assert sum(info(run)["over_time"]) == 5


def test_the_log_s_own_events_change_neither_counts_nor_times(run: Esctl) -> None:
    """Readers leave them out; a mark set today would stretch the bars of a log that ended years ago."""
    appended(run, ("a", "T", "2020-01-01T00:00:00Z"), ("b", "U", "2020-01-05T00:00:00Z"))
    before = info(run)
    assert run("mark", "here").returncode == 0
    changed = {key for key, value in info(run).items() if value != before[key]}
    assert changed <= {"head", "last_recorded", "file_bytes"}
    assert "MarkSet" not in run("info", "-o", "table").stdout
    assert run("streams").stdout.count("\n") == info(run)["streams"]
    assert run("types").stdout.count("\n") == info(run)["types"]


def bars(text: str) -> list[dict[str, int]]:
    """The blocks of bars: name -> count."""
    blocks = text.split("\n\n")[1:]
    found = [[re.split(r"  +", line) for line in block.splitlines()[1:]] for block in blocks]
    return [{parts[0]: int(parts[-1].replace(",", "")) for parts in block} for block in found]


def test_people_get_bars_by_type_and_by_stream_the_most_frequent_first_and_the_rest_as_one(run: Esctl) -> None:
    appended(run, *((f"s-{n:02}", f"T{n:02}", "2026-01-01T00:00:00Z") for n in range(14) for _ in range(20 - n)))
    by_type, by_stream = bars(run("info", "-o", "table").stdout)
    rest = sum(20 - n for n in range(10, 14))
    assert by_type == {f"T{n:02}": 20 - n for n in range(10)} | {"(4 others)": rest}
    assert by_stream == {f"s-{n:02}": 20 - n for n in range(10)} | {"(4 others)": rest}
    assert list(by_type) == [*(f"T{n:02}" for n in range(10)), "(4 others)"]


def test_a_long_name_does_not_push_the_bars_off_the_terminal(run: Esctl) -> None:
    appended(run, ("s" * 300, "T" * 300, "2026-01-01T00:00:00Z"), ("short", "U", "2026-01-02T00:00:00Z"))
    blocks = run("info", "-o", "table", env={"COLUMNS": "80"}).stdout.split("\n\n")[1:]
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 80


def test_every_format_holds_the_same(run: Esctl) -> None:
    appended(run, ("s", "T", "2026-01-01T00:00:00Z"))
    facts = info(run)
    assert json.loads(run("info", "-o", "json").stdout) == facts
    header, row = run("info", "-o", "csv").stdout.splitlines()
    assert header.split(",") == FACTS
    assert row.split(",") == [str(facts[name]) for name in FACTS]


def test_the_reactions_of_a_log_are_among_its_facts(run: Esctl) -> None:
    appended(run, ("s", "T", "2026-01-01T00:00:00Z"))
    assert "reactions" not in info(run)
    assert run("react", "r", "--exec", "true", "--from", "beginning").returncode == 0
    assert [(one["reaction"], one["handled"]) for one in info(run)["reactions"]] == [("r", 1)]
    assert re.search(r"^r +idle +1 +1", run("info", "-o", "table").stdout, re.MULTILINE)
