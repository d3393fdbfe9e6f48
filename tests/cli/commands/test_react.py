"""`esctl react`: a command for each event, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import ESCTL, Esctl, environment, records


@pytest.fixture
def orders(log_path: Path) -> Path:
    with open_log(log_path, write=True) as log:
        for n in range(1, 7):
            log.append(f"order-{n % 2}", "Placed", {"n": n})
    return log_path


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def following(log: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A reaction that waits for new events, in a folder."""
    return subprocess.Popen(
        [ESCTL, "react", "r", "--follow", *arguments],
        env=environment(ESCTL_LOG=str(log)), cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.usefixtures("orders")
def test_a_receipt_says_what_was_done_and_what_handlers_print_goes_to_stderr(run: Esctl) -> None:
    done = run("react", "r", "--exec", "echo {data.n} of {stream}", "--type", "Placed", "--from", "#3")
    assert done.returncode == 0
    assert records(done) == [
        {"reaction": "r", "position": 6, "handled": 4, "failed": 0, "parked": 0, "skipped": 0, "appended": 0}
    ]
    assert done.stderr == "3 of order-1\n4 of order-0\n5 of order-1\n6 of order-0\n"


@pytest.mark.usefixtures("orders")
def test_a_failed_handler_ends_it_with_9(run: Esctl) -> None:
    done = run("react", "r", "--shell", "--exec", "echo no >&2; exit 3", "--from", "beginning", "--retries", "0")
    assert (done.returncode, done.stdout) == (9, "")
    assert "error: the reaction r stopped at #1 Placed in order-1: the handler failed with status 3" in done.stderr
    status = run("reaction", "status", "r")
    assert (status.returncode, records(status)[0]["state"]) == (9, "stopped")


def test_a_place_is_kept_from_run_to_run(run: Esctl, orders: Path) -> None:
    assert records(run("react", "r", "--exec", "true", "--from", "now"))[0]["handled"] == 0
    with open_log(orders, write=True) as log:
        log.append("order-1", "Placed")
    assert records(run("react", "r", "--exec", "true", "--from", "now"))[0]["handled"] == 1
    assert records(run("react", "r"))[0]["handled"] == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--exec", "true"], "r is a new reaction"),
        (["--exec", "true", "--from", "now", "--once", "--follow"], "exclude each other"),
        (["--exec", "true", "--exec-stream", "true", "--from", "now"], "exclude each other"),
        (["--exec", "true", "--from", "now", "--group", "3/2"], "--group is '3/2'"),
        (["--exec", "true", "--from", "now", "--group", "x"], "--group is 'x'"),
        (["--type", "T"], "a filter without --exec"),
        (["--exec", "true", "--from", "soon"], "is not a point"),
        (["--exec", "true", "--from", "now", "--where", "n > 1"], "no such column"),
        (["--exec", "no-such-program", "--from", "now"], "cannot run no-such-program"),
    ],
)
@pytest.mark.usefixtures("orders")
def test_a_wrong_command_line_is_refused(run: Esctl, words: list[str], what: str) -> None:
    done = run("react", "r", *words)
    assert done.returncode == 2
    assert what in done.stderr


@pytest.mark.usefixtures("orders")
def test_a_reaction_that_is_not_there_is_not_found(run: Esctl) -> None:
    assert run("react", "r").returncode == 3


def test_following_handles_what_comes(orders: Path, tmp_path: Path) -> None:
    with following(orders, tmp_path, "--shell", "--exec", "echo $ESCTL_POSITION >> got", "--from", "now") as process:
        until(lambda: Path(f"{orders}-r.1.lock").exists())
        with open_log(orders, write=True) as log:
            for _ in range(3):
                log.append("order-1", "Placed")
        until(lambda: lines(tmp_path / "got") == ["7", "8", "9"])
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (-signal.SIGTERM, "")
    assert json.loads(out)["handled"] == 3


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_handlers_end_and_starts_no_others(orders: Path, tmp_path: Path, signum: int) -> None:
    command = "echo $ESCTL_POSITION >> began; sleep 0.5; echo $ESCTL_POSITION >> got"
    with following(orders, tmp_path, "--shell", "--exec", command, "--from", "beginning") as process:
        until(lambda: len(lines(tmp_path / "began")) > 0)
        process.send_signal(signum)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (-signum, "")
    assert lines(tmp_path / "got") == lines(tmp_path / "began") == ["1"]
    assert json.loads(out)["position"] == 1


