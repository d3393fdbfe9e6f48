"""What the other commands do with reactions: they are about what was done outside of the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.archive import creation
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.reactions import admin, dead_letters
from esctl.store.reactions import PARKED
from esctl.upkeep import copies, erasure, salvage
from esctl.upkeep.verify import verify
from tests.conftest import Esctl, records
from tests.logs import alter, event, hold, put
from tests.reactions.conftest import QUICK, Run, letters, positions, row
from tests.reactions.conftest import run as run  # noqa: PLC0414 - a fixture
from tests.reactions.conftest import streams as streams  # noqa: PLC0414

PARK_B = "test $ESCTL_STREAM != b || { cat >&2; exit 65; }; echo $ESCTL_POSITION >> got"


@pytest.fixture
def parked(run: Run, streams: EventLog) -> EventLog:
    """All but the stream b is handled; it is parked at its first event, whose line the handler wrote to stderr."""
    run(PARK_B)
    return streams


def findings(log: EventLog) -> list[str]:
    return [str(found["problem"]) for found in verify(log, full=True).findings]


def test_a_fork_has_no_reactions(parked: EventLog, tmp_path: Path) -> None:
    copies.fork(parked, tmp_path / "fork.db", 5)
    with EventLog(tmp_path / "fork.db") as fork:
        assert fork.store.reactions().all() == []
        assert letters(fork) == []
        assert verify(fork, full=True).ok


def test_forking_says_that_reactions_begin_anew(parked: EventLog, log_path: Path, esctl: Esctl) -> None:
    parked.close()
    done = esctl("fork", "fork.db", "--until", "#5", "--log", str(log_path))
    assert done.stderr == "note: reactions are not in fork.db, and begin anew there: r\n"
    assert esctl("react", "r", "--log", "fork.db").returncode == 3


def test_a_restored_log_has_its_reactions_paused(parked: EventLog, log_path: Path, esctl: Esctl) -> None:
    parked.close()
    assert esctl("backup", "backup.db", "--log", str(log_path)).returncode == 0
    done = esctl("restore", "backup.db", "--log", "new.db")
    assert done.stderr == (
        "note: effects of the reaction r after position 9 may happen again: esctl reaction resume r --log new.db\n"
    )
    refused = esctl("react", "r", "--log", "new.db")
    assert (refused.returncode, "is paused" in refused.stderr) == (8, True)
    assert esctl("reaction", "resume", "r", "--log", "new.db").returncode == 0
    assert records(esctl("react", "r", "--log", "new.db"))[0]["handled"] == 0
    assert len(records(esctl("dead-letter", "list", "--log", "new.db"))) == 1


def test_a_salvaged_log_has_no_reactions(parked: EventLog, log_path: Path, tmp_path: Path) -> None:
    parked.close()
    salvage.restore(str(log_path), tmp_path / "saved.db")
    with EventLog(tmp_path / "saved.db") as saved:
        assert saved.store.reactions().all() == []


def test_what_a_handler_wrote_of_an_erased_event_is_gone(parked: EventLog, log_path: Path) -> None:
    assert "b@x" in str(parked.store.reactions().letters()[0].stderr)
    for _ in erasure.erase(parked, [2, 5, 8], "test"):
        pass
    assert erasure.scrub(parked)
    (letter,) = parked.store.reactions().letters()
    assert (letter.error, letter.stderr, row(parked).error) == (None, None, None)
    assert verify(parked, full=True).ok
    parked.close()
    assert b"b@x" not in log_path.read_bytes()


def test_a_letter_of_an_erased_event_ends_when_it_is_tried_again(run: Run, parked: EventLog, tmp_path: Path) -> None:
    for _ in erasure.erase(parked, [2], "test"):
        pass
    dead_letters.ask(parked, dead_letters.choose(parked, "r", ["b"], all_=False), skip=False)
    assert run("echo $ESCTL_POSITION >> again", changed=True).handled == 2
    assert positions(tmp_path / "again") == [5, 8]
    assert letters(parked) == []


def test_archived_events_are_handled_like_others(run: Run, parked: EventLog, tmp_path: Path) -> None:
    put(parked, event("a"))
    for _ in creation.create(parked, [(1, 10)]):
        pass
    assert findings(parked) == []
    assert run().handled == 1
    dead_letters.ask(parked, dead_letters.choose(parked, "r", [], all_=True), skip=True)
    assert run("true", changed=True).handled == 2
    assert positions(tmp_path / "got") == [1, 3, 4, 6, 7, 9, 10]
    assert findings(parked) == []


SPLIT = """
[event.A]
[event.B]
[event.T]
schema = 2
[[event.T.upcast]]
from = 1
split = [{ type = "A" }, { type = "B" }]
"""


def test_a_rewriting_moves_places_and_letters_with_the_events(run: Run, parked: EventLog, tmp_path: Path) -> None:
    put(parked, event("a", "X"))
    with pytest.raises(Exception, match="stopped"):
        run("exit 1", QUICK, name="s", start="#6", stream="c")
    hold(parked, SPLIT)
    report = rewriting.rewrite(parked, tmp_path / "new.db", lambda events, _: events)
    assert report["reactions"] == 2
    with EventLog(tmp_path / "new.db", write=True) as new:
        assert verify(new, full=True).ok
        one = row(new)
        assert (one.position, one.paused, one.log_id) == (18, 1, new.log_id)
        assert [(letter.stream, letter.position) for letter in new.store.reactions().letters("r")] == [("b", 3)]
        assert new.event("3").event.type == "A"
        assert row(new, "s").position == 10
        admin.check_place(new, one)


def test_a_rewriting_says_that_reactions_are_paused(parked: EventLog, log_path: Path, esctl: Esctl) -> None:
    hold(parked, SPLIT)
    parked.close()
    done = esctl("upcast", "rewrite", "--to", "new.db", "--yes", "--log", str(log_path))
    assert records(done)[0]["reactions"] == 1
    assert "note: reactions in new.db are paused" in done.stderr


def test_compacting_and_a_migration_keep_reactions(parked: EventLog) -> None:
    before = parked.store.reactions().all(), parked.store.reactions().letters()
    parked.store.compact(full=True)
    assert (parked.store.reactions().all(), parked.store.reactions().letters()) == before


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("update reactions set position = 10", "is at position 10 of another log"),
        ("update reactions set position = -1", "is at position -1 of another log"),
        ("update reactions set log_id = 'x'", "of another log"),
        ("update reactions set hash = x'00'", "handled another event at its position"),
        ("update reactions set position = 8", "handled another event at its position"),
        ("update dead_letters set position = 3", "a dead letter of r is of an event in b that is not there"),
        ("update dead_letters set position = 99", "a dead letter of r is of an event in b that is not there"),
        ("update dead_letters set name = 'q'", "a dead letter of q is of an event in b that is not there"),
    ],
)
def test_a_reaction_of_another_log_is_a_finding(parked: EventLog, log_path: Path, sql: str, problem: str) -> None:
    assert findings(parked) == []
    parked.close()
    alter(log_path, sql)
    with EventLog(log_path) as log:
        assert [problem in found for found in findings(log)] == [True]


def test_the_state_of_a_letter_is_one_of_those_that_are_known(parked: EventLog) -> None:
    assert letters(parked) == [("b", 2, PARKED)]
