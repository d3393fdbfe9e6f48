"""Compiled models are kept for the next command; whatever is in the folder, answers are those of the log's own text."""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from esctl.errors import VerificationError
from esctl.evolution.plan import Draft, apply
from esctl.log import EventLog
from esctl.model import applied, cache
from esctl.model.cache import Cache
from esctl.model.checks import checked

RULED = """
[event.Paid]
schema = 2
[[event.Paid.upcast]]
from = 1
set = { currency = "EUR" }
[aggregate.order]
streams = "order-*"
initial = { paid = 0 }
accept.Paid = "new.data ->> 'amount' > 0"
on.Paid = [{ add = { paid = "$.amount" } }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "esctl"


@pytest.fixture
def ruled(log_path: Path) -> Path:
    """A log with a model."""
    model, problems = checked(RULED, {})
    assert problems == []
    with EventLog(log_path, write=True) as log:
        apply(log, Draft(RULED, {}, model), 0)
    return log_path


def opened(path: Path, folder: Path) -> EventLog:
    return EventLog(path, write=True, cache=str(folder))


def said(path: Path, folder: str = "") -> tuple[object, ...]:
    """All that the definitions of a log say."""
    with EventLog(path, cache=folder) as log:
        held = log.definitions
        programs = [held.program(aggregate) for aggregate in held.model.aggregates.values()]
        shapes = [
            (type_, schema, shape.type, shape.schema, shape.data, shape.part, shape.hidden)
            for type_, schemas in held.upcasting.items() for schema, several in schemas.items() for shape in several
        ]  # fmt: skip
        return held.applied, held.model, held.upcasts, held.newest, held.hides, held.keeps_inline, programs, shapes


def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are compiled from here on."""
    texts: list[str] = []
    compiled = applied._applied

    def counted(event: tuple[object, ...]) -> object:
        texts.append(str(event[8]))
        return compiled(event)  # type: ignore[arg-type]

    monkeypatch.setattr(applied, "_applied", counted)
    return texts


def test_what_was_kept_says_what_the_text_says(ruled: Path, folder: Path) -> None:
    plain = said(ruled)
    assert [said(ruled, str(folder)) for _ in range(3)] == [plain] * 3


def test_a_model_is_compiled_once(ruled: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = count(monkeypatch)
    for _ in range(3):
        said(ruled, str(folder))
    assert len(texts) == 1
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]


def test_another_text_is_another_model(ruled: Path, folder: Path) -> None:
    said(ruled, str(folder))
    with opened(ruled, folder) as log:
        model, _ = checked("", {})
        apply(log, Draft("", {}, model), log.definitions.position)
    assert said(ruled, str(folder)) == said(ruled)


def test_a_strangers_model_is_judged_whatever_was_kept(ruled: Path, folder: Path) -> None:
    said(ruled, str(folder))
    with closing(sqlite3.connect(ruled)) as connection, connection:
        harmless, hostile = "new.data ->> 'amount' > 0", "(select 1 from head)"
        connection.execute("update events set data = replace(data, ?, ?)", (harmless, hostile))
    for _ in range(2):
        with pytest.raises(VerificationError, match="is not valid for this esctl"):
            said(ruled, str(folder))


def spoiled(file: Path) -> None:
    file.write_bytes(b"no pickle")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def writable(file: Path) -> None:
    """What others may write may be theirs."""
    file.write_bytes(pickle.dumps("a stranger's"))
    file.chmod(0o666)


def linked(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(pickle.dumps("a stranger's"))
    file.unlink()
    file.symlink_to(other)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoiled, cut, writable, linked, emptied])
def test_what_cannot_be_used_is_made_again(ruled: Path, folder: Path, spoil: Callable[[Path], None]) -> None:
    plain = said(ruled, str(folder))
    (file,) = folder.iterdir()
    spoil(file)
    assert said(ruled, str(folder)) == plain


def test_what_others_own_is_not_used(ruled: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(ruled, str(folder))
    texts = count(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    said(ruled, str(folder))
    assert len(texts) == 1


def test_without_a_folder_that_can_be_written_everything_works(ruled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert said(ruled, str(tmp_path / "file" / "esctl")) == said(ruled)


def test_the_folder_does_not_grow_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 3)
    for number in range(9):
        assert Cache(str(folder), "engine").get("model", str(number), lambda number=number: number) == number  # type: ignore[misc]
    assert len(list(folder.iterdir())) == 4
    assert Cache(str(folder), "engine").get("model", "8", lambda: -1) == 8


def test_another_engine_judges_for_itself(folder: Path) -> None:
    def kept(engine: str) -> str:
        return Cache(str(folder), engine).get("model", "text", lambda: engine)

    assert [kept("a"), kept("b"), kept("a")] == ["a", "b", "a"]
    assert len(list(folder.iterdir())) == 2


def test_a_text_of_another_kind_is_another_entry(folder: Path) -> None:
    kinds = Cache(str(folder), "engine")
    assert kinds.get("model", "text", lambda: "a model") == "a model"
    assert kinds.get("projection", "text", lambda: "a projection") == "a projection"


def test_what_else_lies_in_the_folder_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 1)
    folder.mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text("the user's")
    for number in range(5):
        Cache(str(folder), "engine").get("model", str(number), lambda: None)
    assert sorted(file.name for file in folder.iterdir() if not file.name.startswith(cache.PREFIX)) == [
        "a.txt", "b.txt", "c.txt"
    ]  # fmt: skip


def test_another_version_of_the_sources_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cache(str(folder), "engine").get("model", "text", lambda: "old") == "old"
    monkeypatch.setattr(cache, "__version__", "0.0.1")
    assert Cache(str(folder), "engine").get("model", "text", lambda: "new") == "new"
    monkeypatch.setattr(cache, "_sources", list)
    assert Cache(str(folder), "engine").get("model", "text", lambda: "newest") == "newest"
