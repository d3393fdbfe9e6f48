"""A reaction from its declaration to its end, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.errors import ConflictError, HandlerError, UnavailableError, UsageError, VerificationError
from esctl.log import EventLog
from esctl.reactions import admin
from esctl.reactions.definition import FUNCTION, Definition
from esctl.store.reactions import PARKED, STOPPED
from tests.logs import alter, event, put
from tests.reactions.conftest import QUICK, Run, decoded, letters, positions, row


def test_a_command_runs_for_each_event(run: Run, tmp_path: Path) -> None:
    assert run("cat >> got; echo $ESCTL_POSITION >> order").handled == 9
    assert [event["position"] for event in decoded(tmp_path / "got")] == list(range(1, 10))
    assert positions(tmp_path / "order") == list(range(1, 10))


def test_a_reaction_goes_on_as_it_was_declared(run: Run, streams: EventLog, tmp_path: Path) -> None:
    run("echo $ESCTL_POSITION >> got", stream="b")
    put(streams, event("a"), event("b"))
    assert run().handled == 1
    assert positions(tmp_path / "got") == [2, 5, 8, 11]


@pytest.mark.parametrize(("start", "expected"), [("beginning", 9), ("now", 0), ("#4", 6), ("#9", 1)])
def test_a_new_reaction_begins_where_it_is_told(run: Run, start: str, expected: int) -> None:
    assert run("true", start=start).handled == expected


def test_a_new_reaction_has_to_be_told_where_to_begin(run: Run) -> None:
    with pytest.raises(UsageError, match="new reaction: say where it begins"):
        run("true", start=None)


def test_another_command_or_filter_under_the_old_name_is_refused(run: Run, streams: EventLog) -> None:
    run("true", stream="b")
    put(streams, event("a"), event("b"))
    with pytest.raises(UsageError, match="with another --exec, --stream") as refused:
        run("false", stream="a")
    assert refused.value.again == "--changed"
    assert run("exit 0", stream="a", changed=True).handled == 1
    assert run().handled == 0


@pytest.mark.usefixtures("streams")
def test_a_program_that_is_not_there_is_refused_at_the_start(run: Run) -> None:
    with pytest.raises(UsageError, match="cannot run /no/such"):
        run("/no/such {stream}", shell=False)


def test_streams_are_in_order_however_many_handlers_run(run: Run, streams: EventLog, tmp_path: Path) -> None:
    put(streams, *(event(name) for _ in range(15) for name in "abcd"))
    command = 'echo "$ESCTL_POSITION" >> $ESCTL_STREAM; sleep 0.00$((ESCTL_POSITION * 7 % 10))'
    assert run(command, concurrency=8).handled == 69
    for name in "abcd":
        assert positions(tmp_path / name) == sorted(positions(tmp_path / name))
    assert sum(len(positions(tmp_path / name)) for name in "abcd") == 69


def test_what_failed_is_said_and_shown(run: Run, streams: EventLog) -> None:
    said: list[str] = []
    with pytest.raises(HandlerError) as failed:
        run("echo first >&2; echo last >&2; exit 4", QUICK._replace(retries=1), said=said, stream="b")
    assert [line.partition("; ")[0] for line in said] == ["#2 T in b: attempt 1 failed with status 4 (last)"]
    assert failed.value.why.startswith("last; it was tried 2 times; ")
    assert failed.value.details["stderr"] == "first\nlast\n"
    (letter,) = streams.store.reactions().letters()
    assert (letter.state, letter.status, letter.attempts, letter.stderr) == (STOPPED, 4, 2, "first\nlast\n")


def test_a_parked_event_is_tried_again_when_that_is_asked_for(run: Run, streams: EventLog, tmp_path: Path) -> None:
    from esctl.reactions import dead_letters

    run(
        "test -e mended || test $ESCTL_STREAM != b || exit 1; echo $ESCTL_POSITION >> got",
        QUICK._replace(on_error="park"),
    )
    assert letters(streams) == [("b", 2, PARKED)]
    (tmp_path / "mended").touch()
    dead_letters.ask(streams, dead_letters.choose(streams, "r", ["b"], all_=False), skip=False)
    assert run().handled == 3
    assert positions(tmp_path / "got") == [1, 3, 4, 6, 7, 9, 2, 5, 8]


def test_each_part_of_a_group_has_its_own_place(run: Run, streams: EventLog, tmp_path: Path) -> None:
    for part in (1, 2):
        run("echo $ESCTL_POSITION >> got", group=(part, 2))
    assert sorted(positions(tmp_path / "got")) == list(range(1, 10))
    assert [(one.part, one.parts, one.position) for one in streams.store.reactions().all()] == [(1, 2, 9), (2, 2, 9)]
    assert run(group=(3, 3)).handled == 0  # all stand at one position
    put(streams, *(event(name) for name in "abcdef"))
    run(group=(1, 3))
    with pytest.raises(ConflictError, match="has 3 parts, not 2"):
        run(group=(1, 2))


def test_a_paused_reaction_is_not_run(run: Run, streams: EventLog) -> None:
    run("true", start="now")
    admin.set_paused(streams, "r", paused=True)
    with pytest.raises(UnavailableError, match="is paused") as refused:
        run()
    assert refused.value.fix == "esctl reaction resume r"
    admin.set_paused(streams, "r", paused=False)
    assert run().handled == 0


def test_a_log_that_was_replaced_by_hand_is_noticed(run: Run, streams: EventLog, log_path: Path) -> None:
    run("true")
    streams.close()
    alter(log_path, "update reactions set position = 3")
    with EventLog(log_path, write=True) as log, pytest.raises(VerificationError, match="was at another event"):
        admin.check_place(log, row(log))


def test_no_lock_and_no_process_is_left(run: Run, tmp_path: Path) -> None:
    run("sleep 60 & true")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".lock")] == []


def test_a_reaction_of_a_function_is_not_run_as_a_command(run: Run, streams: EventLog) -> None:
    admin.declare(streams, "r", Definition(FUNCTION), start="now")
    with pytest.raises(UsageError, match="calls a Python function"):
        run()
    assert run("true", changed=True).handled == 0
