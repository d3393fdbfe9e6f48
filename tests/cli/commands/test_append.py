"""`esctl append`: single events and lines, what comes back, and what is refused without a trace."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl.append.ingest import BATCH_LINES
from esctl.store.format import STORAGE_VERSION
from tests.conftest import ESCTL, RECEIPT, Esctl, environment, succeeded
from tests.logs import alter

LINE = b'{"stream":"good-1","type":"Good"}'
TALLY = ("appended", "duplicates", "first_position", "last_position")

# Runs the rest of its arguments as an ordinary user would: root without the right to pass over permissions.
MORTAL = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    if not sys.platform.startswith("linux") or any(libc.prctl(24, capability, 0, 0, 0) for capability in (1, 2)):
        sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""

# Runs the rest of its arguments where data may take so many bytes of memory.
IN_LITTLE_MEMORY = (
    "import os,resource,sys;n=int(sys.argv[1]);resource.setrlimit(resource.RLIMIT_DATA,(n,n));"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


def as_mortal(log: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run esctl on `log` so that permissions count."""
    command = [sys.executable, "-c", MORTAL, ESCTL, *arguments]
    done = subprocess.run(
        command, env=environment(ESCTL_LOG=str(log)), capture_output=True, text=True, input="", check=False
    )
    if done.returncode == 77:
        pytest.skip("root cannot be stopped from writing here")
    return done


def events(run: Esctl) -> list[dict[str, Any]]:
    """Everything that the log holds."""
    return [json.loads(line) for line in succeeded(run("replay")).splitlines()]


def lines(*events: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


# Single events


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        pytest.param([], "{}", id="nothing"),
        pytest.param(['{"a":1}'], '{"a":1}', id="object"),
        pytest.param(['{ "a" : 1.0,\t"b":1e2,"a":12345678901234567890 }'], None, id="as it was written"),
        pytest.param(["[1,2]"], "[1,2]", id="array"),
        pytest.param(['"text"'], '"text"', id="string"),
        pytest.param(["42"], "42", id="number"),
        pytest.param(["true"], "true", id="true"),
        pytest.param(["null"], "null", id="null"),
        pytest.param(["name=Zoë"], '{"name":"Zoë"}', id="text item"),
        pytest.param(["n=1", "x:=1.50", 'o:={"k":[1]}'], '{"n":"1","x":1.50,"o":{"k":[1]}}', id="items"),
        pytest.param(["note=a=b:=c"], '{"note":"a=b:=c"}', id="only the first equals sign counts"),
        pytest.param(["a="], '{"a":""}', id="empty text"),
        pytest.param(["@payload.json"], '{"from": "file"}', id="file"),
        pytest.param(["-"], '{  "from": "stdin" }', id="stdin"),
    ],
)
def test_a_payload_can_be_given_in_every_form(
    run: Esctl, tmp_path: Path, arguments: list[str], data: str | None
) -> None:
    (tmp_path / "payload.json").write_text('{"from": "file"}\n', encoding="utf-8")
    succeeded(run("append", "s-1", "T", *arguments, input='{\r\n"from": "stdin"\n}\n'))
    assert succeeded(run("replay", "-o", "raw")) == f"{arguments[0] if data is None else data}\n"


def test_a_single_event_gives_its_receipt(run: Esctl) -> None:
    run("append", "s-1", "A")
    receipt = json.loads(succeeded(run("append", "s-1", "B", "{}", "--id", "e-2")))
    assert tuple(receipt) == RECEIPT
    assert receipt == {"position": 2, "stream": "s-1", "version": 2, "id": "e-2", "duplicate": False}


def test_the_options_of_a_single_event_are_stored(run: Esctl) -> None:
    options = ["--id", "e-1", "--time", "2026-01-31T10:30:00.5+01:00", "--schema", "3"]
    succeeded(run("append", "s-1", "T", *options, "--meta", "actor=me", "--meta", "n:=1.0"))
    event = events(run)[0]
    recorded = event.pop("recorded")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", recorded)
    assert event == {
        "position": 1,
        "stream": "s-1",
        "version": 1,
        "id": "e-1",
        "type": "T",
        "schema": 3,
        "time": "2026-01-31T09:30:00.500000Z",
        "data": {},
        "meta": {"actor": "me", "n": 1.0},
    }


