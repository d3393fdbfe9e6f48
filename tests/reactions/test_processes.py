"""Processes of handlers: what they get, how they end, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esctl.reactions import processes
from esctl.reactions.definition import EXEC, Command, Definition
from esctl.reactions.items import Item, _decode
from esctl.reactions.processes import Processes
from esctl.reactions.results import MAX_OUTPUT, MISSING, TAIL_BYTES, TIMED_OUT, Result


def item(position: int = 7, stream: str = "s", data: object = None) -> Item:
    line = json.dumps(
        {"position": position, "stream": stream, "version": 1, "id": f"e{position}", "type": "T", "schema": 1,
         "time": "t", "recorded": "r", "data": data, "meta": {}}
    ).encode()  # fmt: skip
    return Item(line, _decode(line), stream)


@pytest.fixture(params=["pidfd", "poll"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the end of a process is noticed."""
    if request.param == "poll":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.delattr(os, "memfd_create", raising=False)
    return str(request.param)


def started(command: str, *items: Item, **options: object) -> Iterator[Result]:
    """The results of a shell's command for some events, all at once."""
    definition = Definition(EXEC, command, shell=True)
    running = Processes(Command(definition), "log.db", concurrency=len(items), **options)  # type: ignore[arg-type]
    for one in items:
        running.start(one)
    deadline = time.monotonic() + 30
    while running.running:
        assert time.monotonic() < deadline
        yield from running.wait(0.1)
    running.end()


def one(command: str, given: Item | None = None, **options: object) -> Result:
    (result,) = started(command, given or item(), **options)
    return result


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.usefixtures("way")
def test_a_handler_gets_its_event_on_stdin_and_in_its_environment(tmp_path: Path) -> None:
    given = item(data={"n": 1})
    given.attempts = 2
    names = "$ESCTL_POSITION $ESCTL_STREAM $ESCTL_TYPE $ESCTL_ID $ESCTL_ATTEMPT $ESCTL_LOG"
    assert one(f"cat > {tmp_path}/in; echo {names} > {tmp_path}/env", given).error == ""
    assert (tmp_path / "in").read_bytes() == given.line + b"\n"
    assert (tmp_path / "env").read_text() == f"7 s T e7 3 {os.path.abspath('log.db')}\n"


def test_its_arguments_are_whatever_the_fields_say(tmp_path: Path) -> None:
    text = "a b'\"$HOME; touch x\n*"
    (tmp_path / "write.py").write_text("import sys\nopen(sys.argv[1], 'w').write(sys.argv[2])\n")
    words = f"{sys.executable} {tmp_path}/write.py {tmp_path}/x {{data}}"
    running = Processes(Command(Definition(EXEC, words)), "log.db")
    running.start(item(data=text))
    while running.running:
        assert all(not result.error for result in running.wait(1.0))
    assert (tmp_path / "x").read_text() == text


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("exit 3", 3, "failed with status 3"),
        ("exit 75", 75, "failed with status 75"),
        ("kill -SEGV $$", 139, "died of SIGSEGV"),
        ("/no/such/program 2>&-", 127, "failed with status 127"),
    ],
)
@pytest.mark.usefixtures("way")
def test_a_handler_that_fails_has_its_status(command: str, status: int, error: str) -> None:
    result = one(command)
    assert (result.status, result.error) == (status, error)


def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    running = Processes(Command(Definition(EXEC, f"{tmp_path}/none")), "log.db")
    running.start(item())
    (result,) = running.wait(1.0)
    assert (result.status, "No such file" in result.error, running.running) == (MISSING, True, 0)


def test_an_argument_that_no_program_can_get_is_a_failure() -> None:
    running = Processes(Command(Definition(EXEC, "true {data}")), "log.db")
    running.start(item(data="a\0b"))
    (result,) = running.wait(1.0)
    assert (result.status, "null" in result.error) == (MISSING, True)


@pytest.mark.parametrize("command", ["true", "exec 0<&-; exit 0"])
def test_a_handler_need_not_read_its_stdin(command: str) -> None:
    assert one(command, item(data="x" * 3_000_000)).error == ""


