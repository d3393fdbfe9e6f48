"""`esctl append`: single events and lines, what comes back, and what is refused without a trace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store.format import STORAGE_VERSION
from tests.cli.inputs import LINE, events, lines
from tests.conftest import ESCTL, RECEIPT, Esctl, environment, succeeded
from tests.logs import alter

# Runs the rest of its arguments as an ordinary user would: root without the right to pass over permissions.
MORTAL = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    if not sys.platform.startswith("linux") or any(libc.prctl(24, capability, 0, 0, 0) for capability in (1, 2)):
        sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


def as_mortal(log: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run esctl on `log` so that permissions count."""
    command = [sys.executable, "-c", MORTAL, ESCTL, *arguments]
    done = subprocess.run(
        command, env=environment(ESCTL_LOG=str(log)), capture_output=True, text=True, input="", check=False
    )
    if done.returncode == 77:
        pytest.skip("root cannot be stopped from writing here")
    return done


# Single events


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        pytest.param([], "{}", id="nothing"),
        pytest.param(['{"a":1}'], '{"a":1}', id="object"),
        pytest.param(['{ "a" : 1.0,\t"b":1e2,"c":12345678901234567890 }'], None, id="as it was written"),
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


# Refusals


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
        ["s", "T", "--skip-system"],
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
    succeeded(run("model", "apply", "model.toml", "-q"))
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


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize(
    ("options", "variable", "schema"),
    [
        (["--schema", "Placed=1"], "", 1),
        (["--schema", "Placed=1", "--schema", "Old=1"], "", 1),
        ([], "Placed=1,Old=1", 1),
        (["--schema", "Placed=1"], "Placed=9", 1),
        (["--schema", "1"], "Placed=9", 1),
        (["--schema", "Old=1"], "", 3),
    ],
)
def test_a_writer_pins_the_schema_of_a_type(
    ruled: Esctl, options: list[str], variable: str, schema: int, *, bulk: bool
) -> None:
    line = '{"stream":"s","type":"Placed","data":{"total":1}}'
    arguments = [] if bulk else ["s", "Placed", "total:=1"]
    env = {"ESCTL_SCHEMA": variable}
    succeeded(ruled("append", *arguments, *options, input=line if bulk else "", env=env))
    assert json.loads(succeeded(ruled("replay", "--raw-schema")))["schema"] == schema


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


# Read, decide, append


def test_a_condition_that_an_event_meets_is_a_conflict_that_names_the_events(three: Esctl) -> None:
    done = three("append", "s-3", "A", "--if-none-match", "type in ('A', 'C')", "--error-format", "json")
    told = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout, told["positions"]) == (4, "", [1, 3])
    assert "#1 A in s-1, #3 C in s-1" in told["why"]
    assert three("replay").stdout.count("\n") == 3


@pytest.mark.parametrize("lines", [False, True], ids=["one event", "lines"])
def test_what_was_there_when_one_read_is_no_conflict(three: Esctl, *, lines: bool) -> None:
    condition = ["--if-none-match", "data ->> 'n' is not null or type = 'A'"]
    events = {"input": '{"stream":"s-3","type":"A"}\n'} if lines else {}
    arguments = [] if lines else ["s-3", "A"]
    assert three("append", *arguments, *condition, **events).returncode == 4
    head = three("replay", "--emit-head").stderr.strip()
    assert three("append", *arguments, *condition, "--after", head, **events).returncode == 0
    late = three("append", *arguments, *condition, "--after", head, **events)
    assert late.returncode == 4
    assert "#4 A in s-3" in late.stderr
    for after in ("4", "#4"):
        assert three("append", "s-9", "B", *condition, "--after", after).returncode == 0


def test_the_events_of_a_batch_do_not_stand_in_its_own_way(run: Esctl) -> None:
    two = '{"stream":"s","type":"T"}\n{"stream":"s","type":"T"}\n'
    assert json.loads(run("append", "--if-none-match", "type = 'T'", input=two).stdout)["appended"] == 2
    assert run("append", "--if-none-match", "type = 'T'", input=two).returncode == 4
    assert run("replay").stdout.count("\n") == 2


