"""What caused an event and what it caused: a tree in which everything that belongs to it stands once."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl import open_log
from esctl.log import EventLog
from esctl.points.trace import trace
from tests.conftest import write_empty_log

Metas = list[tuple[str, dict[str, Any]]]


def traced(path: Path, metas: Metas, of: str) -> list[tuple[int, str]]:
    """Depth and id of each event of the trace of the event `of`, in a log of events with these ids and metas."""
    if not path.exists():
        write_empty_log(path)
    with open_log(path, write=True) as written:
        written.append_all([{"stream": "s", "type": "T", "id": id_, "meta": meta} for id_, meta in metas])
    with EventLog(path) as log:
        return [(t.depth, t.event[3]) for t in trace(log, log.event(of)[0])]


def caused(by: str | None = None, correlation: Any = None) -> dict[str, Any]:
    """The meta of an event."""
    meta = {"causation_id": by, "correlation_id": correlation}
    return {key: value for key, value in meta.items() if value is not None}


CORRELATED: Metas = [
    ("a", caused(None, "c")),
    ("b", caused("a", "c")),
    ("other", caused(None, "d")),
    ("c", caused("a", "c")),
    ("d", caused("b", "c")),
    ("e", caused(None, "c")),
    ("f", caused("gone", "c")),
    ("alone", {}),
    ("g", caused("a", None)),
]
CHAIN: Metas = [("a", {}), ("b", caused("a")), ("c", caused("b")), ("d", caused("b")), ("e", {}), ("f", caused("c"))]


@pytest.mark.parametrize("of", ["a", "b", "c", "d", "e", "f"])
def test_all_that_shares_the_correlation_id_is_a_tree_of_causation(log_path: Path, of: str) -> None:
    expected = [(0, "a"), (1, "b"), (2, "d"), (1, "c"), (0, "e"), (0, "f")]
    assert traced(log_path, CORRELATED, of) == expected


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("a", [(0, "a"), (1, "b"), (2, "c"), (3, "f"), (2, "d")]),
        ("b", [(0, "a"), (1, "b"), (2, "c"), (3, "f"), (2, "d")]),
        ("c", [(0, "b"), (1, "c"), (2, "f")]),
        ("e", [(0, "e")]),
    ],
)
def test_without_a_correlation_id_it_is_the_cause_and_all_that_came_of_it(
    log_path: Path, of: str, expected: list[tuple[int, str]]
) -> None:
    assert traced(log_path, CHAIN, of) == expected


@pytest.mark.parametrize(
    "correlation",
    ["", "'", "it's", '"quo"', "\\", "漢字", "%s", "'; drop table events; --", "a\u0000b", "1", 1, 1.5, True],
)
def test_any_correlation_id_is_found(log_path: Path, correlation: Any) -> None:
    metas = [("a", caused(None, correlation)), ("x", caused(None, "other")), ("b", caused("a", correlation))]
    assert traced(log_path, metas, "b") == [(0, "a"), (1, "b")]


def test_any_id_is_found_as_a_cause(log_path: Path) -> None:
    for index, cause in enumerate(["'", 'quo"te', "\\", "漢字", "'; --"]):
        assert traced(log_path, [(cause, {}), (f"e{index}", caused(cause))], cause) == [(0, cause), (1, f"e{index}")]


@pytest.mark.parametrize("correlation", [None, "c"])
@pytest.mark.parametrize("of", ["a", "b"])
def test_a_circle_of_causes_loses_no_event(log_path: Path, of: str, correlation: str | None) -> None:
    metas = [("a", caused("b", correlation)), ("b", caused("a", correlation))]
    found = traced(log_path, metas, of)
    assert sorted(id_ for _, id_ in found) == ["a", "b"]


@pytest.mark.parametrize("correlation", [None, "c"])
def test_an_event_that_caused_itself_is_shown(log_path: Path, correlation: str | None) -> None:
    assert traced(log_path, [("a", caused("a", correlation))], "a") == [(0, "a")]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12), whole=st.booleans())
def test_every_event_of_a_correlation_stands_in_the_tree_once_below_its_cause(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, *, whole: bool
) -> None:
    """Causes may come later, be gone, or go in circles (`whole`: they do not)."""
    random = Random(seed)
    ids = [f"e{n}" for n in range(size)]
    metas: Metas = []
    for n, id_ in enumerate(ids):
        causes = [None, *ids[:n]] if whole else [None, "gone", *ids]
        metas.append((id_, caused(random.choice(causes), "c")))
    found = traced(tmp_path_factory.mktemp("trace") / "log.db", metas, random.choice(ids))
    assert sorted(id_ for _, id_ in found) == sorted(ids)
    if whole:
        cause_of = {id_: meta.get("causation_id") for id_, meta in metas}
        path: list[str] = []
        for depth, id_ in found:
            del path[depth:]
            assert len(path) == depth
            assert cause_of[id_] == (path[-1] if path else None)
            path.append(id_)


def test_a_long_chain_is_followed_to_its_end(log_path: Path) -> None:
    metas: Metas = [(f"e{n}", caused(f"e{n - 1}" if n else None, "c")) for n in range(1500)]
    assert traced(log_path, metas, "e7") == [(n, f"e{n}") for n in range(1500)]


def test_meta_that_says_nothing_usable_is_no_link(log_path: Path) -> None:
    metas: Metas = [("a", {"correlation_id": None, "causation_id": None}), ("b", {"causation_id": "gone"})]
    assert traced(log_path, metas, "a") == [(0, "a")]
    with EventLog(log_path) as log:
        assert [(t.depth, t.event[3]) for t in trace(log, log.event("b")[0])] == [(0, "b")]


@pytest.mark.parametrize(
    ("of", "correlation"), [("/a/1", "c"), ("/b/2", "c"), ("own", "c"), ("/b/3", "c"), ("/a/1", None), ("/b/2", None)]
)
@pytest.mark.parametrize("cause", ["1", "/a/1"])
def test_a_cloudevent_is_a_cause_by_its_original_id_too(
    log_path: Path, of: str, correlation: str | None, cause: str
) -> None:
    metas: Metas = [
        ("/a/1", {"source": "/a"} | caused(None, correlation)),
        ("/b/2", {"source": "/a"} | caused(cause, correlation)),
        ("own", caused("/b/2", correlation)),
        ("/b/3", {"source": "/b"} | caused("own", correlation)),
        ("1x", {}),
    ]
    assert traced(log_path, metas, of) == [(0, "/a/1"), (1, "/b/2"), (2, "own"), (3, "/b/3")]


def test_an_id_in_the_log_goes_before_the_same_original_one(log_path: Path) -> None:
    metas: Metas = [("1", caused(None, "c")), ("/a/1", {"source": "/a"} | caused(None, "c")), ("b", caused("1", "c"))]
    assert traced(log_path, metas, "b") == [(0, "1"), (1, "b"), (0, "/a/1")]