def test_an_event_without_options_gets_a_uuid7_and_the_time_of_its_recording(run: Esctl) -> None:
    succeeded(run("append", "s-1", "T"))
    succeeded(run("append", "s-1", "T", "a=1"))
    first, second = events(run)
    for event in (first, second):
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event["id"])
        assert event["time"] == event["recorded"]
        assert (event["schema"], event["meta"]) == (1, {})
    assert first["id"] < second["id"]


@pytest.mark.parametrize(
    ("before", "expect", "code"),
    [
        (0, "any", 0),
        (2, "any", 0),
        (0, "none", 0),
        (2, "none", 4),
        (0, "exists", 4),
        (2, "exists", 0),
        (0, "0", 0),
        (2, "0", 4),
        (2, "1", 4),
        (2, "2", 0),
        (2, "3", 4),
    ],
)
def test_a_stream_is_as_expected_or_nothing_is_written(run: Esctl, before: int, expect: str, code: int) -> None:
    run("append", input=lines({"stream": "other", "type": "T"}, *[{"stream": "s-1", "type": "T"}] * before))
    for arguments in (["a=1", "--dry-run"], ["{}"]):
        assert run("append", "s-1", "T", *arguments, "--expect", expect).returncode == code
    assert succeeded(run("head")).startswith(f"{1 + before + (code == 0)}:")