def test_a_second_signal_ends_the_handlers(orders: Path, tmp_path: Path) -> None:
    command = "echo $$ > pid; sleep 60"
    with following(orders, tmp_path, "--shell", "--exec", command, "--from", "beginning") as process:
        until(lambda: len(lines(tmp_path / "pid")) > 0)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert json.loads(out)["position"] == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines(tmp_path / "pid")[0]), 0)


def test_the_handler_of_a_killed_process_is_waited_for(run: Esctl, orders: Path, tmp_path: Path) -> None:
    command = "echo began $$ >> got; sleep 1.5; echo ended $$ >> got"
    words = ["--shell", "--exec", command, "--from", "beginning", "--type", "Placed"]
    with following(orders, tmp_path, *words) as process:
        until(lambda: len(lines(tmp_path / "got")) > 0)
        process.kill()
    refused = run("react", "r", "--timeout", "0.1")
    assert refused.returncode == 8
    assert "the reaction r is running" in refused.stderr
    assert "(sh -c" in refused.stderr
    assert run("react", "r", "--timeout", "60").returncode == 0
    got = [line.split() for line in lines(tmp_path / "got")]
    assert [word for word, _ in got] == ["began", "ended"] * 7
    assert all(one[1] == other[1] for one, other in zip(got[::2], got[1::2], strict=True))


def test_two_processes_do_not_run_one_reaction(run: Esctl, orders: Path, tmp_path: Path) -> None:
    with following(orders, tmp_path, "--exec", "true", "--from", "now") as process:
        until(lambda: Path(f"{orders}-r.1.lock").exists())
        done = run("react", "r", "--timeout", "0.2")
        assert done.returncode == 8
        assert f"process {process.pid}" in done.stderr
        process.terminate()
        process.communicate(timeout=20)


def test_a_running_reaction_is_paused_and_resumed(run: Esctl, orders: Path, tmp_path: Path) -> None:
    with following(orders, tmp_path, "--shell", "--exec", "echo x >> got", "--from", "now") as process:
        until(lambda: Path(f"{orders}-r.1.lock").exists())
        assert run("reaction", "pause", "r").returncode == 0
        with open_log(orders, write=True) as log:
            log.append("order-1", "Placed")
        time.sleep(0.5)
        assert lines(tmp_path / "got") == []
        assert records(run("reaction", "status"))[0]["state"] == "paused"
        assert run("reaction", "resume", "r").returncode == 0
        until(lambda: lines(tmp_path / "got") == ["x"])
        process.terminate()
        process.communicate(timeout=20)


def test_a_running_reaction_tries_letters_again_when_asked(run: Esctl, orders: Path, tmp_path: Path) -> None:
    command = "test -e mended || exit 65; echo $ESCTL_POSITION >> got"
    with following(orders, tmp_path, "--shell", "--exec", command, "--from", "beginning") as process:
        until(lambda: len(records(run("dead-letter", "list"))) == 2)
        (tmp_path / "mended").touch()
        assert run("dead-letter", "retry", "r", "--all").stderr == ""
        until(lambda: len(lines(tmp_path / "got")) == 6)
        until(lambda: records(run("dead-letter", "list")) == [])
        process.terminate()
        process.communicate(timeout=20)
    assert [int(n) % 2 for n in lines(tmp_path / "got")].count(1) == 3


