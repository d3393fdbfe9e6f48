"""`esctl batch`: many command lines in one process, each answered as if it had a process of its own."""

from __future__ import annotations

import json
import select
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.cli import parse
from esctl.cli.commands.batch import words_of
from esctl.cli.declare import Shared
from tests import runner
from tests.conftest import ESCTL, Esctl, environment, write_empty_log

DONE = '{"exit":0}\n'


@pytest.fixture
def batch(esctl: Esctl, log_path: Path) -> Esctl:
    """Run lines in a batch on this test's log."""

    def on_log(*lines: str, options: tuple[str, ...] = (), **more: Any) -> subprocess.CompletedProcess[str]:
        given = "".join(f"{line}\n" for line in lines)
        return esctl("batch", *options, input=given, env={"ESCTL_LOG": str(log_path)}, **more)

    return on_log


def closings(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """How the lines ended."""
    assert done.returncode == 0
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"exit":')]


def types(esctl: Esctl, log: Path) -> str:
    return esctl("replay", "--template", "{type}", "-l", str(log)).stdout


# Each line and its answer


def test_a_line_is_answered_by_what_it_prints_and_one_closing_line(batch: Esctl) -> None:
    done = batch("append s T a=1 --id e", "replay --template {data.a}")
    receipt = '{"position":1,"stream":"s","version":1,"id":"e","duplicate":false}\n'
    assert done.stdout == f"{receipt}{DONE}1\n{DONE}"
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_that_fails_is_answered_by_its_exit_code_and_error_and_the_next_is_run(batch: Esctl) -> None:
    done = batch("append s T {", "append s T --expect 7", "append", "streams -o raw")
    assert closings(done) == [
        {"exit": 5, "error": "refused", "what": "the payload '{' is not JSON"},
        {"exit": 4, "error": "conflict", "what": "stream s is at version 0, expected 7"},
        {"exit": 0},
        {"exit": 0},
    ]
    assert done.stderr.count("error: ") == 2


def test_an_exit_code_without_an_error_is_told_too(batch: Esctl) -> None:
    assert closings(batch("archive", "esctl", "append s T", "replay --type U --fail-empty"))[:2] == [{"exit": 2}] * 2


JSON = ("--error-format", "json")
LINES = [
    "append order-1 Placed n:=1 --id one --time 2026-01-02T00:00:00Z",
    """append order-1 Placed '{"a": "it''s"}' --id two -o json --time 2026-01-03T00:00:00Z""",
    """append order-2 "Paid" 'who=a "b"' --id three -q --time 2026-01-04T00:00:00Z""",
    "append order-1 Placed n:=2 --id one --time 2026-01-02T00:00:00Z",
    "append order-1 Placed {",
    "append order-1 Placed --expect 9 --id four",
    "append",
    "append order-3 Paid -",
    "replay --fields position,stream,version,id,data",
    "replay nothing",
    "replay order-1 --template {id} --reverse",
    "replay --limitt 3",
    "replay --where (",
    "state order-1 --fields stream,version,state",
    "streams -o csv --safe-csv",
    "types -o table --utc --wide",
    "query 'select count(*) as n from log' -o json",
    "query 'select char(61) as a' -o csv",
    "head --log none.db",
    "head --log none.db --error-format json",
    "mark here -q",
    "verify --quick -q",
    "model apply none.toml",
    "model apply model.toml --yes -q",
    "projection show orders",
    "init",
    "zzz",
    "archive",
    "help time",
    "version",
    "state order-1 --color always -o raw",
]
MODEL = """
[projection.orders]
table = "create table orders(position integer primary key, stream text)"
on.Placed = "insert into orders values (new.position, new.stream)"
"""


@settings(max_examples=3)
@given(lines=st.permutations(LINES))
def test_answers_are_those_of_one_process_a_line(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, model = Path(folder, "esctl.db"), Path(folder, "model.toml")
        write_empty_log(log)
        model.write_text(MODEL, encoding="utf-8")
        content = log.read_bytes()
        alone = [runner.run([*JSON, *shlex.split(line)], cwd=log.parent, env=environment()) for line in lines]
        log.write_bytes(content)
        text = "".join(f"{line}\n" for line in lines).encode()
        done = runner.run(["batch", *JSON], input=text, cwd=log.parent, env=environment())
    left = done.stdout
    for line, one in zip(lines, alone, strict=True):
        assert left.startswith(one.stdout), line
        closing, _, left = left.removeprefix(one.stdout).partition(b"\n")
        assert json.loads(closing) == {"exit": one.returncode} | told(one), line
    assert (done.returncode, left, done.stderr) == (0, b"", b"".join(one.stderr for one in alone))
    assert {one.returncode for one in alone} >= {0, 2, 3, 5}


def told(done: subprocess.CompletedProcess[bytes]) -> dict[str, str]:
    """What the closing line says of the error that a run of its own reported."""
    errors = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b'{"error":')]
    return {name: errors[-1][name] for name in ("error", "what")} if errors else {}


