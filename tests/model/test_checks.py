"""All that is wrong with a model file is named, with its place: its shape, its chains, its SQL."""

from __future__ import annotations

import json

import pytest

from esctl.events.paths import parts
from esctl.model.checks import checked, doubts, shared
from esctl.model.declared import Copy
from tests.model.texts import UPCAST
from tests.models import COUNT


@pytest.mark.parametrize("other", ["c-*", "*", "c-1", "*-1", "[a-c]-?"])
def test_two_aggregates_that_can_cover_one_stream_are_a_problem(other: str) -> None:
    model, problems = checked(COUNT + f'[aggregate.d]\nstreams = "{other}"\n', {})
    assert problems == []
    assert ["one aggregate" in problem.hint for problem in shared(model)] == [True]


@pytest.mark.parametrize(
    "expression",
    ["random()", "datetime('now')", "load_extension('x')", "readfile('/etc/passwd')", "(select 1 from streams)",
     "(select data from events)", "writefile('x', 'y')", "1; drop table events", "1) or (1", "new.nothing", "?1", ""],
)  # fmt: skip
@pytest.mark.parametrize("place", ["on.T.when", "accept.T", "on.T.compute.a"])
def test_expressions_that_may_do_more_than_compute_are_problems(place: str, expression: str) -> None:
    _, problems = checked(f'[aggregate.a]\nstreams = "a-*"\n{place} = {json.dumps(expression)}\n', {})
    assert len(problems) == 1
    assert problems[0].place.startswith("aggregate.a")


def test_the_state_stands_in_no_upcast() -> None:
    _, problems = checked("[[event.T.upcast]]\nfrom = 1\ncompute = { a = \"state ->> 'x'\" }\n", {})
    assert [problem.place for problem in problems] == ["event.T.upcast[1].compute.a"]


def test_a_number_of_more_digits_than_python_writes_is_no_crash() -> None:
    model, problems = checked(f"{UPCAST}set = {{ a = 0x{'f' * 5000} }}", {})
    assert problems or model.events["T"].upcasts


def test_every_problem_of_a_projection_is_told_with_its_key() -> None:
    model, problems = checked(
        """
[projection.x]
table = "create table x(a)"
indexes = ["create index i on x(b)", "create index j on x(a)"]
columns = { z = { label = "Z" } }
[projection.x.on]
A = "delete from y"
B = "delete from x"
C = "insert into x values (random())"
""",
        {},
    )
    assert list(model.projections) == ["x"]
    places = [problem.place for problem in problems]
    assert places == ["projection.x.indexes[1]", "projection.x.on.A", "projection.x.on.C", "projection.x.columns.z"]
    assert [bool(problem.hint) for problem in problems] == [False, True, True, False]


def test_a_reference_that_would_be_checked_at_the_commit_is_refused() -> None:
    text = """
[projection.x]
tables = { p = "create table p(i primary key)" }
table = "create table x(a references p deferrable initially deferred)"
"""
    _, problems = checked(text, {})
    assert [(problem.place, "may not defer" in problem.problem) for problem in problems] == [
        ("projection.x.table", True)
    ]


def test_a_path_with_a_number_as_a_name_is_told_since_an_element_may_be_meant() -> None:
    text = (
        "[[event.T.upcast]]\nfrom = 1\nset = { a = '$.items.0.qty', 'b[0].c' = '$.d[0]' }\nrename = { 'x.1' = 'y' }\n"
        "[aggregate.a]\nstreams = 'a-*'\non.T.add.'lines.2' = 1\non.T.remove = ['0']"
    )
    model, problems = checked(text, {})
    assert problems == []
    assert list(doubts(model)) == [
        "event.T.upcast[1].set: $.items.0.qty: 0 is a field's name; an element of an array is items[0].qty",
        "event.T.upcast[1].rename: x.1: 1 is a field's name; an element of an array is x[1]",
        "aggregate.a.on.T.add: lines.2: 2 is a field's name; an element of an array is lines[2]",
    ]


def test_a_model_that_earlier_releases_applied_stays_valid_and_is_read_as_by_them() -> None:
    text = UPCAST + "set = { 'a[]' = 1, 'b[x].c' = '$.\"d' }\nrename = { 'e[0]' = 'f' }\nremove = ['$.g']"
    assert len(checked(text, {})[1]) == 5
    model, problems = checked(text, {}, trusted=True)
    assert problems == []
    step = model.events["T"].upcasts[0].parts[0].step
    fields = (*step.set, *step.rename)
    assert [parts(name) for name, _ in fields] == [("a[]",), ("b[x]", "c"), ("e[0]",)]
    assert step.set[1][1] == Copy('$."\\"d"')
    assert step.remove == ("$.g",)