@pytest.mark.usefixtures("orders")
def test_what_handlers_print_is_appended_and_traced(run: Esctl) -> None:
    command = """echo '{"type":"Mailed","data":{"to":"'$ESCTL_STREAM'"}}'"""
    words = ["--append", "--type", "Placed", "--shell", "--exec", command]
    assert records(run("react", "r", *words, "--from", "#5"))[0]["appended"] == 2
    mailed = records(run("replay", "--type", "Mailed"))
    assert [event["data"]["to"] for event in mailed] == ["order-1", "order-0"]
    assert [event["meta"]["causation_id"] for event in mailed] == [
        event["id"] for event in records(run("replay", "--since", "#5", "--until", "#6"))
    ]
    again = run("reaction", "reset", "r", "--from", "#5", "--yes")
    assert again.returncode == 0
    assert records(run("react", "r"))[0]["appended"] == 0
    assert len(records(run("show", "5", "--trace"))) == 2


@pytest.mark.usefixtures("orders")
def test_a_reaction_to_what_it_appends_is_refused_unless_that_is_allowed(run: Esctl) -> None:
    words = ["--append", "--shell", "--exec", """echo '{"type":"Placed"}'""", "--from", "beginning"]
    refused = run("react", "r", *words)
    assert (refused.returncode, "--append needs --type" in refused.stderr) == (2, True)
    for options in (["--category", "order"], ["--where", "type = 'Placed'"]):
        refused = run("react", "r", *words, *options)
        assert (refused.returncode, "--append needs --type\n" in refused.stderr) == (2, True)
    refused = run("react", "r", *words, "--allow-loop")
    assert (refused.returncode, "needs --type, --category or --stream\n" in refused.stderr) == (2, True)
    assert records(run("reaction", "list")) == []
    refused = run("react", "r", *words, "--type", "Placed")
    assert (refused.returncode, "that the reaction itself is for" in refused.stderr) == (9, True)
    assert "it was tried once" in refused.stderr
    allowed = run("react", "r", "--allow-loop", "--type", "Placed", *words)
    assert records(allowed)[0]["appended"] == 6
    allowed = run("react", "other", "--allow-loop", "--category", "order", *words)
    assert records(allowed)[0]["appended"] > 6


@pytest.mark.usefixtures("orders")
def test_what_handlers_print_has_the_schema_version_that_the_environment_pins(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(
        "[event.Mailed]\nschema = 3\n[[event.Mailed.upcast]]\nfrom = 1\ndefault = { a = 1 }\n"
        "[[event.Mailed.upcast]]\nfrom = 2\ndefault = { b = 1 }\n"
    )
    assert run("model", "apply", str(tmp_path / "model.toml"), "--yes").returncode == 0
    words = ["--append", "--type", "Placed", "--shell", "--exec", """echo '{"type":"Mailed"}'"""]
    assert run("react", "r", *words, "--from", "#6", env={"ESCTL_SCHEMA": "Mailed=2"}).returncode == 0
    words[-1] += " | cat"
    more = run("react", "r", *words, "--changed", env={"ESCTL_SCHEMA": "Mailed=1"})
    assert more.returncode == 0
    assert run("append", "order-1", "Placed").returncode == 0
    assert run("react", "r", env={"ESCTL_SCHEMA": "Mailed=1"}).returncode == 0
    assert [event["schema"] for event in records(run("replay", "--type", "Mailed", "--raw-schema"))] == [2, 1]


@pytest.mark.usefixtures("orders")
def test_a_program_that_stays_gets_all_events(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    event = json.loads(line)\n"
        "    print(json.dumps([{'type': 'Seen', 'data': event['position']}]), flush=True)\n"
    )
    words = ["--exec-stream", f"{sys.executable} handler.py", "--append", "--type", "Placed", "--from", "beginning"]
    assert records(run("react", "r", *words, "--concurrency", "2"))[0]["appended"] == 6
    assert sorted(event["data"] for event in records(run("replay", "--type", "Seen"))) == [1, 2, 3, 4, 5, 6]
