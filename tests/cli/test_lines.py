"""Lines into a log: from a file or a pipe, whole or up to the first bad one."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esctl.append.ingest import BATCH_LINES
from tests.cli.inputs import LINE, events, lines
from tests.conftest import ESCTL, RECEIPT, Esctl, environment, succeeded

TALLY = ("appended", "duplicates", "first_position", "last_position")


# Lines


@pytest.mark.parametrize("source", ["pipe", "dash", "file"])
def test_lines_come_from_a_file_or_a_pipe(run: Esctl, tmp_path: Path, source: str) -> None:
    text = lines(*[{"stream": f"s-{i % 2}", "type": "T", "id": f"e-{i}", "data": {"i": i}} for i in range(5)])
    (tmp_path / "in.ndjson").write_text(text, encoding="utf-8")
    arguments = {"pipe": [], "dash": ["-"], "file": ["in.ndjson"]}[source]
    tally = json.loads(succeeded(run("append", *arguments, input="" if source == "file" else text)))
    assert tuple(tally) == TALLY
    assert tally == {"appended": 5, "duplicates": 0, "first_position": 1, "last_position": 5}
    assert [(e["position"], e["stream"], e["version"], e["id"], e["data"]) for e in events(run)] == [
        (i + 1, f"s-{i % 2}", i // 2 + 1, f"e-{i}", {"i": i}) for i in range(5)
    ]


def test_every_key_of_a_line_is_stored(run: Esctl) -> None:
    line = {"stream": "s", "type": "T", "id": "e", "time": "2026-01-01T00:00:00Z", "schema": 2, "data": [1]}
    succeeded(run("append", input=lines({**line, "meta": {"actor": "me"}, "expect": "none"})))
    event = events(run)[0]
    assert {key: event[key] for key in line} == {**line, "time": "2026-01-01T00:00:00.000000Z"}
    assert event["meta"] == {"actor": "me"}


def test_blank_lines_a_byte_order_mark_crlf_and_a_missing_last_line_end_are_fine(run: Esctl) -> None:
    text = b'\xef\xbb\xbf{"stream":"s","type":"A"}\r\n\r\n  \n\n{"stream":"s","type":"B"}\r\n{"stream":"s","type":"C"}'
    assert json.loads(succeeded(run("append", input=text)))["appended"] == 3
    assert [event["type"] for event in events(run)] == ["A", "B", "C"]


def test_an_empty_input_is_fine(run: Esctl) -> None:
    tally = json.loads(succeeded(run("append", input="")))
    assert tally == {"appended": 0, "duplicates": 0, "first_position": None, "last_position": None}


def test_stream_type_schema_and_meta_are_for_lines_that_lack_them(run: Esctl) -> None:
    text = lines({}, {"stream": "own", "type": "Own", "schema": 9, "meta": {"actor": "line", "x": 1}})
    options = ["--stream", "s", "--type", "T", "--schema", "2", "--meta", "actor=run", "--meta", "host=h"]
    succeeded(run("append", *options, input=text))
    assert [(e["stream"], e["type"], e["schema"], e["meta"]) for e in events(run)] == [
        ("s", "T", 2, {"actor": "run", "host": "h"}),
        ("own", "Own", 9, {"actor": "line", "host": "h", "x": 1}),
    ]


def test_with_payload_the_whole_line_is_the_payload(run: Esctl) -> None:
    text = '{"stream": "not the envelope", "n": 1.0}\n"text"\n[1, 2]\n'
    succeeded(run("append", "--payload", "--stream", "s", "--type", "T", input=text))
    assert succeeded(run("replay", "s", "-o", "raw")) == text


@pytest.mark.parametrize("given", [[], ["--stream", "s"], ["--type", "T"]])
def test_payload_needs_a_stream_and_a_type(run: Esctl, given: list[str]) -> None:
    done = run("append", "--payload", *given, input="{}\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--payload needs --stream and --type" in done.stderr


def test_extra_meta_keeps_unknown_keys_in_meta(run: Esctl) -> None:
    text = '{"stream":"s","type":"T","data":{"x": 1.0},"host":"h","n":1.50,"meta":{"n":2}}\n'
    succeeded(run("append", "--extra", "meta", input=text))
    event = events(run)[0]
    assert (event["data"], event["meta"]) == ({"x": 1.0}, {"host": "h", "n": 2})
    assert '"x": 1.0' in succeeded(run("replay"))


def test_receipts_come_one_a_line_in_the_order_of_the_input(run: Esctl) -> None:
    run("append", "s", "T", "{}", "--id", "e-1")
    text = lines(*[{"stream": "s", "type": "T", "id": f"e-{i}"} for i in (0, 1, 2)])
    receipts = [json.loads(line) for line in succeeded(run("append", "--receipts", input=text)).splitlines()]
    assert {tuple(receipt) for receipt in receipts} == {RECEIPT}
    assert [tuple(receipt.values()) for receipt in receipts] == [
        (2, "s", 2, "e-0", False),
        (1, "s", 1, "e-1", True),
        (3, "s", 3, "e-2", False),
    ]


def test_duplicates_may_stand_beside_new_events_and_in_one_batch(run: Esctl) -> None:
    first = lines(*[{"stream": "s", "type": "T", "id": f"e-{i}"} for i in range(3)])
    succeeded(run("append", input=first))
    second = lines(*[{"stream": "s", "type": "T", "id": f"e-{i}"} for i in (2, 3, 3, 0)])
    tally = json.loads(succeeded(run("append", input=second)))
    assert tally == {"appended": 1, "duplicates": 3, "first_position": 1, "last_position": 4}
    assert [event["id"] for event in events(run)] == ["e-0", "e-1", "e-2", "e-3"]


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ([], 0),
        (["--atomic"], 0),
        (["--each"], 4),
        (["--batch", "1"], 4),
        (["--batch", "2"], 4),
        (["--batch", "3"], 3),
        (["--batch", "100"], 0),
    ],
)
def test_a_bad_line_ends_it_and_the_batches_before_it_stand(run: Esctl, options: list[str], stored: int) -> None:
    text = b"\n".join([LINE] * 4 + [b"bad"] + [LINE] * 4)
    done = run("append", *options, input=text)
    assert done.returncode == 5
    assert "line 5, byte 1" in done.stderr
    ends = {"first_position": 1, "last_position": stored} if stored else {"first_position": None, "last_position": None}
    assert json.loads(done.stdout) == {"appended": stored, "duplicates": 0, **ends}
    assert len(events(run)) == stored


@pytest.mark.parametrize("format_", ["ndjson", "json", "csv", "tsv", "raw", "table"])
def test_receipts_of_what_is_stored_are_printed_though_a_bad_line_ends_it(run: Esctl, format_: str) -> None:
    text = b'{"stream":"s","type":"T","id":"e-1"}\n{"stream":"s","type":"T","id":"e-2"}\nbad\n'
    done = run("append", "--each", "--receipts", "-o", format_, input=text)
    assert done.returncode == 5
    assert "e-1" in done.stdout
    assert "e-2" in done.stdout


def test_atomic_makes_the_whole_input_one_transaction(run: Esctl) -> None:
    text = (LINE + b"\n") * (BATCH_LINES + 1)
    assert json.loads(succeeded(run("append", "--atomic", input=text)))["appended"] == BATCH_LINES + 1
    done = run("append", "--atomic", input=text + b"bad\n")
    assert (done.returncode, json.loads(done.stdout)["appended"]) == (5, 0)
    assert succeeded(run("head")).startswith(f"{BATCH_LINES + 1}:")
    assert len({event["recorded"] for event in events(run)}) == 1


def test_skip_invalid_reports_bad_lines_and_stores_the_rest(run: Esctl) -> None:
    bad = [b"{", LINE, b'{"stream":"s","type":"T","x":1}', LINE, b'"\xff"', LINE]
    done = run("append", "--skip-invalid", input=b"\n".join(bad))
    assert done.returncode == 5
    assert json.loads(done.stdout) == {"appended": 3, "duplicates": 0, "first_position": 1, "last_position": 3}
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped: ")]
    assert [re.findall(r"line (\d)", line) for line in skipped] == [["1"], ["3"], ["5"]]
    assert "error: 3 lines were skipped" in done.stderr
    assert len(events(run)) == 3


def test_skip_invalid_does_not_skip_conflicts(run: Esctl) -> None:
    run("append", "s", "T", '{"a":1}', "--id", "e-1")
    text = lines({"stream": "s", "type": "T"}, {"stream": "s", "type": "T", "id": "e-1"})
    done = run("append", "--skip-invalid", input=text)
    assert done.returncode == 4
    assert "line 2" in done.stderr
    assert len(events(run)) == 1


@pytest.mark.parametrize("arguments", [["s", "T"], ["s", "T", "a=1"], [], ["--each"], ["--receipts"], ["--atomic"]])
def test_a_dry_run_says_what_would_happen_and_stores_nothing(run: Esctl, arguments: list[str]) -> None:
    run("append", "s", "T")
    done = run("append", *arguments, "--dry-run", input=lines(*[{"stream": "s", "type": "T"}] * 2))
    said = json.loads(succeeded(done).splitlines()[0])
    assert said.get("first_position", said.get("position")) == 2
    assert succeeded(run("head")).startswith("1:")


def test_a_dry_run_finds_what_a_run_would_refuse(run: Esctl) -> None:
    assert run("append", "--dry-run", input=LINE + b"\nbad\n").returncode == 5
    assert run("append", "--dry-run", "--expect", "exists", input=LINE).returncode == 4
    assert run("append", "s", "T", "--dry-run", "--expect", "3").returncode == 4


def test_an_expectation_of_a_run_holds_for_every_stream_that_it_touches(run: Esctl) -> None:
    run("append", "old", "T")
    fresh = lines(*[{"stream": stream, "type": "T"} for stream in ("a", "b", "a")])
    assert json.loads(succeeded(run("append", "--expect", "none", input=fresh)))["appended"] == 3
    mixed = lines(*[{"stream": stream, "type": "T"} for stream in ("c", "old")])
    done = run("append", "--expect", "none", input=mixed)
    assert done.returncode == 4
    assert "stream old is at version 1, expected 0, line 2" in done.stderr
    assert "c" not in {event["stream"] for event in events(run)}


def test_an_expectation_of_a_line_holds_at_its_place(run: Esctl) -> None:
    good = lines({"stream": "a", "type": "T", "expect": "none"}, {"stream": "a", "type": "T", "expect": 1})
    succeeded(run("append", input=good))
    done = run("append", input=lines({"stream": "b", "type": "T"}, {"stream": "a", "type": "T", "expect": 1}))
    assert done.returncode == 4
    assert "line 2" in done.stderr
    assert len(events(run)) == 2


def test_what_replay_prints_can_be_appended_to_another_log(run: Esctl, esctl: Esctl, tmp_path: Path) -> None:
    text = lines(*[{"stream": f"s-{i % 3}", "type": 'T"\\', "id": f"é{i}", "data": {"i": i}} for i in range(10)])
    succeeded(run("append", input=text))
    replayed = succeeded(run("replay", "--hash"))
    succeeded(esctl("init", "--log", "other.db"))
    succeeded(esctl("append", "--log", "other.db", input=replayed))
    other = [json.loads(line) for line in succeeded(esctl("replay", "--log", "other.db")).splitlines()]
    for event, copy in zip(events(run), other, strict=True):
        assert {**event, "recorded": ""} == {**copy, "recorded": ""}
    assert (tmp_path / "other.db").exists()


# Refusals

TOO_DEEP = b'{"stream":"s","type":"T","data":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
REFUSALS = [
    pytest.param(b'{"stream":"s","type":"T"', "not JSON", None, id="cut off"),
    pytest.param(b"bad", "not JSON", 1, id="no JSON"),
    pytest.param(b"[1]", "not an event", None, id="an array"),
    pytest.param(b'"text"', "not an event", None, id="a string"),
    pytest.param(b'{"stream":"s","type":"T"} {}', "not JSON", 27, id="two objects"),
    pytest.param(b'{"stream":"s","type":"T","data":NaN}', "not JSON", 33, id="NaN"),
    pytest.param(b'{"stream":"s","type":"T","data":[-Infinity]}', "not JSON", 35, id="Infinity"),
    pytest.param(b'{"stream":"s","type":"T","data":"\xff"}', "UTF-8", 34, id="invalid UTF-8"),
    pytest.param(b'{"stream":"s","type":"T","data":"\xed\xa0\x80"}', "UTF-8", 34, id="a surrogate's bytes"),
    pytest.param(rb'{"stream":"s","type":"T","data":"\ud800"}', "surrogate", 34, id="half a surrogate pair"),
    pytest.param(b'{"stream":"s","type":"T","data":"a\tb"}', "not JSON", 35, id="raw control character"),
    pytest.param(TOO_DEEP, "nested too deeply", None, id="nesting of 10,000"),
    pytest.param(rb'{"stream":"a\nb","type":"T"}', "control character", None, id="newline in the stream"),
    pytest.param(rb'{"stream":"s","type":"T\u001b[2J"}', "control character", None, id="escape in the type"),
    pytest.param(rb'{"stream":"s","type":"T","id":"\u009b"}', "control character", None, id="C1 in the id"),
    pytest.param(b'{"stream":" s","type":"T"}', "blank", None, id="blank at an end"),
    pytest.param(b'{"stream":"s","type":"T","id":""}', "empty", None, id="empty id"),
    pytest.param(b'{"stream":"' + b"s" * 513 + b'","type":"T"}', "513 bytes", None, id="long name"),
    pytest.param(b'{"type":"T"}', "no stream", None, id="no stream"),
    pytest.param(b'{"stream":"s"}', "no type", None, id="no type"),
    pytest.param(b'{"stream":5,"type":"T"}', "not an event", None, id="a number as stream"),
    pytest.param(b'{"stream":"s","type":"T","dat":1}', "unknown key 'dat'", None, id="unknown key"),
    pytest.param(b'{"stream":"$esctl","type":"T"}', "log's own", None, id="reserved stream"),
    pytest.param(b'{"stream":"s","type":"T","meta":[]}', "meta is not a JSON object", None, id="meta not an object"),
    pytest.param(b'{"stream":"s","type":"T","schema":0}', "schema is 0", None, id="schema 0"),
    pytest.param(b'{"stream":"s","type":"T","time":"yesterday"}', "RFC 3339", None, id="no time"),
    pytest.param(b'{"stream":"s","type":"T","time":"2026-01-31T09:30:00"}', "zone", None, id="a time without zone"),
    pytest.param(b'{"stream":"s","type":"T","time":"2026-02-30T00:00:00Z"}', "exist", None, id="30 February"),
    pytest.param(b'{"stream":"s","type":"T","expect":"maybe"}', "expect is", None, id="unknown expectation"),
    pytest.param(b'{"stream":"s","type":"T","expect":-1}', "expect is", None, id="negative expectation"),
]


@pytest.mark.parametrize(("bad", "words", "byte"), REFUSALS)
def test_a_bad_line_is_refused_with_its_number_and_nothing_is_written(
    run: Esctl, bad: bytes, words: str, byte: int | None
) -> None:
    done = run("append", "--error-format", "json", input=b"\n".join([LINE, LINE, bad, LINE, LINE, b""]))
    error = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, error["error"], error["exit"], error["line"]) == (5, "refused", 5, 3)
    assert words in error["what"]
    if byte is not None:
        assert error["byte"] == byte
    assert json.loads(done.stdout) == {"appended": 0, "duplicates": 0, "first_position": None, "last_position": None}
    assert succeeded(run("head")).startswith("0:")


@pytest.mark.parametrize(("bad", "words", "byte"), REFUSALS)
def test_a_refusal_says_what_to_do(run: Esctl, bad: bytes, words: str, byte: int | None) -> None:
    done = run("append", input=bad)
    assert words in done.stderr
    assert byte is None or f"line 1, byte {byte}" in done.stderr
    assert re.search(r"^fix: .+", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("options", [[], ["--atomic"]])
def test_a_line_over_16_mib_is_refused_with_its_number_and_the_receipt_says_what_is_stored(
    run: Esctl, options: list[str]
) -> None:
    large = b'{"stream":"s","type":"T","data":"%s"}' % (b"x" * (17 * 1024 * 1024))
    done = run("append", *options, input=b"\n".join([LINE, LINE, large, LINE, b""]))
    assert done.returncode == 5
    assert "line 3" in done.stderr
    assert "larger than 16777216 bytes" in done.stderr
    assert "fix: esctl help environment" in done.stderr
    stored = json.loads(done.stdout)["appended"]
    assert stored in ([0] if options else [0, 2])  # two where a batch did not wait for the end of a line so long
    assert succeeded(run("head")).startswith(f"{stored}:")


# Runs the rest of its arguments where data may take so many bytes of memory.
IN_LITTLE_MEMORY = (
    "import os,resource,sys;n=int(sys.argv[1]);resource.setrlimit(resource.RLIMIT_DATA,(n,n));"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


def test_a_line_may_be_longer_than_all_memory(log_path: Path, tmp_path: Path) -> None:
    limit = 64 * 1024 * 1024
    with (tmp_path / "endless.ndjson").open("wb") as file:
        file.write(LINE + b"\n")
        file.truncate(2 * limit)  # zeros that take no room on the disk
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + LINE + b"\n")
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(limit), ESCTL, "append", "--skip-invalid", file.name]
    done = subprocess.run(
        command, env=environment(ESCTL_LOG=str(log_path)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert re.findall(r"line (\d)", done.stderr) == ["2"]
    assert "larger than 16777216 bytes" in done.stderr
    assert json.loads(done.stdout)["appended"] == 2


def test_an_unknown_key_that_comes_near_a_known_one_is_suggested(run: Esctl) -> None:
    assert "did you mean 'data'?" in run("append", input='{"stream":"s","type":"T","dat":1}').stderr
    assert "--extra meta" in run("append", input='{"stream":"s","type":"T","host":1}').stderr


# Real input


def test_a_real_log_comes_back_byte_for_byte_and_a_second_run_is_all_duplicates(run: Esctl, real_log: Path) -> None:
    text = real_log.read_bytes()
    first = json.loads(succeeded(run("append", input=text)))
    assert first == {"appended": 8577, "duplicates": 0, "first_position": 1, "last_position": 8577}
    second = json.loads(succeeded(run("append", input=text)))
    assert second == {"appended": 0, "duplicates": 8577, "first_position": 1, "last_position": 8577}
    data = [line.partition(b',"data":')[2][:-1].decode() for line in text.splitlines()]
    assert succeeded(run("replay", "-o", "raw")).splitlines() == data
    given = [json.loads(line) for line in text.splitlines()]
    for event, line, payload in zip(given, succeeded(run("replay")).splitlines(), data, strict=True):
        assert f',"data":{payload},"meta":{{}}}}' in line
        stored = json.loads(line)
        assert {key: stored[key] for key in event} == event
    assert json.loads(succeeded(run("verify")))["events"] == 8577


@pytest.mark.parametrize("options", [["--receipts"], ["--receipts", "--each"]])
def test_events_of_an_endless_pipe_are_acknowledged_within_200_milliseconds(log_path: Path, options: list[str]) -> None:
    command = [ESCTL, "append", *options]
    waits = []
    with subprocess.Popen(
        command, env=environment(ESCTL_LOG=str(log_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for i in range(5):
            started = time.monotonic()
            process.stdin.write(b'{"stream":"s","type":"T","data":%d}\n' % i)
            assert select.select([process.stdout], [], [], 20)[0], "no receipt though the pipe stays open"
            receipt = json.loads(process.stdout.readline())
            waits.append(time.monotonic() - started)
            assert receipt["position"] == i + 1
        process.stdin.close()
        assert process.wait() == 0
    assert min(waits[1:]) < 0.2  # the first waits for the start of the program, and any may wait for a busy machine
