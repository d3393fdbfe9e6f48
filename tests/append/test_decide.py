"""`decide`: a program gets the state and prints what happens next; the stream may not have moved meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esctl.append.decide import RETRIES, Decision, decide
from esctl.archive import creation
from esctl.errors import ConflictError, EsctlError, HandlerError, NotFoundError, RefusedError, UnavailableError
from esctl.events.event import NewEvent, Receipt
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.upkeep import erasure
from tests.conftest import ESCTL, Esctl
from tests.logs import IDS, hold, put

COUNT = '[aggregate.c]\nstreams = "c-*"\ninitial = { n = 0 }\n[aggregate.c.on.Added]\nadd = { n = "$.n" }\n'


def event(stream: str, type_: str = "Added", data: str = '{"n":1}') -> NewEvent:
    return NewEvent(stream, type_, next(IDS), None, 0, data, "{}", None)


def decided(log: EventLog, script: str, stream: str = "c-1", *, retries: int = RETRIES, id_: str = "") -> list[Receipt]:
    return decide(log, Decision(stream, ["sh", "-c", script], id=id_), retries=retries)


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
    with pytest.raises(NotFoundError, match="no aggregate") as caught:
        decide(log, Decision("c-1", ["true"], "none"))
    assert caught.value.fix == "esctl help model"


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
        decide(log, Decision("c-1", ["/no/such/program"]))


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
    assert caught.value.what.startswith("in the output of ")
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


def test_without_retries_it_is_a_conflict_that_says_how_to_try_again(
    log: EventLog, tmp_path: Path, log_path: Path
) -> None:
    script = f"echo x >> {tmp_path}/asked; {ESCTL} append c-1 Other -l {log_path} > /dev/null\n"
    with pytest.raises(ConflictError) as caught:
        decided(log, script + says('{"type":"Added"}'), retries=0)
    assert (tmp_path / "asked").read_text() == "x\n"
    assert (caught.value.fix, caught.value.again) == ("", f"--retries {RETRIES}")


@pytest.mark.parametrize("retries", [1, 3])
def test_the_last_time_nobody_can_be_faster(log: EventLog, tmp_path: Path, log_path: Path, retries: int) -> None:
    other = f"{ESCTL} append c-1 Other --timeout 0.2 -l {log_path} > /dev/null"
    script = f"{other}; echo $? >> {tmp_path}/others\n" + says('{"type":"Added"}')
    assert decided(log, script, retries=retries)[0].version == retries + 1
    assert (tmp_path / "others").read_text() == "0\n" * retries + f"{UnavailableError.exit_code}\n"


def test_what_ends_a_decision_under_the_write_lock_leaves_nothing_and_no_lock(log: EventLog, log_path: Path) -> None:
    beaten = f"[ $ESCTL_VERSION -gt 0 ] || {ESCTL} append c-1 Other -l {log_path} > /dev/null\n"
    ends = "[ $ESCTL_VERSION = 0 ] || exit 1\n"
    with pytest.raises(RefusedError):
        decided(log, beaten + ends + says('{"type":"Added"}'), retries=1)
    assert log.head().position == 1
    assert decided(log, says('{"type":"Added"}'))[0].version == 2


def test_a_conflict_over_another_stream_is_not_tried_again(log: EventLog, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/asked\n" + says('{"type":"A","stream":"other-1","expect":7}')
    with pytest.raises(ConflictError):
        decided(log, script)
    assert (tmp_path / "asked").read_text() == "x\n"


DECIDERS = 12
ADDS_ONE = """
read -r state; n=${state##*'"n":'}; n=${n%%\\}*}
sleep 0.05
echo "{\\"type\\":\\"Counted\\",\\"data\\":{\\"n\\":$((n + 1))}}"
"""


def together(log_path: Path, script: str, *more: list[str]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of decisions that run at the same time, each with some more words."""
    command = [ESCTL, "decide", "c-1", "--exec", script, "--shell", "-l", str(log_path)]
    running = [
        subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in more
    ]
    outputs = [process.communicate() for process in running]
    return [(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]


def counted(log_path: Path) -> list[int]:
    with EventLog(log_path) as log:
        return [json.loads(event.data or "")["n"] for event, _, _ in log.read(Query(stream="c-1"))]


@pytest.mark.parametrize(
    "words", [[], ["--retries", "1"], pytest.param(["--retries", "50"], marks=pytest.mark.slow)], ids=" ".join
)
def test_as_many_deciders_at_once_count_to_as_many(log: EventLog, log_path: Path, words: list[str]) -> None:
    put(log, event("c-1", "Began", '{"n":0}'))
    log.close()
    done = together(log_path, ADDS_ONE, *[words] * DECIDERS)
    assert [(code, stderr) for code, _, stderr in done] == [(0, "")] * DECIDERS
    assert sorted(json.loads(out)["version"] for _, out, _ in done) == list(range(2, DECIDERS + 2))
    assert counted(log_path) == list(range(DECIDERS + 1))


@pytest.mark.slow
def test_a_wait_for_the_lock_ends_only_when_nobody_gets_on(log: EventLog, log_path: Path) -> None:
    put(log, event("c-1", "Began", '{"n":0}'))
    log.close()
    # Together they need much longer than one of them waits.
    words = ["--retries", "1", "--timeout", "0.7"]
    done = together(log_path, ADDS_ONE.replace("0.05", "0.2"), *[words] * DECIDERS)
    assert [(code, stderr) for code, _, stderr in done] == [(0, "")] * DECIDERS
    assert counted(log_path) == list(range(DECIDERS + 1))


# Commands that have an id

TWO = ('{"type":"Noted","stream":"other-1","data":{"n":3}}', '{"type":"Added","data":{"n":1}}', '{"type":"Added"}')


def test_a_command_with_an_id_decides_once(log: EventLog, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/asked\n" + says(*TWO)
    first = decided(log, script, id_="pay-7")
    assert [receipt.id for receipt in first] == ["pay-7/3", "pay-7/1", "pay-7/2"]  # those of the stream come first
    put(log, event("c-1"))
    again = decided(log, script, id_="pay-7")
    assert again == [receipt._replace(duplicate=True) for receipt in first]
    assert decided(log, "exit 1", id_="pay-7") == again
    assert (tmp_path / "asked").read_text() == "x\n"


def test_another_id_is_another_command(log: EventLog) -> None:
    for n, id_ in enumerate(("pay-7", "pay-8", "pay-7/1", "pay"), 1):
        assert decided(log, says('{"type":"Added"}'), id_=id_)[0].version == n


def test_the_id_of_a_command_on_another_stream_is_refused(log: EventLog) -> None:
    decided(log, says(*TWO), id_="pay-7")
    for stream in ("other-1", "c-2"):
        with pytest.raises(ConflictError, match="pay-7 is that of a command on c-1"):
            decided(log, says(*TWO), stream, id_="pay-7")
    assert log.head().position == 3


def test_a_command_that_decided_nothing_is_asked_again(log: EventLog) -> None:
    assert decided(log, "exit 0", id_="pay-7") == []
    assert len(decided(log, says('{"type":"Added"}'), id_="pay-7")) == 1


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['{"type":"Added"}', '{"type":"Added","id":"mine"}'], "the event has an id"),
        (['{"type":"Added","stream":"c-2"}'], "no event is in c-1"),
    ],
)
def test_with_an_id_of_the_command_events_have_none_and_one_is_in_its_stream(
    log: EventLog, lines: list[str], reason: str
) -> None:
    with pytest.raises(RefusedError, match=reason):
        decided(log, says(*lines), id_="pay-7")
    assert log.head().position == 0


