"""Workers: one line in, one answer out."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from esctl.log import EventLog
from esctl.reactions import workers
from esctl.reactions.definition import EXEC_STREAM, Command, Definition
from esctl.reactions.items import Item, _decode
from esctl.reactions.results import AGAIN, MISSING, PARK, TIMED_OUT, Result
from esctl.reactions.workers import UNANSWERED, Workers, answer
from tests.logs import event, put
from tests.reactions.conftest import QUICK, letters
from tests.reactions.test_runner import ran

READ = "import json, os, sys, time\nfor line in sys.stdin:\n    event = json.loads(line)\n    "


def item(position: int = 1, stream: str = "s", data: object = None) -> Item:
    line = json.dumps(
        {"position": position, "stream": stream, "version": 1, "id": f"e{position}", "type": "T", "schema": 1,
         "time": "t", "recorded": "r", "data": data, "meta": {}}
    ).encode()  # fmt: skip
    return Item(line, _decode(line), stream)


def started(body: str, *, unbuffered: str = "-u", **options: object) -> Workers:
    """Workers that run some Python for each event."""
    words = f"{sys.executable} {unbuffered} -c {shlex.quote(READ + body)}"
    return Workers(Command(Definition(EXEC_STREAM, words)), "log.db", **options)  # type: ignore[arg-type]


def results(running: Workers, count: int) -> list[Result]:
    found: list[Result] = []
    deadline = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < deadline
        found += running.wait(0.1)
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", (0, "")),
        (b" ok \r", (0, "")),
        (b"{}", (0, "")),
        (b'{"retry":"later"}', (AGAIN, "later")),
        (b'{"fail":{"a":1}}', (1, '{"a":1}')),
        (b'{"park":"never"}', (PARK, "never")),
        (b"[]", (1, "[]\nsee: esctl react --help")),
        (b"hello \xff", (1, "hello \ufffd\nsee: esctl react --help")),
        (b'{"other":1}', (1, '{"other":1}\nsee: esctl react --help')),
    ],
)
def test_a_line_is_an_answer(line: bytes, expected: tuple[int, str]) -> None:
    result = answer(item(), line, appends=False)
    assert (result.status, result.stderr) == expected
    assert bool(result.error) == bool(expected[0])


def test_an_array_has_events_to_append() -> None:
    result = answer(item(), b'[{"type":"U","data":1.50},{"type":"V"}]', appends=True)
    assert result.output == b'{"type":"U","data":1.50}\n{"type":"V"}'
    assert answer(item(), b"[]", appends=True).output == b""


def test_answers_come_in_order_and_the_process_stays() -> None:
    running = started("print(json.dumps({'fail': [event['position'], os.getpid()]}))")
    for n in range(1, 11):
        running.start(item(n))
    found = [json.loads(result.stderr) for result in results(running, 10)]
    assert [position for position, _ in found] == list(range(1, 11))
    assert len({pid for _, pid in found}) == 1
    running.end()
    assert running.running == 0


def test_a_worker_reads_ahead_only_so_far() -> None:
    running = started("time.sleep(60)")
    for n in range(UNANSWERED):
        assert running.fits("s")
        running.start(item(n, data="x" * 100_000))  # more than a pipe takes
    running.wait(0.1)
    assert not running.fits("s")
    began = time.monotonic()
    running.end()
    assert time.monotonic() - began < 5


def test_each_worker_has_its_share_of_the_streams() -> None:
    running = started("print(json.dumps({'fail': [event['stream'], os.getpid()]}))", concurrency=3)
    for n in range(30):
        running.start(item(n, stream=f"s{n % 10}"))
    found = {tuple(json.loads(result.stderr)) for result in results(running, 30)}
    assert len(found) == 10
    assert len({pid for _, pid in found}) == 3
    running.end()


def test_the_first_event_that_a_dead_worker_did_not_answer_has_failed() -> None:
    running = started("if event['position'] == 3: sys.stderr.write('oops'); sys.exit(7)\n    print()")
    for n in range(1, 6):
        running.start(item(n))
    found = results(running, 5)
    assert [(one.item.position, one.status, one.counts) for one in found] == [
        (1, 0, True), (2, 0, True), (3, 7, True), (4, 0, False), (5, 0, False)
    ]  # fmt: skip
    assert found[2].stderr == "oops"
    running.start(item(6))
    assert results(running, 1)[0].error == ""
    running.end()


def test_one_that_ends_without_an_answer_has_failed() -> None:
    running = started("sys.exit(0)")
    running.start(item())
    assert results(running, 1)[0].error == "ended without an answer"


def test_one_that_does_not_flush_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    running = started("print()", unbuffered="-q", timeout=1.0)
    running.start(item(1))
    running.start(item(2))
    first, second = results(running, 2)
    assert (first.status, second.counts) == (TIMED_OUT, False)
    assert "read 2 lines, answered none; does it flush its output? jq --unbuffered, python -u" in first.error


def test_one_that_hangs_later_is_ended_too() -> None:
    running = started("event['position'] > 2 and time.sleep(60); print()", timeout=1.0)
    for n in range(1, 4):
        running.start(item(n))
    assert [one.status for one in results(running, 3)] == [0, 0, TIMED_OUT]
    assert running.running == 0


def test_a_program_that_is_not_there_is_a_failure() -> None:
    running = Workers(Command(Definition(EXEC_STREAM, "/no/such/program")), "log.db")
    running.start(item())
    assert results(running, 1)[0].status == MISSING
    running.end()


def test_where_no_descriptor_says_so_ends_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    running = started("sys.exit(3)")
    running.start(item())
    assert results(running, 1)[0].status == 3


def test_a_worker_that_does_not_end_with_its_input_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "END_SECONDS", 0.2)
    running = started("print(); time.sleep(60)")
    running.start(item())
    results(running, 1)
    began = time.monotonic()
    running.end()
    assert time.monotonic() - began < 5


def test_streams_are_in_order_with_retries(streams: EventLog, tmp_path: Path) -> None:
    put(streams, *(event(f"s{n % 7}") for n in range(100)))
    body = f"""
    tried = os.path.join({str(tmp_path)!r}, str(event["position"]))
    if event["position"] % 9 == 0 and not os.path.exists(tried):
        open(tried, "w").close()
        print('{{"retry": "once"}}')
        continue
    with open(os.path.join({str(tmp_path)!r}, event["stream"]), "a") as file:
        file.write(str(event["position"]) + "\\n")
    print()
"""
    summary = ran(streams, started(body, concurrency=2), QUICK._replace(retries=1))
    assert (summary.handled, summary.failed, letters(streams)) == (109, 12, [])
    for name in (*"abc", *(f"s{n}" for n in range(7))):
        mine = [int(line) for line in (tmp_path / name).read_text().split()]
        assert mine == sorted(mine)
