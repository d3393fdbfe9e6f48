"""A whole log is whole to every check, whatever another command does between any two steps of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from esctl.archive import checking, creation, listing, moving
from esctl.log import EventLog
from esctl.projections import admin, differences
from esctl.states import snapshot_care
from esctl.upkeep import copies, erasure
from esctl.upkeep.verify import verify
from tests.conftest import write_empty_log
from tests.interleaving import MODEL, interleaved, stopped
from tests.logs import event, hold, put, run
from tests.runner import ROOT

EVENTS = 24

# The checks: each gives what it finds, of which there must be nothing.


def whole(log: EventLog) -> list[object]:
    return [*verify(log, full=True).findings]


def quickly(log: EventLog) -> list[object]:
    return [*verify(log, full=False).findings]


def snapshots(log: EventLog) -> list[object]:
    return [*snapshot_care.verify(log).differences]


def projections(log: EventLog) -> list[object]:
    return [cell for cell in differences.checked(log, "totals") if not isinstance(cell, int)]


def copied(log: EventLog) -> list[object]:
    copies.backup(log, target := Path(log.path).with_name("copy.db"))
    with EventLog(target) as copy:
        return whole(copy)


def referred(log: EventLog) -> list[object]:
    copies.backup(log, target := Path(log.path).with_name("thin.db"), segments=False)
    with EventLog(target) as copy:
        return whole(copy)


def forked(log: EventLog) -> list[object]:
    copies.fork(log, target := Path(log.path).with_name("fork.db"), EVENTS - 1)
    with EventLog(target) as copy:
        return whole(copy)


def segments(log: EventLog) -> list[object]:
    with log.store.one_state():
        return [problem for segment in listing.archived(log) for problem in checking.problems(log, segment)]


# The writers


def archived(log: EventLog) -> None:
    list(creation.create(log, listing.hot(log, EVENTS), most=8, to=Path(log.path).with_name("more")))


def moved(log: EventLog) -> None:
    for segment in listing.archived(log):
        moving.move(log, segment, None if segment.location == "away" else Path(log.path).with_name("away"))


def restored(log: EventLog) -> None:
    for segment in listing.archived(log):
        moving.restore(log, segment)


def erased(log: EventLog) -> None:
    list(erasure.erase(log, [2, 10, 20], "they asked"))
    erasure.scrub(log)


def rebuilt(log: EventLog) -> None:
    admin.rebuild(log, "totals", from_scratch=True)
    run(log, "totals")


CHECKS = [whole, quickly, snapshots, projections, copied, referred, forked, segments]
WRITERS = [archived, moved, restored, erased, rebuilt]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log: a third archived in a folder, a third in its file, a third hot; snapshots; a projection."""
    folder = tmp_path_factory.mktemp("original")
    with EventLog(write_empty_log(folder / "log.db"), write=True, bulk=True) as log:
        put(log, *(event(f"s-{n % 3}", "T", {"n": n}) for n in range(EVENTS)))
        hold(log, MODEL)
        run(log, "totals")
        list(snapshot_care.take_many(log, "s", due=False))
        list(creation.create(log, [(1, 8)], to=folder / "cold"))
        list(creation.create(log, [(9, 16)]))
    return folder


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("stride", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_no_check_takes_what_another_command_does_meanwhile_for_damage(
    original: Path,
    tmp_path: Path,
    check: Callable[[EventLog], list[object]],
    writer: Callable[[EventLog], None],
    stride: int,
) -> None:
    path = tmp_path / "run" / "log.db"

    def other() -> None:
        with EventLog(path, write=True, bulk=True, timeout=0) as log:
            writer(log)

    def one(number: int) -> int:
        shutil.rmtree(path.parent, ignore_errors=True)
        shutil.copytree(original, path.parent)
        with EventLog(path) as log, stopped(log, 1 + (number - 1) * stride, other) as steps:
            assert check(log) == []
        return (steps[0] + stride - 1) // stride

    assert interleaved(one)


@pytest.mark.parametrize("seconds", ["0.5", pytest.param("5", marks=pytest.mark.slow)])
def test_commands_side_by_side_find_a_whole_log_whole(seconds: str) -> None:
    command = [sys.executable, "-m", "tests.long.pairs", "--seconds", seconds, "--writer", "archive move"]
    done = subprocess.run(
        [*command, *(["--check", "verify"] if seconds == "0.5" else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
