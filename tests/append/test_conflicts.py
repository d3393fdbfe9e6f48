"""Two lines of one input that have the same id: which ones they are, and the first kept where that is wanted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.events.event import NewEvent
from tests.conftest import Esctl
from tests.logs import fresh


def lines(*events: tuple[str, str, object]) -> str:
    return "".join(json.dumps({"stream": s, "type": "T", "id": i, "data": d}) + "\n" for s, i, d in events)


CONFLICT = lines(("a-1", "x", 1), ("a-1", "y", 1), ("b-1", "y", 1), ("a-1", "z", 1))


def failed(run: Esctl, text: str, *options: str) -> dict[str, Any]:
    done = run("append", "--error-format", "json", *options, input=text)
    assert done.returncode == 4
    error: dict[str, Any] = json.loads(done.stderr)
    return error


@pytest.mark.parametrize("options", [[], ["--atomic"], ["--atomic", "--dry-run"]])
def test_a_conflict_between_two_lines_names_both(run: Esctl, options: list[str]) -> None:
    error = failed(run, "\n" + CONFLICT, *options)
    assert error["what"] == "the id y occurs twice with different content (stream)"
    assert error["why"].startswith("line 3 has it, too")
    assert (error["line"], error["first_line"]) == (4, 3)
    assert "position" not in error
    assert run("replay").stdout == ""


def test_a_conflict_with_a_line_of_an_earlier_batch_of_one_transaction_names_both(run: Esctl) -> None:
    run("append", input=lines(("a-1", "seen", 1)))
    many = [("a-1", f"e{n}", n) for n in range(10_050)]
    text = lines(("a-1", "seen", 1), *many, ("b-1", "e7", 7))
    assert failed(run, text, "--atomic")["first_line"] == 9


def test_a_conflict_with_a_stored_event_names_its_position(run: Esctl) -> None:
    run("append", input=lines(("a-1", "y", 1)))
    error = failed(run, CONFLICT)
    assert (error["line"], error["position"]) == (3, 1)
    assert "first_line" not in error


@pytest.mark.parametrize("options", [[], ["--atomic"], ["--each"], ["--batch", "2"]])
def test_the_first_event_of_an_id_is_kept_and_each_other_line_reported(run: Esctl, options: list[str]) -> None:
    done = run("append", "--on-conflict", "skip", *options, input=CONFLICT)
    assert done.returncode == 0
    tally = {"appended": 3, "duplicates": 0, "first_position": 1, "last_position": 3, "conflicts": 1}
    assert json.loads(done.stdout) == tally
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["skipped"]
    assert ", line 3 " in done.stderr
    assert [(e["stream"], e["id"]) for e in map(json.loads, run("replay").stdout.splitlines())] == [
        ("a-1", "x"),
        ("a-1", "y"),
        ("a-1", "z"),
    ]


def test_a_line_that_is_passed_over_has_the_receipt_of_the_event_that_is_kept(run: Esctl) -> None:
    done = run("append", "--on-conflict", "skip", "--receipts", input=CONFLICT)
    receipts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["position"], r["duplicate"]) for r in receipts] == [(1, False), (2, False), (2, True), (3, False)]


def test_a_conflict_of_expected_versions_is_not_passed_over(run: Esctl) -> None:
    text = CONFLICT + json.dumps({"stream": "a-1", "type": "T", "expect": 7}) + "\n"
    assert run("append", "--on-conflict", "skip", input=text).returncode == 4


def test_nothing_is_reported_of_a_transaction_that_is_rolled_back(run: Esctl) -> None:
    done = run("append", "--on-conflict", "skip", "--atomic", input=CONFLICT + '{"stream":"a-1"}\n')
    assert done.returncode == 5
    assert "skipped" not in done.stderr


def test_on_conflict_is_for_lines(run: Esctl) -> None:
    done = run("append", "a-1", "T", "--on-conflict", "skip")
    assert done.returncode == 2
    assert "--on-conflict is for lines of events" in done.stderr


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.booleans())
def test_the_same_json_in_another_spelling_is_a_duplicate(value: object, ascii_only: bool) -> None:
    spelled = json.dumps(value, ensure_ascii=ascii_only, sort_keys=True, indent=1).replace("\n", " ")
    with fresh() as log, log.transaction():
        first, again = (
            log.store.append([NewEvent("s", "T", "e", None, 1, text, "{}", None)])[0]
            for text in (json.dumps(value), spelled)
        )
    assert (first.duplicate, again.duplicate) == (False, True)
