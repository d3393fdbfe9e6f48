"""Several processes on one log: nobody fails, nobody overwrites, and readers see whole batches."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Esctl, start, succeeded


@pytest.mark.parametrize("options", [[], ["--batch", "250"], ["--batch", "250", "--expect", "any"]])
def test_two_writers_of_the_same_streams_both_store_everything(
    run: Esctl, log_path: Path, tmp_path: Path, options: list[str]
) -> None:
    for name in ("a", "b"):
        text = "".join(f'{{"stream":"s-{i % 10}","type":"T","id":"{name}-{i}","data":{i}}}\n' for i in range(10_000))
        (tmp_path / name).write_text(text, encoding="utf-8")
    writers = [start(log_path, "append", str(tmp_path / name), *options) for name in ("a", "b")]
    told = [writer.communicate() for writer in writers]
    assert [(writer.returncode, err) for writer, (_, err) in zip(writers, told, strict=True)] == [(0, "")] * 2
    assert [json.loads(out)["appended"] for out, _ in told] == [10_000] * 2
    events = [json.loads(line) for line in succeeded(run("replay")).splitlines()]
    assert [event["position"] for event in events] == list(range(1, 20_001))
    for stream in {event["stream"] for event in events}:
        assert [e["version"] for e in events if e["stream"] == stream] == list(range(1, 2001))
    for name in ("a", "b"):
        assert [e["data"] for e in events if e["id"].startswith(f"{name}-")] == list(range(10_000))
    assert json.loads(succeeded(run("verify")))["ok"] is True


def test_many_writers_of_single_events_all_succeed(run: Esctl, log_path: Path) -> None:
    writers = [start(log_path, "append", f"s-{n % 3}", "T", f"n:={n}", "--timeout", "30") for n in range(8)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 8
    events = [json.loads(line) for line in succeeded(run("replay")).splitlines()]
    assert sorted(event["data"]["n"] for event in events) == list(range(8))
    assert json.loads(succeeded(run("verify")))["events"] == 8


@pytest.mark.parametrize("form", [["{}"], ["a=1", "--error-format", "json"]], ids=["plain spelling", "error as json"])
def test_of_two_writers_that_expect_the_same_version_exactly_one_wins(
    run: Esctl, log_path: Path, form: list[str]
) -> None:
    rounds = 8
    for version in range(rounds):
        expect = "none" if version == 0 else str(version)
        writers = [start(log_path, "append", "s", "T", *form, "--expect", expect) for _ in range(2)]
        told = [writer.communicate() for writer in writers]
        assert sorted(writer.returncode for writer in writers) == [0, 4]
        (won,) = [out for out, _ in told if out]
        assert json.loads(won)["version"] == version + 1
        (lost,) = [err for _, err in told if err]
        if "json" in form:
            error = json.loads(lost)
            assert (error["stream"], str(error["expected"]), error["actual"]) == ("s", expect, version + 1)
        else:
            assert f"stream s is at version {version + 1}, expected {expect}\n" in lost
    versions = [json.loads(line)["version"] for line in succeeded(run("replay", "s")).splitlines()]
    assert versions == list(range(1, rounds + 1))


def test_of_two_writers_with_the_same_ids_each_event_is_stored_once(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    text = "".join(f'{{"stream":"s-{i % 5}","type":"T","id":"e-{i}"}}\n' for i in range(5000))
    (tmp_path / "in").write_text(text, encoding="utf-8")
    writers = [start(log_path, "append", str(tmp_path / "in"), "--batch", "100") for _ in range(2)]
    tallies = [json.loads(writer.communicate()[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sum(tally["appended"] for tally in tallies) == sum(tally["duplicates"] for tally in tallies) == 5000
    ids = Counter(json.loads(line)["id"] for line in succeeded(run("replay")).splitlines())
    assert set(ids.values()) == {1}
    assert len(ids) == 5000


def test_a_reader_beside_a_writer_sees_whole_batches_and_never_less_than_before(
    run: Esctl, log_path: Path, tmp_path: Path
) -> None:
    count, batch = 40_000, 40
    (tmp_path / "in").write_text('{"stream":"s","type":"T"}\n' * count, encoding="utf-8")
    writer = start(log_path, "append", str(tmp_path / "in"), "--batch", str(batch))
    seen = []
    while writer.poll() is None:
        seen.append(len(succeeded(run("replay")).splitlines()))
        seen.append(json.loads(succeeded(run("verify", "--quick")))["events"])
        seen.append(int(succeeded(run("head")).partition(":")[0]))
    assert writer.communicate()[1] == ""
    assert [n for n in seen if n % batch] == []
    assert seen == sorted(seen)
    assert any(0 < n < count for n in seen)
    assert len(succeeded(run("replay")).splitlines()) == count


def test_a_slow_reader_does_not_stop_writers_and_ends_where_the_log_ended_as_it_began(
    run: Esctl, log_path: Path
) -> None:
    succeeded(run("append", input='{"stream":"s","type":"T"}\n' * 20_000))
    reader = start(log_path, "replay")
    assert reader.stdout is not None
    first = reader.stdout.readline()
    assert json.loads(succeeded(run("append", input='{"stream":"s","type":"T"}\n' * 5000)))["last_position"] == 25_000
    positions = [json.loads(line)["position"] for line in (first, *reader.stdout)]
    assert positions == list(range(1, 20_001))
    assert reader.wait() == 0
    reader.communicate()
