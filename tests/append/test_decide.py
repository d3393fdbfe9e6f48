"""`decide`: a program gets the state and prints what happens next; the stream may not have moved meanwhile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from esctl.append.decide import decide
from esctl.errors import ConflictError, EsctlError, HandlerError, NotFoundError, RefusedError
from esctl.events.event import NewEvent, Receipt
from esctl.events.query import Query
from esctl.log import EventLog
from tests.conftest import ESCTL, Esctl
from tests.logs import IDS, hold, put

COUNT = '[aggregate.c]\nstreams = "c-*"\ninitial = { n = 0 }\n[aggregate.c.on.Added]\nadd = { n = "$.n" }\n'


def event(stream: str, type_: str = "Added", data: str = '{"n":1}') -> NewEvent:
    return NewEvent(stream, type_, next(IDS), None, 0, data, "{}", None)


def decided(log: EventLog, script: str, stream: str = "c-1", *, retries: int = 5) -> list[Receipt]:
    return decide(log, stream, ["sh", "-c", script], retries=retries)


def says(*lines: str) -> str:
    """A shell program that prints these lines."""
    return "cat > /dev/null; cat <<'EOF'\n" + "\n".join(lines) + "\nEOF"


# What the program gets


def test_a_program_gets_the_state_as_it_is_printed(log: EventLog, tmp_path: Path) -> None:
    hold(log, COUNT)
    put(log, event("c-1"), event("c-1"))
    decided(log, f'cat > {tmp_path}/in; printf "%s %s" "$ESCTL_STREAM" "$ESCTL_VERSION" > {tmp_path}/env')
    given = json.loads((tmp_path / "in").read_text())
    assert {key: given[key] for key in ("stream", "aggregate", "version", "state")} == {
        "stream": "c-1", "aggregate": "c", "version": 2, "state": {"n": 2}
    }  # fmt: skip
    assert (tmp_path / "in").read_text().count("\n") == 1
    assert (tmp_path / "env").read_text() == "c-1 2"


def test_a_stream_that_is_not_there_yet_begins_with_its_initial_state(log: EventLog, tmp_path: Path) -> None:
    hold(log, COUNT)
    decided(log, f"cat > {tmp_path}/in")
    given = json.loads((tmp_path / "in").read_text())
    assert (given["version"], given["state"], given["time"]) == (0, {"n": 0}, None)


def test_an_aggregate_that_is_not_there_is_not_found(log: EventLog) -> None:
    with pytest.raises(NotFoundError, match="no aggregate"):
        decide(log, "c-1", ["true"], aggregate="none")


# What becomes of what it prints


def test_what_it_prints_is_appended_to_the_stream(log: EventLog) -> None:
    receipts = decided(log, says('{"type":"A","data":{"x":1.50}}', "", '{"type":"B","stream":"other-1"}'))
    assert [receipt[:3] for receipt in receipts] == [(1, "c-1", 1), (2, "other-1", 1)]
    assert next(log.read(Query(stream="c-1")))[0][8] == '{"x":1.50}'


def test_a_program_that_prints_nothing_decides_nothing(log: EventLog) -> None:
    assert decided(log, "exit 0") == []
    assert log.head()[0] == 0


def test_a_program_need_not_read_its_input(log: EventLog) -> None:
    put(log, event("c-1", data=json.dumps({"n": "x" * 1_000_000})))
    assert len(decided(log, 'echo \'{"type":"A"}\'')) == 1


def test_exit_1_refuses_and_stderr_is_the_reason(log: EventLog) -> None:
    with pytest.raises(RefusedError, match="not on a Sunday"):
        decided(log, says('{"type":"A"}') + "\necho not on a Sunday >&2; exit 1")
    assert log.head()[0] == 0


@pytest.mark.parametrize("ending", ["exit 2", "exit 75", "exit 255", "kill -9 $$"])
def test_any_other_end_is_a_failure(log: EventLog, ending: str) -> None:
    with pytest.raises(HandlerError, match="sh failed"):
        decided(log, says('{"type":"A"}') + f"\n{ending}")
    assert log.head()[0] == 0


def test_a_program_that_is_not_there_is_a_failure(log: EventLog) -> None:
    with pytest.raises(HandlerError, match="cannot run"):
        decide(log, "c-1", ["/no/such/program"])


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"type":"A","data":NaN}',
        '{"data":{}}',
        '{"type":"A","unknown":1}',
        '{"type":"A","stream":"$x"}',
    ],
)
def test_a_line_that_is_no_event_is_refused_by_its_number_and_nothing_is_stored(log: EventLog, line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        decided(log, says('{"type":"A"}', "", line))
    assert caught.value.details["line"] == 3
    assert log.head()[0] == 0


def test_what_the_rules_do_not_accept_is_refused_by_its_line(log: EventLog) -> None:
    hold(log, COUNT + "[aggregate.c.accept]\nAdded = \"state ->> 'n' < 1\"\n")
    with pytest.raises(RefusedError) as caught:
        decided(log, says('{"type":"Added","data":{"n":1}}', '{"type":"Added","data":{"n":1}}'))
    assert caught.value.details["line"] == 2
    assert log.head()[0] == 1


def test_a_stream_whose_newest_event_is_hidden_can_be_decided_on(log: EventLog) -> None:
    hold(log, COUNT + "[[event.Beat.upcast]]\nfrom = 1\ndrop = true\n")
    put(log, event("c-1"), event("c-1", "Beat"))
    assert [receipt[:3] for receipt in decided(log, says('{"type":"Added"}'))] == [(4, "c-1", 3)]


# When others are faster


def test_when_the_stream_has_moved_on_the_program_is_asked_again(log: EventLog, tmp_path: Path, log_path: Path) -> None:
    script = f"""
    echo x >> {tmp_path}/asked
    [ $(wc -l < {tmp_path}/asked) -gt 2 ] || {ESCTL} append c-1 Added '{{"n":1}}' -l {log_path} > /dev/null
    """ + says('{"type":"Added","data":{"n":5}}')
    assert decided(log, script)[0][2] == 3
    assert (tmp_path / "asked").read_text() == "x\n" * 3


@pytest.mark.parametrize("retries", [0, 1])
def test_after_so_many_retries_it_is_a_conflict(log: EventLog, tmp_path: Path, log_path: Path, retries: int) -> None:
    script = f"echo x >> {tmp_path}/asked; {ESCTL} append c-1 Other -l {log_path} > /dev/null\n"
    with pytest.raises(ConflictError):
        decided(log, script + says('{"type":"Added"}'), retries=retries)
    assert (tmp_path / "asked").read_text() == "x\n" * (retries + 1)


def test_a_conflict_over_another_stream_is_not_tried_again(log: EventLog, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/asked\n" + says('{"type":"A","stream":"other-1","expect":7}')
    with pytest.raises(ConflictError):
        decided(log, script)
    assert (tmp_path / "asked").read_text() == "x\n"


DECIDERS = 20
ADDS_ONE = """
read -r state; n=${state##*'"n":'}; n=${n%%\\}*}
echo "{\\"type\\":\\"Counted\\",\\"data\\":{\\"n\\":$((n + 1))}}"
"""


def test_twenty_deciders_at_once_count_to_twenty(log: EventLog, log_path: Path) -> None:
    put(log, event("c-1", "Began", '{"n":0}'))
    log.close()
    command = [ESCTL, "decide", "c-1", "--exec", ADDS_ONE, "--shell", "--retries", "200", "-l", str(log_path)]
    running = [
        subprocess.Popen([*command, "--timeout", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(DECIDERS)
    ]
    outputs = [process.communicate() for process in running]
    assert [(process.returncode, output[1]) for process, output in zip(running, outputs, strict=True)] == [
        (0, "")
    ] * DECIDERS
    assert sorted(json.loads(output[0])["version"] for output in outputs) == list(range(2, DECIDERS + 2))
    with EventLog(log_path) as counted:
        numbers = [json.loads(event[8])["n"] for event, _, _ in counted.read(Query(stream="c-1"))]
    assert numbers == list(range(DECIDERS + 1))


# On the command line


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("false", 1), ("sh -c 'exit 3'", 9), ("no-such-program-at-all", 9), ("''", 9), ("", 2), ("'", 2)],
)
def test_the_exit_code_says_what_the_program_said(esctl: Esctl, log_path: Path, command: str, code: int) -> None:
    done = esctl("decide", "c-1", "--exec", command, "-l", str(log_path))
    assert done.returncode == (RefusedError.exit_code if code == EsctlError.exit_code else code)
    assert done.stdout == ""