def test_one_command_that_runs_many_times_at_once_decides_once(log: EventLog, log_path: Path) -> None:
    put(log, event("c-1", "Began", '{"n":0}'))
    log.close()
    done = together(log_path, ADDS_ONE, *[["--id", "pay-7"]] * 6)
    assert [(code, stderr) for code, _, stderr in done] == [(0, "")] * 6
    assert {json.loads(out)["version"] for _, out, _ in done} == {2}
    assert sorted(json.loads(out)["duplicate"] for _, out, _ in done) == [False] + [True] * 5
    assert counted(log_path) == [0, 1]


def test_a_command_whose_events_were_archived_or_erased_has_decided(log: EventLog, tmp_path: Path) -> None:
    first = decided(log, says(*TWO), id_="pay-7")
    list(creation.create(log, [(1, 2)], most=2, level=1, to=tmp_path / "cold"))
    list(erasure.erase(log, [1, 3], "request"))
    assert decided(log, "exit 1", id_="pay-7") == [receipt._replace(duplicate=True) for receipt in first]


KILLED = """
import os, sys
from esctl.append import decide
from esctl.log import EventLog
from esctl.upkeep import erasure
with EventLog(sys.argv[1], write=True) as log:
    decide.decide(log, decide.Decision("c-1", ["sh", "-c", sys.argv[2]], id="pay-7"))
    os.kill(os.getpid(), 9)
"""


def test_a_command_that_was_killed_after_its_commit_decides_once(log: EventLog, log_path: Path) -> None:
    put(log, event("c-1", "Began", '{"n":0}'))
    log.close()
    assert subprocess.run([sys.executable, "-c", KILLED, str(log_path), ADDS_ONE], check=False).returncode == -9
    ((code, out, _),) = together(log_path, ADDS_ONE, ["--id", "pay-7"])
    assert (code, json.loads(out)["version"], json.loads(out)["duplicate"]) == (0, 2, True)
    assert counted(log_path) == [0, 1]


# On the command line


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("false", 1), ("sh -c 'exit 3'", 9), ("no-such-program-at-all", 9), ("''", 9), ("", 2), ("'", 2)],
)
def test_the_exit_code_says_what_the_program_said(esctl: Esctl, log_path: Path, command: str, code: int) -> None:
    done = esctl("decide", "c-1", "--exec", command, "-l", str(log_path))
    assert done.returncode == (RefusedError.exit_code if code == EsctlError.exit_code else code)
    assert done.stdout == ""