def test_a_conflict_names_stream_expected_and_actual(run: Esctl) -> None:
    run("append", "s-1", "T")
    done = run("append", "s-1", "T", "--expect", "7", "--error-format", "json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout, error["error"]) == (4, "", "conflict")
    assert (error["stream"], error["expected"], error["actual"]) == ("s-1", 7, 1)
    told = run("append", "s-1", "T", "--expect", "7").stderr
    assert "stream s-1 is at version 1, expected 7" in told
    assert "fix: " in told


def test_an_id_that_comes_again_with_the_same_content_is_a_duplicate(run: Esctl) -> None:
    run("append", "s-1", "T", '{"a":1}', "--id", "e-1")
    run("append", "s-1", "T")
    for data in ('{"a":1}', "a:=1"):
        receipt = json.loads(succeeded(run("append", "s-1", "T", data, "--id", "e-1")))
        assert receipt == {"position": 1, "stream": "s-1", "version": 1, "id": "e-1", "duplicate": True}
    assert len(events(run)) == 2


@pytest.mark.parametrize(
    ("again", "differs"),
    [
        (["s-2", "T", '{"a":1}'], "stream"),
        (["s-1", "U", '{"a":1}'], "type"),
        (["s-1", "T", '{"a":2}'], "data"),
        (["s-1", "T", '{"a":1}', "--meta", "k=v"], "meta"),
    ],
)
def test_an_id_that_comes_again_with_other_content_is_a_conflict(run: Esctl, again: list[str], differs: str) -> None:
    run("append", "s-1", "T", '{"a":1}', "--id", "e-1")
    done = run("append", *again, "--id", "e-1", "--error-format", "json")
    assert (done.returncode, done.stdout) == (4, "")
    error = json.loads(done.stderr)
    assert (error["position"], error["differs"]) == (1, [differs])
    assert error["fix"]
    assert len(events(run)) == 1


def test_a_retry_whose_expectation_passed_because_of_itself_is_a_duplicate(run: Esctl) -> None:
    command = ("append", "s-1", "T", "{}", "--id", "e-1", "--expect", "none")
    assert json.loads(succeeded(run(*command)))["duplicate"] is False
    assert json.loads(succeeded(run(*command)))["duplicate"] is True
    assert json.loads(succeeded(run(*command, "--error-format", "json")))["duplicate"] is True


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


def test_a_payload_from_a_file_may_begin_with_a_byte_order_mark(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_bytes(b'\xef\xbb\xbf{"a":1}\r\n')
    succeeded(run("append", "s-1", "T", "@payload.json"))
    assert succeeded(run("replay", "-o", "raw")) == '{"a":1}\n'


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


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["s", "T", "{a}"], 5, id="not JSON"),
        pytest.param(["s", "T", '{"a":NaN}'], 5, id="NaN"),
        pytest.param(["s", "T", "a:=x"], 5, id="not JSON after :="),
        pytest.param(["s", "T", '"\\ud800"'], 5, id="half a surrogate pair"),
        pytest.param(["s\n", "T"], 5, id="newline in the stream"),
        pytest.param(["s", "T\x1b[31m"], 5, id="escape in the type"),
        pytest.param(["s", "T", "{}", "--id", " e"], 5, id="blank at an end of the id"),
        pytest.param(["$esctl", "T"], 5, id="reserved stream"),
        pytest.param(["s", "T", "--schema", "0"], 5, id="schema 0"),
        pytest.param(["s", "T", "--time", "noon"], 5, id="no time"),
        pytest.param(["s", "T", "{}", "{}"], 2, id="two payloads"),
        pytest.param(["s", "T", "a=1", "b"], 2, id="half an item"),
        pytest.param(["s", "T", "--meta", "b"], 2, id="half an item of meta"),
        pytest.param(["s", "T", "--expect", "maybe"], 2, id="unknown expectation"),
        pytest.param(["s", "T", "--expect", "-1"], 2, id="negative expectation"),
        pytest.param(["s", "T", "@nowhere.json"], 3, id="payload file missing"),
        pytest.param(["nowhere.ndjson"], 3, id="input file missing"),
        pytest.param(["--batch", "0"], 2, id="empty batches"),
        pytest.param(["--extra", "data"], 2, id="extra to another place"),
    ],
)
def test_a_wrong_single_event_or_argument_is_refused_and_nothing_is_written(
    run: Esctl, arguments: list[str], code: int
) -> None:
    done = run("append", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert "bug" not in done.stderr
    assert succeeded(run("head")).startswith("0:")


@pytest.mark.parametrize("option", ["a:=", "--meta=a:="])
def test_an_item_may_be_nested_as_deeply_as_a_payload_and_no_deeper(run: Esctl, option: str) -> None:
    done = run("append", "s", "T", option + "[" * 5000 + "]" * 5000)
    assert (done.returncode, done.stdout) == (5, "")
    assert "nested too deeply" in done.stderr
    succeeded(run("append", "s", "T", option + "[" * 999 + "]" * 999))


def test_meta_that_is_nested_as_deeply_as_it_may_be_can_be_added_to(run: Esctl) -> None:
    deep = '{"stream":"s","type":"T","meta":{"a":' + "[" * 999 + "]" * 999 + "}}\n"
    succeeded(run("append", "--meta", "b=1", input=deep))
    assert succeeded(run("head")).startswith("1:")


def test_a_payload_of_a_thousand_levels_is_taken_and_one_more_is_not(run: Esctl) -> None:
    for levels, code in ((1000, 0), (1001, 5)):
        data = "[" * levels + "]" * levels
        assert run("append", "s", "T", data).returncode == code
        assert run("append", input=f'{{"stream":"s","type":"T","data":{data}}}').returncode == code
    assert succeeded(run("head")).startswith("2:")


@pytest.mark.parametrize("form", ["line", "last line without end", "argument", "stdin", "file"])
def test_esctl_max_event_bounds_an_event_in_every_form(run: Esctl, tmp_path: Path, form: str) -> None:
    payload = f'"{"x" * 2000}"'
    (tmp_path / "payload.json").write_text(payload, encoding="utf-8")
    line = f'{{"stream":"s","type":"T","data":{payload}}}'
    arguments, text = {
        "line": ([], f"{line}\n"),
        "last line without end": ([], line),
        "argument": (["s", "T", payload], ""),
        "stdin": (["s", "T", "-"], payload),
        "file": (["s", "T", "@payload.json"], ""),
    }[form]
    done = run("append", *arguments, input=text, env={"ESCTL_MAX_EVENT": "2000"})
    assert done.returncode == 5
    assert "larger than 2000 bytes" in done.stderr
    assert run("append", *arguments, input=text, env={"ESCTL_MAX_EVENT": "2100"}).returncode == 0
    assert len(events(run)) == 1


@pytest.mark.parametrize("value", ["many", "0", "-1", "99999999999999999999"])
def test_a_wrong_esctl_max_event_is_a_wrong_configuration(run: Esctl, value: str) -> None:
    done = run("append", "s", "T", env={"ESCTL_MAX_EVENT": value})
    assert (done.returncode, done.stdout) == (2, "")
    assert "ESCTL_MAX_EVENT" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["s", "T", "--atomic"],
        ["s", "T", "--each"],
        ["s", "T", "--batch", "5"],
        ["s", "T", "--receipts"],
        ["s", "T", "--skip-invalid"],
        ["s", "T", "--stream", "x"],
        ["s", "T", "--type", "x"],
        ["s", "T", "--payload"],
        ["s", "T", "--extra", "meta"],
        ["--id", "e-1"],
        ["--time", "2026-01-01T00:00:00Z"],
        ["--atomic", "--each"],
        ["--atomic", "--batch", "5"],
        ["--each", "--batch", "5"],
        ["--payload", "--stream", "s", "--type", "T", "--extra", "meta"],
    ],
    ids=" ".join,
)
def test_an_option_that_would_be_ignored_is_refused(run: Esctl, arguments: list[str]) -> None:
    done = run("append", *arguments, input=LINE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "fix: " in done.stderr
    assert succeeded(run("head")).startswith("0:")


def test_a_folder_is_not_an_input(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = run("append", "folder")
    assert done.returncode in (2, 3)
    assert "folder" in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["-"], ["s", "T", "-"]])
