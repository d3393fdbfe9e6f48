"""`esctl project`: events on stdin, grouped and added up, in every format."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ESCTL, SAMPLE, Esctl, environment, succeeded

EVENTS = (
    '{"type":"Paid","data":{"customer":"a","amount":1.10}}\n'
    '{"type":"Paid","data":{"customer":"b","amount":2.25}}\n'
    '{"type":"Paid","data":{"customer":"a","amount":10}}\n'
)
BY_CUSTOMER = ("--group-by", "data.customer", "--count", "--sum", "data.amount")


@pytest.mark.parametrize(
    ("format_", "printed"),
    [
        ("ndjson", '{"customer":"a","count":2,"sum_amount":11.10}\n{"customer":"b","count":1,"sum_amount":2.25}\n'),
        ("raw", '{"customer":"a","count":2,"sum_amount":11.10}\n{"customer":"b","count":1,"sum_amount":2.25}\n'),
        (
            "json",
            '[\n{"customer":"a","count":2,"sum_amount":11.10},\n{"customer":"b","count":1,"sum_amount":2.25}\n]\n',
        ),
        ("csv", "customer,count,sum_amount\na,2,11.10\nb,1,2.25\n"),
        ("tsv", "customer\tcount\tsum_amount\na\t2\t11.10\nb\t1\t2.25\n"),
        (
            "table",
            "customer  count  sum_amount\na             2       11.10\nb             1        2.25\n",
        ),
    ],
)
def test_groups_in_every_format_say_the_same(esctl: Esctl, format_: str, printed: str) -> None:
    done = esctl("project", *BY_CUSTOMER, "-o", format_, input=EVENTS)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@pytest.mark.parametrize(
    ("format_", "printed"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", "customer,count,sum_amount\n"),
     ("tsv", "customer\tcount\tsum_amount\n"), ("table", "")],
)  # fmt: skip
def test_no_lines_are_empty_in_every_format(esctl: Esctl, format_: str, printed: str) -> None:
    done = esctl("project", *BY_CUSTOMER, "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_every_measure_is_told_in_the_order_of_the_help(esctl: Esctl) -> None:
    options = [word for name in ("last", "first", "avg", "max", "min", "sum") for word in (f"--{name}", "data.amount")]
    done = esctl("project", *options, "--count", input=EVENTS)
    assert done.stdout == (
        '{"count":3,"sum_amount":13.35,"min_amount":1.10,"max_amount":10,"avg_amount":4.45,'
        '"first_amount":1.10,"last_amount":10}\n'
    )


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("--sum data.amount,data.fee", {"sum_amount": 13.35, "sum_fee": 0.5}),
        ("--sum data.amount --sum data.fee", {"sum_amount": 13.35, "sum_fee": 0.5}),
        ("--first data.customer,data.amount", {"first_customer": "a", "first_amount": 1.1}),
        ("--last data.customer,data.amount", {"last_customer": "a", "last_amount": 10}),
        ("--min data.amount,data.fee", {"min_amount": 1.1, "min_fee": 0.5}),
        ("--max data.amount,data.fee", {"max_amount": 10, "max_fee": 0.5}),
        ("--avg data.amount,data.fee", {"avg_amount": 4.45, "avg_fee": 0.5}),
    ],
)
def test_every_measure_takes_a_list_of_fields(esctl: Esctl, words: str, printed: dict[str, object]) -> None:
    done = esctl("project", *words.split(), input=EVENTS.replace('"amount":10', '"amount":10,"fee":0.50'))
    assert json.loads(succeeded(done)) == printed


@pytest.mark.parametrize(
    ("words", "printed", "noted"),
    [
        ("--sum data.amuont", {"sum_amuont": None}, ["data.amuont; did you mean data.amount?"]),
        ("--sum amount --count", {"count": 3, "sum_amount": None}, ["amount; did you mean data.amount?"]),
        ("--sum zzz,data.amount", {"sum_zzz": None, "sum_amount": 13.35}, ["zzz"]),
        ("--max data.x --min data.x", {"min_x": None, "max_x": None}, ["data.x"]),
        ("--group-by tipe --count", {"tipe": None, "count": 3}, ["tipe; did you mean type?"]),
    ],
)
def test_a_field_that_no_line_has_is_null_and_noted(
    esctl: Esctl, words: str, printed: dict[str, object], noted: list[str]
) -> None:
    done = esctl("project", *words.split(), input=EVENTS)
    assert (done.returncode, json.loads(done.stdout)) == (0, printed)
    assert done.stderr.splitlines() == [f"note: no line has the field {note}" for note in noted]
    assert esctl("project", *words.split(), "-q", input=EVENTS).stderr == ""


def test_a_field_that_only_some_lines_have_is_added_up_without_a_note(esctl: Esctl) -> None:
    lines = '{"a":{"b":1},"k":"x"}\n{"a":5,"k":"x"}\n{"k":"y"}\n'
    assert succeeded(esctl("project", "--sum", "a.b", input=lines)) == '{"sum_b":1}\n'
    by_key = succeeded(esctl("project", "--sum", "a.b", "--group-by", "k", input=lines))
    assert by_key == '{"k":"x","sum_b":1}\n{"k":"y","sum_b":0}\n'
    assert succeeded(esctl("project", "--sum", "a", input='{"a":null}\n')) == '{"sum_a":0}\n'


def test_without_a_measure_lines_are_counted(esctl: Esctl) -> None:
    assert esctl("project", "--group-by", "type", input=EVENTS).stdout == '{"type":"Paid","count":3}\n'


def test_blanks_around_the_names_that_group_are_fine(esctl: Esctl) -> None:
    done = esctl("project", "--group-by", "type, data.customer", input=EVENTS)
    assert json.loads(done.stdout.splitlines()[0]) == {"type": "Paid", "customer": "a", "count": 2}


def test_it_adds_up_what_replay_prints(esctl: Esctl, log_path: Path) -> None:
    assert esctl("append", "-l", str(log_path), input=(SAMPLE / "orders.ndjson").read_bytes()).returncode == 0
    replayed = esctl("replay", "--type", "PaymentReceived", "-l", str(log_path)).stdout
    done = esctl("project", "--count", "--sum", "data.amount", "--last", "time", input=replayed)
    amounts = [json.loads(line)["data"]["amount"] for line in replayed.splitlines()]
    said = json.loads(done.stdout)
    assert (said["count"], round(said["sum_amount"], 2)) == (len(amounts), round(sum(amounts), 2))
    assert said["last_time"] == json.loads(replayed.splitlines()[-1])["time"]


def test_an_object_in_a_cell_is_json(esctl: Esctl) -> None:
    for format_ in ("csv", "table"):
        done = esctl("project", "--last", "data", "-o", format_, input='{"data":{"b":"x"}}')
        assert "'b'" not in done.stdout
        assert "b" in done.stdout


def test_what_a_cell_holds_does_not_act(esctl: Esctl) -> None:
    line = json.dumps({"a": "\x1b[31m [bold]x \u202e", "b": "=1+1"})
    shown = esctl("project", "--group-by", "a", "-o", "table", input=line).stdout
    assert not {"\x1b", "\u202e"} & set(shown)
    assert "[bold]x" in shown
    assert "'=1+1" in esctl("project", "--group-by", "b", "-o", "csv", "--safe-csv", input=line).stdout


@pytest.mark.parametrize(
    "words", ["", "--sum", "--group-by a. --count", "--group-by , --count", "--sum .a", "--sum a,", "--sum a,,b",
              "--count x", "--nope",
              "--group-by a --count -o cloudevents"]
)  # fmt: skip
def test_a_wrong_command_line_is_exit_2_and_prints_no_data(esctl: Esctl, words: str) -> None:
    done = esctl("project", *words.split(), input=EVENTS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("line", "words"),
    [("x", "--count"), ("[1]", "--count"), ('{"a":"x"}', "--sum a"), ('{"a":true}', "--avg a"),
     ('{"a":1e999999999999}', "--sum a"), ('{"a":[1]}', "--max a")],
)  # fmt: skip
def test_a_line_that_cannot_be_taken_is_exit_5_with_its_number_and_no_data(esctl: Esctl, line: str, words: str) -> None:
    done = esctl("project", *words.split(), "--error-format", "json", input=f'{{"a":1}}\n{line}\n')
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    said = json.loads(done.stderr)
    assert (said["exit"], said["line"]) == (5, 2)


def test_on_a_terminal_it_says_what_to_pipe_into_it(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    done = subprocess.run(
        [ESCTL, "project", "--count"], stdin=slave, capture_output=True, cwd=tmp_path, env=environment(), check=False
    )
    os.close(master)
    os.close(slave)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"| esctl project" in done.stderr


def test_a_pipe_that_closes_ends_it_in_silence(tmp_path: Path) -> None:
    made = b"".join(b'{"a":%d}\n' % n for n in range(30_000))
    (tmp_path / "many").write_bytes(made)
    with (
        (tmp_path / "many").open("rb") as many,
        subprocess.Popen(
            [ESCTL, "project", "--group-by", "a"], stdin=many, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(),
        ) as grouping,
    ):  # fmt: skip
        assert grouping.stdout is not None
        assert grouping.stderr is not None
        assert grouping.stdout.readline()
        grouping.stdout.close()
        said = grouping.stderr.read()
        assert (grouping.wait(timeout=20), said) == (-13, b"")
