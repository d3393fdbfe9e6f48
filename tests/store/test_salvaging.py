"""The chain decides which events of a damaged log are whole; the law of it is in tests/upkeep/test_salvage.py."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from esctl.store.carving import Carved
from esctl.store.pages import Pages
from esctl.store.salvaging import Damaged, Lost
from tests.logs import alter
from tests.store.test_carving import made, overwrite, root_of


def losses(path: Path) -> list[Lost]:
    with closing(Pages(str(path))) as pages:
        return [found for found in Damaged(Carved(pages), str(path)).events() if isinstance(found, Lost)]


def test_an_altered_event_is_lost_and_no_other(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    alter(path, "update events set data = '{}' where position = 7")
    assert [(lost.first, lost.last) for lost in losses(path)] == [(7, 7)]


def test_an_event_whose_hash_alone_is_altered_is_whole(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    alter(path, "update events set hash = zeroblob(32) where position = 7")
    assert losses(path) == []


def test_missing_events_are_lost_also_at_the_end(tmp_path: Path) -> None:
    path = made(tmp_path / "log.db")
    alter(path, "delete from events where position in (3, 4, 499, 500)")
    assert [(lost.first, lost.last) for lost in losses(path)] == [(3, 4), (499, 500)]


def test_a_damaged_first_page_or_head_loses_no_event_but_the_unproved_one(tmp_path: Path) -> None:
    for name in ("head", ""):
        path = made(tmp_path / f"log{name}.db")
        overwrite(path, root_of(path, name) if name else 1)
        assert losses(path) == []