def test_a_closed_stdin_is_told_and_is_no_bug(run: Esctl, log_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", ESCTL, "append", *arguments],
        env=environment(ESCTL_LOG=str(log_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "bug" not in done.stderr
    assert done.returncode in (0, 2, 3, 5, 8)
    assert succeeded(run("head")).startswith("0:")


# Logs that cannot be written


@pytest.mark.parametrize("kind", ["text", "empty", "database"])
@pytest.mark.parametrize("arguments", [["s", "T"], ["s", "T", "a=1"], []])
def test_a_file_that_is_not_a_log_is_refused_and_left_as_it_is(
    esctl: Esctl, tmp_path: Path, kind: str, arguments: list[str]
) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(b"no database at all\n" * 100 if kind == "text" else b"")
    if kind == "database":
        alter(file, "create table t (x)")
    before = file.read_bytes()
    done = esctl("append", *arguments, "--log", "other.db", input=LINE)
    assert (done.returncode, done.stdout) == (7, "")
    assert "other.db is not a log" in done.stderr
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize(("version", "words"), [(99, "newer than this esctl"), (0, "esctl migrate")])
def test_a_log_of_another_storage_version_is_refused(run: Esctl, log_path: Path, version: int, words: str) -> None:
    alter(log_path, f"pragma user_version = {version}")
    for arguments in (["s", "T"], []):
        done = run("append", *arguments, input=LINE)
        assert (done.returncode, done.stdout) == (7, "")
        assert words in done.stderr
    alter(log_path, f"pragma user_version = {STORAGE_VERSION}")
    assert succeeded(run("head")).startswith("0:")


@pytest.mark.parametrize("arguments", [["s", "T"], ["s", "T", "a=1"], []])
def test_a_log_that_is_not_there_is_not_made(esctl: Esctl, tmp_path: Path, arguments: list[str]) -> None:
    done = esctl("append", *arguments, "--log", "missing.db", input=LINE)
    assert (done.returncode, done.stdout) == (3, "")
    assert "fix: esctl init --log missing.db" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def closed(log_path: Path) -> Iterator[Path]:
    """A log alone in a folder, whose permissions the test takes away."""
    folder = log_path.parent / "closed"
    folder.mkdir()
    log = Path(shutil.move(log_path, folder))
    yield log
    folder.chmod(0o700)
    log.chmod(0o600)


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("data", ["{}", "a=1"])
def test_a_read_only_log_is_refused_as_unavailable(closed: Path, what: str, data: str) -> None:
    assert as_mortal(closed, "append", "s", "T").returncode == 0
    (closed if what == "file" else closed.parent).chmod(0o444 if what == "file" else 0o555)
    done = as_mortal(closed, "append", "s", "T", data)
    assert (done.returncode, done.stdout) == (8, "")
    assert "read-only" in done.stderr
    assert "make the file and its folder writable" in done.stderr


def test_a_refused_append_to_a_read_only_file_leaves_nothing_that_stops_the_next(closed: Path) -> None:
    closed.chmod(0o444)
    assert as_mortal(closed, "append", "s", "T").returncode == 8
    assert [path.name for path in closed.parent.iterdir()] == [closed.name]
    closed.chmod(0o644)
    assert as_mortal(closed, "append", "s", "T").returncode == 0


def test_a_log_in_a_folder_that_cannot_be_entered_is_no_bug(closed: Path) -> None:
    closed.parent.chmod(0o000)
    for arguments in (["append", "s", "T"], ["replay"], ["verify"]):
        done = as_mortal(closed, *arguments)
        assert done.returncode in (3, 8)
        assert "bug" not in done.stderr


def hold_lock(log: Path) -> subprocess.Popen[str]:
    """Another program that writes to the log for as long as its stdin is open."""
    code = (
        "import sqlite3,sys;c=sqlite3.connect(sys.argv[1],isolation_level=None);c.execute('begin immediate');"
        "print('held',flush=True);sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(log)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("arguments", [["s", "T"], []])
def test_timeout_bounds_the_wait_for_another_writer(run: Esctl, log_path: Path, arguments: list[str]) -> None:
    with hold_lock(log_path) as holder:
        started = time.monotonic()
        done = run("append", *arguments, "--timeout", "0.3", input=LINE)
        assert done.returncode == 8
        assert "busy" in done.stderr
        assert 0.3 <= time.monotonic() - started < 4  # without the option it waits for 5 seconds
        holder.communicate("")
    assert succeeded(run("head")).startswith("0:")


def test_an_append_waits_for_another_writer_to_end(run: Esctl, log_path: Path) -> None:
    with hold_lock(log_path) as holder:
        command = [ESCTL, "append", "s", "T"]
        waiting = subprocess.Popen(command, env=environment(ESCTL_LOG=str(log_path)), stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        assert waiting.poll() is None
        holder.communicate("")
        assert json.loads(waiting.communicate()[0])["position"] == 1
    assert waiting.returncode == 0
    assert len(events(run)) == 1


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


# What the log's model says

MODEL = """
[event.Placed]
schema = 3
[event.Placed.json_schema]
required = ["total"]
properties = { total = { type = "number" } }
[[event.Old.upcast]]
from = 1
rename = { a = "b" }

[aggregate.order]
streams = "order-*"
initial = { status = "New" }
on.Placed.set = { status = "Placed" }
[aggregate.order.accept]
Placed = { rule = "state ->> 'status' = 'New'", message = "an order is placed once" }
Paid = { rule = "state ->> 'status' = 'Placed'", message = "only a placed order can be paid" }
"""
ORDER = {"stream": "order-1", "type": "Placed", "data": {"total": 1}}
PAID = {"stream": "order-2", "type": "Paid"}
BAD = {"stream": "order-3", "type": "Placed", "data": {"total": "x"}}
OTHER = {"stream": "cart-1", "type": "Filled"}


@pytest.fixture
def ruled(run: Esctl, tmp_path: Path) -> Esctl:
    """Run esctl on this test's log, which has a model."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    succeeded(run("model", "apply", "model.toml"))
    return run


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The error of a run, as JSON."""
    return dict(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("type_", "options", "schema"),
    [("Placed", [], 3), ("Placed", ["--schema", "1"], 1), ("Old", [], 2), ("Unknown", [], 1)],
)
@pytest.mark.parametrize("bulk", [False, True])
def test_an_event_without_a_schema_gets_the_model_s_newest(
    ruled: Esctl, type_: str, options: list[str], schema: int, *, bulk: bool
) -> None:
    if bulk:
        line = lines({"stream": "s", "type": type_, "data": {"total": 1}})
        succeeded(ruled("append", *options, input=line))
    else:
        succeeded(ruled("append", "s", type_, "total:=1", *options))
    assert json.loads(succeeded(ruled("replay", "--raw-schema")))["schema"] == schema


def test_a_single_event_that_its_stream_s_state_does_not_accept_is_refused(ruled: Esctl) -> None:
    done = ruled("append", "order-2", "Paid", "--error-format", "json")
    assert (done.returncode, done.stdout) == (5, "")
    error = told(done)
    assert error["what"] == "Paid in order-2 is refused: only a placed order can be paid"
    assert (error["aggregate"], error["rule"]) == ("order", "state ->> 'status' = 'Placed'")
    assert json.loads(error["state"]) == {"status": "New"}
    assert events(ruled) == []


def test_a_single_event_that_its_json_schema_does_not_accept_is_refused(ruled: Esctl) -> None:
    done = ruled("append", "order-3", "Placed", "total=x", "--error-format", "json")
    assert (done.returncode, done.stdout) == (5, "")
    error = told(done)
    assert (error["type"], error["schema"]) == ("Placed", 3)
    assert error["problem"].startswith("total: ")
    assert "line" not in error
    assert events(ruled) == []


@pytest.mark.parametrize("bad", [PAID, BAD], ids=["rule", "JSON Schema"])
@pytest.mark.parametrize(
    ("ways", "stored"), [([], 0), (["--atomic"], 0), (["--each"], 2), (["--batch", "2"], 2), (["--receipts"], 0)]
)
def test_a_line_that_is_refused_is_named_and_the_receipt_says_what_is_stored(
    ruled: Esctl, bad: dict[str, Any], ways: list[str], stored: int
) -> None:
    done = ruled("append", *ways, "--error-format", "json", input=lines(ORDER, OTHER, bad, OTHER))
    assert (done.returncode, told(done)["line"]) == (5, 3)
    assert len(events(ruled)) == stored
    if ways != ["--receipts"]:
        assert json.loads(done.stdout)["appended"] == stored


@pytest.mark.parametrize("blank", ["", "\n", "   \r\n\n"])
def test_the_line_that_is_named_counts_blank_lines_too(ruled: Esctl, blank: str) -> None:
    done = ruled("append", "--error-format", "json", input=blank + lines(ORDER) + blank + lines(PAID))
    assert told(done)["line"] == 2 + 2 * blank.count("\n")


def test_skipping_invalid_lines_leaves_out_what_the_model_refuses(ruled: Esctl) -> None:
    done = ruled("append", "--skip-invalid", input=lines(PAID, ORDER, BAD, ORDER, OTHER))
    assert done.returncode == 5
    assert json.loads(done.stdout)["appended"] == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()[:3]] == ["skipped"] * 3
    assert [(event["stream"], event["type"]) for event in events(ruled)] == [
        ("order-1", "Placed"),
        ("cart-1", "Filled"),
    ]


def test_an_event_is_judged_by_the_state_that_those_before_it_in_the_batch_made(ruled: Esctl) -> None:
    paid = {"stream": "order-1", "type": "Paid"}
    assert json.loads(succeeded(ruled("append", input=lines(ORDER, OTHER, paid))))["appended"] == 3


@pytest.mark.parametrize("bulk", [False, True])
def test_rules_can_be_left_unasked_and_the_receipt_says_so(ruled: Esctl, *, bulk: bool) -> None:
    if bulk:
        done = ruled("append", "--no-rules", input=lines(PAID))
    else:
        done = ruled("append", "order-2", "Paid", "--no-rules")
    assert json.loads(succeeded(done))["rules"] is False
    assert len(events(ruled)) == 1


@pytest.mark.parametrize("bulk", [False, True])
def test_json_schemas_hold_where_rules_are_left_unasked(ruled: Esctl, *, bulk: bool) -> None:
    single = ["order-3", "Placed", "total=x"]
    done = ruled("append", "--no-rules", *([] if bulk else single), input=lines(BAD) if bulk else "")
    assert done.returncode == 5
    assert events(ruled) == []


def test_a_duplicate_is_not_judged_again(ruled: Esctl) -> None:
    line = lines({**ORDER, "id": "o1"})
    assert json.loads(succeeded(ruled("append", input=line)))["appended"] == 1
    assert json.loads(succeeded(ruled("append", input=line)))["duplicates"] == 1
    single = ruled("append", "order-1", "Placed", '{"total": 1}', "--id", "o1")
    assert json.loads(succeeded(single))["duplicate"] is True


def test_a_dry_run_asks_the_rules_too(ruled: Esctl) -> None:
    assert ruled("append", "order-2", "Paid", "--dry-run").returncode == 5
    assert ruled("append", "--dry-run", input=lines(PAID)).returncode == 5
    assert events(ruled) == []


def test_an_event_that_claims_an_older_schema_is_not_judged_by_the_newest_json_schema(ruled: Esctl) -> None:
    succeeded(ruled("append", "order-3", "Placed", "total=x", "--schema", "1"))


def test_the_log_s_own_streams_are_closed_to_lines_and_single_events(ruled: Esctl) -> None:
    own = {"stream": "$esctl", "type": "ModelApplied"}
    for done in (ruled("append", "$esctl", "ModelApplied"), ruled("append", input=lines(own))):
        assert done.returncode == 5
    assert len(succeeded(ruled("model", "history")).splitlines()) == 1
