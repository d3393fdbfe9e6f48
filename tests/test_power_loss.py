"""A loss of power loses nothing that was acknowledged; and the harness that says so sees what would lose it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.long import power_loss, shim
from tests.long.disk import File, Folder
from tests.long.power_loss import SCENARIOS, Filter, Run, late, states_until_found, without

pytestmark = pytest.mark.skipif(bool(shim.missing()), reason=shim.missing())
QUICK = "archive create --to"
DRAFTS = r"\.new$"
NEW_SEGMENTS = r"\.zst\.[0-9a-f]+\.new$"
PAGE = 512
STATES = 150
SOME = (
    "init", "append --receipts", "model apply", "upcast rewrite", "projection rebuild", "archive move on",
    "create, move, erase, restore", "append, erase, append", "backup, restore, fork", "migrate 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = power_loss.shared_memory()
    yield folder
    shutil.rmtree(folder)


@cache
def run_of(name: str, place: Path) -> Run:
    return Run(SCENARIOS[name], place / name.replace(" ", "-"))


def wrong_in(name: str, place: Path, count: int) -> list[power_loss.Failure]:
    run = run_of(name, place)
    return [found for found in power_loss.tried(run, power_loss.states(run, count, 1)) if found is not None]


def test_a_loss_of_power_loses_nothing_that_was_acknowledged(place: Path) -> None:
    assert wrong_in(QUICK, place, 20) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_a_loss_of_power_in_other_commands_loses_nothing_that_was_acknowledged(name: str, place: Path) -> None:
    assert wrong_in(name, place, 40) == []


BUGS = [
    pytest.param("backup", without("sync", matching=DRAFTS), id="the draft of a copy is not synced"),
    pytest.param("init", without("sync", matching=DRAFTS), id="the draft of a log is not synced"),
    pytest.param("archive create --to", without("sync", matching=DRAFTS), id="the draft of a segment is not synced"),
    pytest.param("backup", without("sync_folder"), id="the name of a copy is not synced"),
    pytest.param("archive move out", without("sync_folder"), id="the name of a segment is not synced"),
    pytest.param("erase, folder", without("sync_folder"), id="the end of an erased file is not synced"),
    pytest.param("append --receipts", without("sync", matching="-wal$"), id="the WAL is not synced"),
    pytest.param("archive create --to", late("sync", NEW_SEGMENTS), id="rows go before their segment is synced"),
    pytest.param("archive move out", late("unlink", DRAFTS), id="the name of a draft goes after the folder is synced"),
    pytest.param(
        "archive move on", without("sync_folder", matching="cold$"), id="the end of a moved file is not synced"
    ),
    pytest.param("archive move on", late("sync", NEW_SEGMENTS), id="a file goes before the new one is synced"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bug"), BUGS)
def test_a_sync_that_is_left_out_or_late_is_found(name: str, bug: Filter, place: Path) -> None:
    assert states_until_found(run_of(name, place), STATES, 1, bug) is not None


# The disk's rules


def left(file: File, way: str) -> set[bytes]:
    return {file.left(way, random.Random(seed)) for seed in range(200)}


def test_what_was_synced_is_always_left() -> None:
    file = File(b"")
    file.pending.append((0, b"a" * PAGE))
    file.sync()
    file.pending.append((PAGE, b"b" * PAGE))
    assert all(
        found.startswith(b"a" * PAGE)
        for way in ("nothing", "first", "any", "pieces", "sizes")
        for found in left(file, way)
    )


def test_a_write_that_was_not_synced_may_be_left_in_any_of_its_pieces_with_an_old_or_a_new_size() -> None:
    file = File(b"")
    file.pending.append((0, b"a" * PAGE + b"b" * PAGE))
    a, b, zeros = b"a" * PAGE, b"b" * PAGE, bytes(PAGE)
    assert left(file, "pieces") == {b"", a, a + b, zeros + b, a + zeros, zeros + zeros}


def test_names_that_were_not_synced_may_be_left_in_any_subset_or_in_order() -> None:
    folder, old, new = Folder(), File(b""), File(b"")
    folder.set({"old": old})
    folder.sync()
    folder.set({"new": new})
    folder.set({"old": None})
    subsets = [frozenset(names) for names in ({"old"}, {"old", "new"}, {"new"}, set[str]())]
    any_of = {frozenset(folder.left("any", random.Random(seed))) for seed in range(99)}
    in_order = {frozenset(folder.left("first", random.Random(seed))) for seed in range(99)}
    assert any_of == set(subsets)
    assert in_order == set(subsets[:3])
