"""Versions of projections: what their tables are called, and which events they take."""

from __future__ import annotations

import pytest

from esctl.model.compiled import BUILDING, DROPPED, LIVE, PREVIOUS, Compiled, Version


def version(state: str, *types: str) -> Version:
    compiled = Compiled({"t": "t(a)"}, {}, dict.fromkeys(types, "select 1\n;"), {"position": "position"}, {})
    return Version(7, "t", state, False, 1, 0, "f", compiled, None, 0, "")


@pytest.mark.parametrize(("state", "called"), [(LIVE, "t"), (BUILDING, "t__7"), (PREVIOUS, "t__7"), (DROPPED, "t__7")])
def test_only_the_live_version_has_tables_by_the_names_of_the_model(state: str, called: str) -> None:
    assert version(state).actual("t") == called


def test_a_handler_of_every_type_is_fed_every_type() -> None:
    assert version(LIVE, "A", "B").compiled.types == ("A", "B")
    assert version(LIVE, "A", "*").compiled.types == ()


def test_a_handler_for_erased_events_is_fed_their_type() -> None:
    assert version(LIVE, "A", "erased.A", "erased.B", "erased.").compiled.types == (
        "A", "erased.A", "erased.B", "erased.", "B",
    )  # fmt: skip
    assert version(LIVE, "erased.A", "*").compiled.types == ()
