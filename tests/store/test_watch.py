"""A step of SQL that would take hours ends with an error at the promised time, and soon after a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esctl import open_log
from esctl.log import EventLog
from tests.conftest import ESCTL, UNMEASURED, environment
from tests.expressions import places
from tests.logs import hold

LONG, HALF = "printf('%.*c', 60000000, 'a')", "printf('%.*c', 30000000, 'a')"
BOMBS = {
    "instr": f"instr({LONG}, {HALF} || 'b')",
    "replace": f"length(replace({LONG}, {HALF} || 'b', ''))",
    "trim": f"length(ltrim({LONG}, printf('%.*c', 5000000, 'b') || 'a'))",
    "like": f"{LONG} like '%' || printf('%.*c', 1990, 'a') || 'b'",
    "glob": f"{LONG} glob '*' || printf('%.*c', 1990, 'a') || 'b'",
    "join": "(with a(x) as (select printf('%.*c', 10000000, 'a')), b(y) as (select printf('%.*c', 5000000, 'a') || 'b')"
    " select count(*) from a join b on instr(x, y))",
}
# A condition is tried with short texts first, so it has to get the long ones from the event.
CONDITION = (
    "instr(printf('%.*c', iif(type = 'T', 60000000, 1), 'a'), printf('%.*c', iif(type = 'T', 30000000, 1), 'a') || 'b')"
)
ENDLESS = "(with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n)"
SECONDS = 0.2
LATEST = 8.0  # seconds; 1.7 on a machine with nothing else to do


@pytest.fixture
def log(log_path: Path) -> Path:
    with open_log(log_path, write=True) as written:
        written.append("s", "T", {})
        written.append("s", "U", {})
    return log_path


def run(log: Path, *words: str) -> tuple[int, str, float]:
    """The exit code of a command with a short limit, what it said, and the seconds that it took."""
    begin = time.monotonic()
    done = subprocess.run(
        [ESCTL, *words, "--timeout", str(SECONDS)],
        env=environment(ESCTL_LOG=str(log)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr, time.monotonic() - begin


def refused(log: Path, words: list[str], subject: str) -> None:
    code, said, seconds = run(log, *words)
    assert (code, f"{subject} ran for more than 0.2 seconds" in said) == (9, True), said
    assert "--timeout 60" in said
    assert seconds < LATEST


def test_a_rule_ends_with_its_error_and_the_next_writer_gets_the_lock(log: Path) -> None:
    with EventLog(log, write=True) as written:
        hold(written, places(BOMBS["instr"])["aggregate.a.accept.T"])
    head = subprocess.check_output([ESCTL, "head"], env=environment(ESCTL_LOG=str(log)))
    refused(log, ["append", "s", "T", "{}"], "an expression of the model")
    assert subprocess.check_output([ESCTL, "head"], env=environment(ESCTL_LOG=str(log))) == head
    assert run(log, "append", "other", "U", "{}")[0] == 0


def test_the_error_is_json_if_that_is_asked_for(log: Path) -> None:
    _, said, _ = run(log, "query", f"select {BOMBS['instr']}", "--error-format", "json")
    error = json.loads(said)
    assert (error["error"], error["exit"]) == ("handler", 9)


def test_a_condition_ends_with_its_error(log: Path) -> None:
    refused(log, ["replay", "--where", CONDITION], "one step of the SQL")


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_query_ends_with_its_error(log: Path, name: str) -> None:
    refused(log, ["query", f"select {BOMBS[name]}"], "one step of the SQL")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replace", "glob"])
@pytest.mark.parametrize("place", places("1"))
def test_an_expression_of_a_model_ends_with_its_error(log: Path, place: str, name: str) -> None:
    with EventLog(log, write=True) as written:
        hold(written, places(BOMBS[name])[place])
    words = ["state", "s"]
    if place.startswith("event"):
        words = ["replay"]
    elif "accept" in place:
        words = ["append", "s", "T", "{}"]
    refused(log, words, "an expression of the model")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "rule"),
    [(["query", f"select {BOMBS['instr']}"], "1"), (["append"], BOMBS["instr"]), (["append"], ENDLESS)],
    ids=["query", "append", "append, in many steps"],
)
def test_a_signal_ends_sql_that_takes_long(log: Path, words: list[str], rule: str, signum: signal.Signals) -> None:
    with EventLog(log, write=True) as written:
        hold(written, places(rule)["aggregate.a.accept.T"])
    with subprocess.Popen(
        [ESCTL, *words],
        env=environment(ESCTL_LOG=str(log), **UNMEASURED),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"stream":"s","type":"T"}\n')
        process.stdin.flush()
        time.sleep(1)  # it computes by now; before that, too, a signal ends it
        assert process.poll() is None
        process.send_signal(signum)
        begin = time.monotonic()
        assert process.wait(timeout=LATEST) == -signum
        assert time.monotonic() - begin < LATEST / 2
    assert run(log, "append", "other", "U", "{}")[0] == 0


DEFERRED = """
import os, signal, sys
from esctl import errors
from esctl.append.ingest import Interrupts
from esctl.log import EventLog
errors.ending = lambda error: os._exit(error.signum)
with EventLog(sys.argv[1]) as log, Interrupts():
    os.kill(os.getpid(), signal.SIGTERM)
    list(log.question(sys.argv[2])[1])
"""


def test_a_signal_that_came_before_the_sql_ends_it_too(log: Path) -> None:
    words = [sys.executable, "-c", DEFERRED, str(log), f"select {BOMBS['instr']}"]
    begin = time.monotonic()
    ended = subprocess.run(words, env=environment(**UNMEASURED), check=False, timeout=60)
    assert ended.returncode == signal.SIGTERM
    assert time.monotonic() - begin < LATEST


def test_a_query_of_many_steps_has_no_limit(log: Path) -> None:
    sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000000) select max(i) from n"
    code, said, seconds = run(log, "query", sql)
    assert (code, said) == (0, "")
    assert seconds > SECONDS