@pytest.mark.parametrize("lines", [False, True], ids=["one event", "lines"])
def test_a_conditional_append_that_is_tried_again_is_a_duplicate(run: Esctl, *, lines: bool) -> None:
    condition = ["--if-none-match", "type = 'Seated'"]
    for duplicate in (False, True):
        if lines:
            done = run("append", *condition, "--receipts", input='{"stream":"seat-1","type":"Seated","id":"once"}\n')
        else:
            done = run("append", "seat-1", "Seated", "--id", "once", *condition)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["duplicate"] is duplicate
    assert run("append", "seat-1", "Seated", "--id", "twice", *condition).returncode == 4


@pytest.mark.parametrize(
    "options",
    [
        ["--after", "3"],
        ["--if-none-match", "1", "--after", "x"],
        ["--if-none-match", "1", "--after", "-1"],
        ["--if-none-match", "(select 1)"],
        ["--if-none-match", "time < datetime('now')"],
        ["--if-none-match", "1; drop table events"],
    ],
)
def test_a_condition_that_is_none_stores_nothing(run: Esctl, options: list[str]) -> None:
    for arguments in (["s", "T"], []):
        done = run("append", *arguments, *options, input='{"stream":"s","type":"T"}\n')
        assert (done.returncode, done.stdout) == (2, "")
    assert run("replay").stdout == ""


def test_a_conditional_append_is_one_transaction_and_excludes_many(run: Esctl) -> None:
    for way in (["--each"], ["--batch", "2"]):
        assert run("append", "--if-none-match", "0", *way, input='{"stream":"s","type":"T"}\n').returncode == 2


def test_of_two_that_append_on_the_same_condition_exactly_one_wins(log_path: Path) -> None:
    for seat in range(4):
        condition = f"data ->> 'seat' = {seat}"
        command = [ESCTL, "append", "--if-none-match", condition, "--timeout", "30", "-l", str(log_path)]
        racers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(2)
        ]
        for i, racer in enumerate(racers):
            assert racer.stdin is not None
            racer.stdin.write(f'{{"stream":"guest-{i}","type":"Seated","data":{{"seat":{seat}}}}}\n'.encode())
            racer.stdin.close()
        for racer in racers:
            racer.wait(timeout=60)
        assert sorted(racer.returncode for racer in racers) == [0, 4]
    with EventLog(log_path) as log:
        seats = [json.loads(event[8])["seat"] for event, _, _ in log.read(Query())]
    assert seats == [0, 1, 2, 3]


# Files


@pytest.fixture
def files(run: Esctl, tmp_path: Path) -> Esctl:
    """Run esctl in a folder with files of lines, and a folder."""
    for name in ("a.ndjson", "b.ndjson", "plain"):
        (tmp_path / name).write_text(lines({"stream": f"from-{name}", "type": "T"}), encoding="utf-8")
    (tmp_path / "order").mkdir()
    return run


@pytest.mark.parametrize(
    ("arguments", "streams"),
    [
        (["a.ndjson"], ["a.ndjson"]),
        (["a.ndjson", "b.ndjson"], ["a.ndjson", "b.ndjson"]),
        (["plain", "a.ndjson", "a.ndjson"], ["plain", "a.ndjson", "a.ndjson"]),
        (["b.ndjson", "-", "./plain"], ["b.ndjson", "stdin", "plain"]),
        (["-", "a.ndjson"], ["stdin", "a.ndjson"]),
    ],
)
@pytest.mark.parametrize("options", [[], ["--atomic"], ["--each"]])
def test_arguments_that_are_all_files_are_appended_in_order(
    files: Esctl, arguments: list[str], streams: list[str], options: list[str]
) -> None:
    stdin = lines({"stream": "from-stdin", "type": "T"})
    assert json.loads(succeeded(files("append", *options, *arguments, input=stdin)))["appended"] == len(streams)
    assert [event["stream"] for event in events(files)] == [f"from-{name}" for name in streams]


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.ndjson", "Typed"],
        ["a.ndjson", "c.ndjson"],
        ["c.ndjson", "a.ndjson"],
        ["order-1", "a.ndjson"],
        ["c.ndjson", "d.ndjson"],
        ["c.ndjson.gz", "d.ndjson.zst"],
        ["a.ndjson", "b.ndjson", "c.ndjson"],
        ["a.ndjson", "b.ndjson", "x=1"],
        ["plain", "T", '{"a":1}'],
        ["a.ndjson", "order"],
        ["-", "T"],
        ["-", "-"],
        ["-", "a.ndjson", "-"],
    ],
    ids=" ".join,
)
def test_arguments_that_may_be_files_or_an_event_are_refused_with_both_readings(
    files: Esctl, arguments: list[str]
) -> None:
    done = files("append", *arguments, input=LINE)
    assert (done.returncode, done.stdout) == (2, "")
    if arguments.count("-") < 2:
        assert re.search(r"as files, .* does not exist; as STREAM TYPE DATA, the event", done.stderr)
    assert events(files) == []