def test_the_end_of_what_it_wrote_to_stderr_is_kept_however_much_that_was() -> None:
    result = one("head -c 50000000 /dev/zero | tr '\\0' y >&2; echo end >&2; exit 1")
    assert len(result.stderr) == TAIL_BYTES
    assert result.stderr.endswith("yyend\n")


def test_what_is_not_text_on_stderr_is_kept_as_text() -> None:
    assert one(r"printf '\377a' >&2; exit 1").stderr == "\ufffda"


def test_what_it_prints_is_collected_where_that_is_asked_for() -> None:
    assert one("echo a; echo b", outputs=True).output == b"a\nb\n"
    assert one("echo a 2>&1 >/dev/null").output == b""


def test_a_handler_that_prints_too_much_is_ended() -> None:
    result = one(f"head -c {MAX_OUTPUT + 1} /dev/zero; sleep 60", outputs=True)
    assert (result.status, result.output) == (1, b"")
    assert "prints more than" in result.error


@pytest.mark.usefixtures("way")
def test_a_handler_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    result = one("sleep 60 & wait", timeout=0.2)
    assert (result.status, time.monotonic() - began < 5) == (TIMED_OUT, True)
    assert result.error == "ran for more than 0.2 seconds and was ended"


def test_one_that_does_not_want_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    assert one("trap '' TERM; while true; do sleep 0.1; done", timeout=0.2).status == TIMED_OUT


def alive(pid: int) -> bool:
    """Whether a process runs: who inherits it here may not wait for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("way")
def test_what_a_handler_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    began = time.monotonic()
    assert one(f"sleep 60 & echo $! > {tmp_path}/pid").error == ""
    assert time.monotonic() - began < 5
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.02)
    assert not alive(pid)


def test_a_child_that_left_the_group_and_writes_on_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    command = (
        f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec yes >&2' & while ! test -s {tmp_path}/pid; do sleep 0.01; done"
    )
    assert one(command).error == ""
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert time.monotonic() - began < 5


def test_signals_that_python_ignores_are_not_ignored_by_handlers() -> None:
    result = one("grep -E '^Sig(Ign|Blk)' /proc/self/status >&2; exit 1")
    ignored = {name: int(mask, 16) for name, mask in (line.split(":") for line in result.stderr.splitlines())}
    assert ignored["SigIgn"] & (1 << 12 | 1 << 24) == 0  # SIGPIPE, SIGXFSZ
    assert ignored["SigBlk"] == 0


@pytest.mark.usefixtures("way")
def test_many_at_once_have_one_result_each() -> None:
    items = [item(n) for n in range(1, 31)]
    found = list(started("exit $((ESCTL_POSITION % 3))", *items))
    assert sorted((result.item.position, result.status) for result in found) == [(n, n % 3) for n in range(1, 31)]


@pytest.mark.usefixtures("way")
def test_no_descriptor_and_no_process_is_left() -> None:
    one("true")
    before, processes_before = os.listdir("/proc/self/fd"), children()
    for _ in range(20):
        one("echo x >&2; exit 1", outputs=True)
    assert (len(os.listdir("/proc/self/fd")), children()) == (len(before), processes_before)


def test_all_can_be_ended_at_once() -> None:
    running = Processes(Command(Definition(EXEC, "sleep 60")), "log.db", concurrency=3)
    for n in range(3):
        running.start(item(n))
    assert not running.fits("s")
    began = time.monotonic()
    running.end()
    assert (running.running, time.monotonic() - began < 5) == (0, True)


def test_where_there_are_too_few_descriptors_fewer_handlers_run() -> None:
    running = Processes(Command(Definition(EXEC, "sleep 0.2")), "log.db", concurrency=50)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, before[1]))
    try:
        count = 0
        while running.has_room:
            running.start(item(count))
            count += 1
        found: list[Result] = []
        while running.running:
            found += running.wait(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert 1 < count < 50
    assert [one.counts for one in found].count(False) == 1
    assert all(one.status == 0 for one in found)
