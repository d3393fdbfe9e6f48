"""A copy of a log is the log as it was committed, whoever writes meanwhile."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from esctl.errors import UsageError
from esctl.events.query import Query
from esctl.store.files import draft_of
from esctl.store.store import Store
from tests.stores import appended, events, ids


def backed_up(store: Store, target: Path) -> None:
    with draft_of(target) as draft:
        store.copy_to(draft)


def test_a_backup_is_the_log(filled: Path, tmp_path: Path) -> None:
    with closing(Store(filled)) as store:
        backed_up(store, tmp_path / "copy.db")
        original = list(store.read(Query(system=True))), store.head(), store.log_id
    with closing(Store(tmp_path / "copy.db", write=True)) as copy:
        assert (list(copy.read(Query(system=True))), copy.head(), copy.log_id) == original
        assert appended(copy, events(1, prefix="new")) == [21]


def test_a_backup_holds_what_was_committed_and_not_what_is_under_way(filled: Path, tmp_path: Path) -> None:
    with closing(Store(filled, write=True)) as writer, closing(Store(filled)) as reader:
        appended(writer, events(1, prefix="committed"))
        with writer.transaction():
            writer.append(events(1, prefix="under way"))
            backed_up(reader, tmp_path / "copy.db")
    with closing(Store(tmp_path / "copy.db")) as copy:
        assert ids(copy)[20:] == ["committed-0"]


def test_a_backup_does_not_overwrite(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("kept")
    with closing(Store(filled)) as store, pytest.raises(UsageError, match="exists already"):
        backed_up(store, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "kept"