@pytest.mark.parametrize(
    "arguments", [["order", "Placed"], ["order-1", "plain"], ["order-1", "new.json"], ["s", "T", "@a.ndjson"]]
)
def test_a_stream_that_is_no_file_gets_its_event(files: Esctl, arguments: list[str]) -> None:
    succeeded(files("append", *arguments))
    assert [(event["stream"], event["type"]) for event in events(files)] == [tuple(arguments[:2])]


def test_an_event_of_a_stream_with_the_name_of_a_file_is_appended_as_the_refusal_says(files: Esctl) -> None:
    refused = files("append", "plain", "T")
    assert "--payload --stream --type" in refused.stderr
    succeeded(files("append", "--payload", "--stream", "plain", "--type", "T", input='{"a":1}'))
    assert [(event["stream"], event["data"]) for event in events(files)] == [("plain", {"a": 1})]


def test_a_payload_from_a_file_may_begin_with_a_byte_order_mark(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_bytes(b'\xef\xbb\xbf{"a":1}\r\n')
    succeeded(run("append", "s-1", "T", "@payload.json"))
    assert succeeded(run("replay", "-o", "raw")) == '{"a":1}\n'


# Names that look misspelt


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_new_name_one_letter_away_from_a_known_one_is_told(run: Esctl, *, bulk: bool, dry_run: bool) -> None:
    succeeded(run("append", "account-1", "Deposited"))
    line = '{"stream":"acount-1","type":"Depositd"}'
    words = ["append", *([] if bulk else ["acount-1", "Depositd"]), *["--dry-run"] * dry_run]
    done = run(*words, input=line if bulk else "")
    assert (done.returncode, done.stderr.splitlines()) == (
        0,
        [
            "note: the category of streams acount is new to this log, and one letter away from account",
            "note: the type Depositd is new to this log, and one letter away from Deposited",
        ],
    )
    assert bool(run(*words, input=line if bulk else "").stderr) is dry_run


@pytest.mark.parametrize("bulk", [False, True])
def test_quiet_silences_the_note_on_a_new_name(run: Esctl, *, bulk: bool) -> None:
    succeeded(run("append", "account-1", "Deposited"))
    line = '{"stream":"acount-1","type":"Depositd"}'
    assert run("append", "-q", *([] if bulk else ["acount-1", "Depositd"]), input=line if bulk else "").stderr == ""


STRICT = '[model]\nstrict = true\n[aggregate.a]\nstreams = "account-*"\non.Deposited.add = { n = 1 }\n'


def test_lines_that_a_strict_model_refuses_are_skipped_if_asked(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text(STRICT, encoding="utf-8")
    succeeded(run("model", "apply", "strict.toml"))
    made = [
        ("account-1", "Deposited"),
        ("account-1", "Depositd"),
        ("acount-1", "Deposited"),
        ("account-2", "Deposited"),
    ]
    lines = "\n".join(json.dumps({"stream": stream, "type": type_}) for stream, type_ in made)
    refused = run("append", input=lines)
    assert (refused.returncode, "line 2" in refused.stderr) == (5, True)
    done = run("append", "--skip-invalid", input=lines)
    assert (done.returncode, json.loads(done.stdout)["appended"]) == (5, 2)
    assert "line 3 (did you mean account-1?)" in done.stderr