# What a line may be


def test_blank_lines_and_comments_are_passed_over(batch: Esctl) -> None:
    done = batch("", "   ", "# append s T", "  # 'unbalanced", "append s T -q # don't", "\t")
    assert (done.stdout, done.stderr) == (DONE, "")


def test_a_leading_word_esctl_is_allowed(batch: Esctl) -> None:
    assert batch("esctl append s T --id e -o raw", "esctl replay --template {id}").stdout.endswith(f"e\n{DONE}")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plain", "plain"),
        ("'two  words'", "two  words"),
        ('"it\'s"', "it's"),
        (r"a\ b\"c", 'a b"c'),
        (r"'back\slash'", r"back\slash"),
        ("pre'fix'ed", "prefixed"),
        ("#fff", "#fff"),
        ("a#b#", "a#b#"),
        ("'# none'", "# none"),
        (r"a\ #b", "a #b"),
        ("'q'#b", "q#b"),
        ("a # 'one", "a"),
        ("$HOME*~", "$HOME*~"),
        ("漢字", "漢字"),
    ],
)
def test_words_are_quoted_as_in_a_shell_which_expands_nothing(batch: Esctl, written: str, meant: str) -> None:
    done = batch(f"append -q s T value={written}", "replay --template {data.value}")
    assert (done.stdout, done.stderr) == (f"{DONE}{meant}\n{DONE}", "")


@pytest.mark.parametrize("line", ['append s T "{', "append s T 'a", "append s T a\\", "append s T 'a # b"])
def test_unbalanced_quotes_are_a_wrong_command_line_and_the_next_line_is_run(batch: Esctl, line: str) -> None:
    done = batch(line, "replay --fail-empty")
    assert [closing["exit"] for closing in closings(done)] == [2, 10]
    assert done.stderr.startswith("error: the line ")


@pytest.mark.parametrize("line", ["batch", "esctl batch", "-q batch", "--log x.db batch", "batch -o json"])
def test_a_batch_within_a_batch_is_refused(batch: Esctl, line: str) -> None:
    done = batch(line, "append s T -q")
    assert closings(done) == [{"exit": 2, "error": "usage", "what": "a batch within a batch"}, {"exit": 0}]


def test_batch_is_a_word_like_others_where_it_is_no_command(batch: Esctl) -> None:
    assert closings(batch("append batch batch batch=batch", "help batch", "batch --help")) == [{"exit": 0}] * 3


def test_an_argument_that_is_no_utf_8_is_refused(esctl: Esctl, log_path: Path) -> None:
    done = esctl("batch", "-l", str(log_path), input=b"append s T a=\xff\nappend s T -q\n")
    assert [closing["exit"] for closing in closings(done)] == [5, 0]
    assert "not valid UTF-8" in done.stderr


def test_a_last_line_needs_no_newline_and_windows_lines_are_lines(esctl: Esctl, log_path: Path) -> None:
    done = esctl("batch", "-l", str(log_path), input=b"append s T -q\r\nreplay --template {type}")
    assert done.stdout == f"{DONE}T\n{DONE}"


