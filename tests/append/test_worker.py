"""The second process parses what it is given, or gives it back; and it ends with the first, however that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.append.worker import PART_BYTES, PART_LINES, PARTS_AHEAD, SLOT_BYTES, Worker, cut, is_worthwhile
from esctl.errors import Stopped
from esctl.events import chain
from esctl.events.formats import Line
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.log import EventLog
from tests.conftest import ESCTL, Esctl, environment

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of the tests' own threads
NAMED = Defaults(stream="s", type="T")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
two_cores = pytest.mark.skipif(CORES < 2, reason="a second process needs a second core")


def lines(count: int, first: int = 1, **more: object) -> list[bytes]:
    return [json.dumps({"id": f"id {n}", "data": {"n": n}, **more}).encode() for n in range(first, first + count)]


@contextmanager
def working(defaults: Defaults = NAMED) -> Iterator[Worker]:
    worker = Worker(defaults, lambda: None)
    try:
        yield worker
    finally:
        worker.close()


def test_a_part_comes_back_as_events_with_the_digests_of_their_payloads() -> None:
    batch = [*lines(300), b'{"id":"x","stream":"\xc3\xa9-1","data":"\xc3\xa9","meta":{"a":1},"expect":3,"schema":2}']
    with working() as worker:
        worker.send(batch)
        part = worker.receive()
    assert part is not None
    assert part.events == [parser(NAMED)(line) for line in batch]
    assert part.events[-1].data == '"é"'
    sizes = []
    for event, salt, digest in zip(part.events, part.salts, part.digests, strict=True):
        data, meta = event.data.encode(), event.meta.encode()
        assert digest == chain.payload_digest(salt, data, meta)
        sizes.append(len(data) + len(meta))
    assert part.largest == max(sizes)
    assert {len(salt) for salt in part.salts} == {chain.SALT_BYTES}
    assert len(set(part.salts)) == len(batch)


@pytest.mark.parametrize(
    "batch",
    [
        [],
        [b""],
        [*lines(2), b"nonsense"],
        [*lines(200), b" "],
        [*lines(200), None],
        [b'{"data":"' + b"x" * SLOT_BYTES + b'"}'],
        [b'{"stream":"$esctl"}'],
    ],
    ids=["nothing", "an empty line", "no JSON", "a blank line", "a long line", "too much", "refused"],
)
def test_a_part_with_another_line_is_given_back_and_the_next_is_not(batch: list[Line]) -> None:
    with working() as worker:
        worker.send(batch)
        worker.send(lines(3))
        assert worker.receive() is None
        part = worker.receive()
    assert part is not None
    assert [event.id for event in part.events] == ["id 1", "id 2", "id 3"]


def test_a_part_whose_answer_would_be_too_large_is_given_back() -> None:
    batch = [b"1"] * (SLOT_BYTES // 2)  # each event has salt and digest
    with working(Defaults(stream="s", type="T", payload=True)) as worker:
        worker.send(batch)
        assert worker.receive() is None


def test_parts_come_back_in_the_order_in_which_they_were_sent() -> None:
    with working() as worker:
        for at in range(PARTS_AHEAD):
            worker.send(lines(10, 10 * at))
        for at in range(PARTS_AHEAD, 20):
            part = worker.receive()
            assert part is not None
            assert part.events[0].id == f"id {10 * (at - PARTS_AHEAD)}"
            worker.send(lines(10, 10 * at))


def test_an_event_without_an_id_has_an_empty_one() -> None:
    with working() as worker:
        worker.send([b'{"data":1}'])
        part = worker.receive()
    assert part is not None
    assert [event.id for event in part.events] == [""]


def test_everything_is_given_back_once_the_process_has_died() -> None:
    with working() as worker:
        worker.send(lines(3))
        assert worker.receive() is not None
        os.kill(worker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        for _ in range(2):
            worker.send(lines(3))
            assert worker.receive() is None


def test_who_waits_for_a_process_that_hangs_can_be_stopped() -> None:
    def waiting() -> None:
        raise Stopped(signal.SIGINT)

    worker = Worker(NAMED, waiting)
    os.kill(worker.pid, signal.SIGSTOP)
    worker.send(lines(3))
    with pytest.raises(Stopped):
        worker.receive()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def printed(code: str) -> str:
    command = [str(Path(ESCTL).with_name("python")), "-c", code]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


def test_a_process_of_several_threads_does_not_fork() -> None:
    code = "import threading, time; from esctl.append.worker import is_worthwhile;"
    code += "threading.Thread(target=time.sleep, args=[1]).start(); print(is_worthwhile())"
    assert printed(code) == "False\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be bound to a core here")
def test_one_core_is_for_one_process() -> None:
    code = "import os; from esctl.append.worker import is_worthwhile;"
    code += "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(is_worthwhile())"
    assert printed(code) == "False\n"


@given(st.lists(st.none() | st.integers(0, 2 * PART_BYTES), max_size=30), st.integers(0, 3 * PART_LINES))
def test_a_batch_is_cut_into_parts_of_so_many_lines_and_bytes(sizes: list[int | None], before: int) -> None:
    batch: Sequence[Line] = [b"1"] * before + [None if size is None else bytes(size) for size in sizes]
    found = list(cut(batch))
    assert [n for start, end in found for n in range(start, end)] == [*range(len(batch))]
    assert all(0 < end - start <= PART_LINES for start, end in found)


# Whole processes


class Appending:
    """`append` that has stored a first full batch and forked, and waits for more of its input."""

    def __init__(self, log: Path) -> None:
        self.process = subprocess.Popen(
            [ESCTL, "append", "-q", "--stream", "s", "--type", "T"],
            env=environment(ESCTL_LOG=str(log)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.feed(lines(20_000))
        while not (found := children(self.process.pid)) or stored(log) < 10_000:
            assert self.process.poll() is None
            time.sleep(0.05)
        (self.child,) = found

    def feed(self, batch: list[bytes]) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(line + b"\n" for line in batch))
        self.process.stdin.flush()

    def end(self) -> bytes:
        """End the input, and return what it prints on stderr."""
        return self.process.communicate(timeout=60)[1]


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(row.split()[0]) for row in listed.splitlines() if int(row.split()[1]) == pid]


def ended(pid: int) -> bool:
    """Whether a process ends soon."""
    for _ in range(500):
        listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        status = listed.stdout.strip()
        if not status or status.startswith("Z"):  # nobody may be there to reap it
            return True
        time.sleep(0.01)
    return False


def stored(path: Path) -> int:
    with EventLog(path) as log:
        return sum(1 for _ in log.read(Query()))


@two_cores
def test_the_second_process_ends_with_a_first_that_is_killed(log_path: Path) -> None:
    appending = Appending(log_path)
    appending.process.kill()
    assert ended(appending.child)
    appending.end()
    assert 10_000 <= stored(log_path) <= 20_000  # a slow pipe ends a batch early


@two_cores
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_both_ends_both_and_the_first_by_the_signal(log_path: Path, signum: int) -> None:
    appending = Appending(log_path)
    os.killpg(appending.process.pid, signum)
    appending.end()
    assert appending.process.returncode == -signum
    assert ended(appending.child)
    assert 10_000 <= stored(log_path) <= 20_000  # a slow pipe ends a batch early


@two_cores
def test_nothing_is_lost_when_the_second_process_is_killed(log_path: Path) -> None:
    appending = Appending(log_path)
    os.kill(appending.child, signal.SIGKILL)
    appending.feed(lines(20_000, 20_001))
    errors = appending.end()
    assert (appending.process.returncode, errors) == (0, b"")
    assert stored(log_path) == 40_000


@two_cores
def test_no_second_process_is_left_when_the_input_has_ended(log_path: Path) -> None:
    appending = Appending(log_path)
    appending.end()
    assert appending.process.returncode == 0
    assert ended(appending.child)
    assert stored(log_path) == 20_000


def mixed(count: int) -> bytes:
    """Lines of several streams: new ids, duplicates, odd spellings, expectations, CloudEvents; bad ones; a conflict."""
    made: list[bytes] = []
    for n in range(count):
        stream = f"s-{n % 7}"
        event: dict[str, Any] = {"stream": stream, "type": f"T{n % 3}", "id": f"id {n}", "data": {"n": n, "é": [n]}}
        if n % 11 == 3:
            event |= {"id": f"id {n - 1}", "stream": f"s-{(n - 1) % 7}", "type": f"T{(n - 1) % 3}"}
            event |= {"data": {"é": [n - 1], "n": n - 1}}
        if n % 13 == 5:
            event |= {"expect": "any", "time": "2026-01-31T09:30:00+01:00", "meta": {"a": "\u2028"}}
        if n == 3_000:
            event |= {"id": "id 1"}
        if n % 2_500 == 7:
            event = {"specversion": "1.0", "id": f"{n}", "source": "/s", "type": "T", "subject": stream, "data": n}
        made.append(json.dumps(event, ensure_ascii=n % 2 == 0, indent=None, separators=(",", ":")).encode())
        if n % 5_000 == 4_999:
            made.append(b" ")
        if n % 7_000 == 6_999:
            made.append(b"nonsense")
    return b"\n".join(made)


@two_cores
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be bound to a core here")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--skip-invalid"],
        ["--skip-invalid", "--on-conflict", "skip"],
        ["--skip-invalid", "--on-conflict", "skip", "--atomic"],
        ["--skip-invalid", "--on-conflict", "skip", "--expect", "none"],
    ],
)
def test_two_processes_store_and_report_what_one_does(esctl: Esctl, tmp_path: Path, options: list[str]) -> None:
    source = tmp_path / "lines.ndjson"
    source.write_bytes(mixed(13_000))
    results = []
    for cores in (os.sched_getaffinity(0), [min(os.sched_getaffinity(0))]):
        log = tmp_path / f"{len(cores)}.db"
        esctl("init", "--log", str(log))
        command = [ESCTL, "append", str(source), "--receipts", *options]
        outputs = []
        for _ in range(2):  # the second time, all are duplicates
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                timeout=120,
                env=environment(ESCTL_LOG=str(log)),
                preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),  # type: ignore[misc]
            )
            outputs.append((done.returncode, done.stdout, done.stderr))
        with EventLog(log) as read:
            events = [(*event[:6], *event[8:]) for event, _, _ in read.read(Query())]
        assert json.loads(esctl("verify", "--full", "--log", str(log)).stdout)["ok"]
        results.append((outputs, events))
    assert results[0] == results[1]


def test_this_process_may_be_asked() -> None:
    assert is_worthwhile() in (True, False)
