"""Paths in models: of a payload, of earlier releases, and those that may mean something else."""

from __future__ import annotations

import pytest

from esctl.model.paths import as_before, doubt, source_parts


def test_a_path_of_the_payload_begins_with_a_dollar() -> None:
    assert source_parts("$") == ()
    assert source_parts("$.a[0]") == ("a", 0)


@pytest.mark.parametrize(
    ("field", "path"),
    [("a[x].b", '"a[x]".b'), ("a..b", "a.b"), ("a\tb", "ab"), ("", "unreadable"), ('"a', '"\\"a"')],
)
def test_a_text_that_is_no_path_now_is_names_between_dots_as_before(field: str, path: str) -> None:
    assert as_before(field) == path


def test_a_number_as_a_name_may_have_been_meant_for_an_element() -> None:
    assert doubt(("items", "0", "qty")) == "0 is a field's name; an element of an array is items[0].qty"
    assert doubt(("items", 0)) == doubt(("0", "a")) == ""