def test_commands_find_stdin_empty(batch: Esctl) -> None:
    done = batch("append", "append s T -", "append s T -q")
    assert [closing["exit"] for closing in closings(done)] == [0, 5, 0]
    assert '{"appended":0,' in done.stdout


# Options of batch


def test_options_of_batch_hold_for_its_lines_which_may_say_otherwise(esctl: Esctl, log_path: Path) -> None:
    esctl("append", "s", "T", "-l", str(log_path))
    lines = "streams --fail\nstreams\nstreams -o raw\nhead --log none.db\n"
    done = esctl("batch", "--log", str(log_path), "-o", "csv", "--error-format", "json", input=lines)
    assert [closing["exit"] for closing in closings(done)] == [2, 0, 0, 3]
    assert done.stdout.count("stream,events,") == 1
    assert [json.loads(line)["exit"] for line in done.stderr.splitlines()] == [2, 3]


def test_what_a_line_says_holds_for_that_line_alone(batch: Esctl) -> None:
    done = batch("append s T a==1 -q", "append s T -o raw", "query \"select '=1' as a\" -o csv --safe-csv",
                 "query \"select '=1' as a\" -o csv")  # fmt: skip
    assert done.stdout.split(DONE)[1] != ""
    assert done.stdout.split(DONE)[2:] == ["a\n'=1\n", "a\n=1\n", ""]


@pytest.mark.parametrize(
    "options",
    ["", "--log x.db", "-o json", "-q", "-v", "--debug", "--color never", "--error-format json", "--timeout 0",
     "--timeout 5", "--timeout 10", "--timeout 0.5", "--yes", "--utc", "--wide", "--safe-csv", "-q -o csv --yes --utc"],
)  # fmt: skip
def test_every_shared_option_reaches_the_lines(options: str) -> None:
    asked = Shared(**parse.read(["batch", *options.split()]).shared)
    reached = Shared(**parse.read([*words_of(asked), "head"]).shared)
    assert [getattr(reached, name) for name in Shared.__slots__] == [getattr(asked, name) for name in Shared.__slots__]


def test_a_fix_names_the_log_of_the_batch(esctl: Esctl, log_path: Path) -> None:
    esctl("append", "order-1", "T", "-l", str(log_path))
    done = esctl("batch", "--log", "log.db", input="replay ordre-1\n")
    assert done.stderr.splitlines()[-1] == "fix: esctl replay --log log.db order-1"


# As a process


def test_each_answer_is_there_before_the_next_line_is_written(log_path: Path) -> None:
    with subprocess.Popen(
        [ESCTL, "batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(ESCTL_LOG=str(log_path)),
        bufsize=0,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for line, answer in (("append s T -q", DONE), ("replay --template {type}", f"T\n{DONE}"), ("help", DONE)):
            process.stdin.write(f"{line}\n".encode())
            said = b""
            while not said.endswith(answer.encode()):
                assert select.select([process.stdout], [], [], 20)[0], said
                said += process.stdout.read(65536)
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_nothing_more_is_done_when_stdout_takes_no_more(esctl: Esctl, log_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [ESCTL, "batch"], input=b"append s First\nappend s Second\n", stdout=full, stderr=subprocess.PIPE,
            env=environment(ESCTL_LOG=str(log_path)), check=False,
        )  # fmt: skip
    assert done.returncode == 8
    assert done.stderr.startswith(b"error: cannot write to stdout\n")
    assert types(esctl, log_path) == ""


def test_the_lines_of_a_batch_are_pinned_by_the_environment_and_by_their_own_option(run: Esctl) -> None:
    lines = "append s T\nappend s T --schema T=3\nappend s U\n"
    assert run("batch", input=lines, env={"ESCTL_SCHEMA": "T=2"}).returncode == 0
    assert [json.loads(line)["schema"] for line in run("replay").stdout.splitlines()] == [2, 3, 1]
