"""Chains of upcasts: followed to their ends, and refused where they cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from esctl.model import upcasts
from esctl.model.checks import checked
from esctl.model.declared import Model, Problem


def model_of(text: str) -> tuple[Model, list[Problem]]:
    return checked(text, {})


def shapes(text: str) -> dict[tuple[str, int], list[tuple[str, int, int]]]:
    """For each stored type and schema version: type, schema and part of what it is read as."""
    model, problems = model_of(text)
    assert not problems
    return {
        (name, schema): [(shape.type, shape.schema, shape.part) for shape in some]
        for name, of in upcasts.compiled(model).items()
        for schema, some in of.items()
    }


def step(type_: str, start: int, rest: str = "") -> str:
    return f"[[event.{type_}.upcast]]\nfrom = {start}\n{rest}\n"


CHAINS: dict[str, tuple[str, dict[tuple[str, int], list[tuple[str, int, int]]]]] = {
    "one step": (step("A", 1), {("A", 1): [("A", 2, 0)]}),
    "two steps, in any order": (
        step("A", 2) + step("A", 1),
        {("A", 2): [("A", 3, 0)], ("A", 1): [("A", 3, 0)]},
    ),
    "a step that skips versions": (step("A", 1, "schema = 4") + "[event.A]\nschema = 4", {("A", 1): [("A", 4, 0)]}),
    "a renamed type of which nothing else is known": (step("A", 1, 'type = "B"'), {("A", 1): [("B", 1, 0)]}),
    "a renamed type whose chain goes on": (
        step("A", 1) + step("A", 2, 'type = "B"\nschema = 1') + step("B", 1) + step("B", 2),
        {("A", 1): [("B", 3, 0)], ("A", 2): [("B", 3, 0)], ("B", 1): [("B", 3, 0)], ("B", 2): [("B", 3, 0)]},
    ),
    "a renamed type that begins at its newest schema": (
        step("A", 1, 'type = "B"\nschema = 2') + step("B", 1),
        {("A", 1): [("B", 2, 0)], ("B", 1): [("B", 2, 0)]},
    ),
    "a split": (
        step("A", 1, 'split = [{ type = "B" }, { type = "C", schema = 1 }]'),
        {("A", 1): [("B", 1, 1), ("C", 1, 2)]},
    ),
    "a split into one": (step("A", 1, 'split = [{ type = "B" }]'), {("A", 1): [("B", 1, 1)]}),
    "a split whose parts go on": (
        step("A", 1, 'split = [{ type = "B" }, { type = "C" }]') + step("B", 1) + step("C", 1, 'type = "D"'),
        {("A", 1): [("B", 2, 1), ("D", 1, 2)], ("B", 1): [("B", 2, 0)], ("C", 1): [("D", 1, 0)]},
    ),
    "a split within a split": (
        step("A", 1, 'split = [{ type = "B" }, { type = "C" }]')
        + step("B", 1, 'split = [{ type = "D" }, { type = "E" }]'),
        {("A", 1): [("D", 1, 1), ("E", 1, 2), ("C", 1, 3)], ("B", 1): [("D", 1, 1), ("E", 1, 2)]},
    ),
    "a part that is dropped": (
        step("A", 1, 'split = [{ type = "B" }, { type = "C" }, { type = "D" }]') + step("C", 1, "drop = true"),
        {("A", 1): [("B", 1, 1), ("D", 1, 2)], ("C", 1): []},
    ),
    "two parts of one type": (
        step("A", 1, 'split = [{ type = "B" }, { type = "B" }]'),
        {("A", 1): [("B", 1, 1), ("B", 1, 2)]},
    ),
    "a part of the same type": (
        "[event.A]\nschema = 2\n" + step("A", 1, 'split = [{ type = "A", schema = 2 }, { type = "B" }]'),
        {("A", 1): [("A", 2, 1), ("B", 1, 2)]},
    ),
    "a drop": (step("A", 1, "drop = true"), {("A", 1): []}),
    "a drop of what an old version is": (
        step("A", 1) + step("A", 2, "drop = true"),
        {("A", 1): [], ("A", 2): []},
    ),
    "a drop where something holds": (
        step("A", 1, "drop = true\nwhen = 'new.version > 1'") + step("A", 2),
        {("A", 1): [("A", 3, 0)], ("A", 2): [("A", 3, 0)]},
    ),
    "a drop where something holds, and no step after it": (
        step("A", 1, "drop = true\nwhen = 'new.version > 1'"),
        {("A", 1): [("A", 2, 0)]},
    ),
    "names with quotes and blanks": (
        step('"it\'s a"', 1, "type = 'the \"new\"'"),
        {("it's a", 1): [('the "new"', 1, 0)]},
    ),
    "no upcast": ("[event.A]\nschema = 3", {}),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_is_followed_to_its_end(chain: str) -> None:
    text, expected = CHAINS[chain]
    assert shapes(text) == expected


WRONG: dict[str, tuple[str, str, str]] = {
    "a step to itself": (step("A", 1, "schema = 1"), "event.A.upcast[1]", "comes back to schema 1 of A"),
    "a cycle of two versions": (
        step("A", 1) + step("A", 2, "schema = 1"),
        "event.A.upcast[1]",
        "comes back to schema 1 of A",
    ),
    "a cycle of two types": (
        step("A", 1, 'type = "B"') + step("B", 1, 'type = "A"'),
        "event.A.upcast[1]",
        "comes back to schema 1 of A",
    ),
    "a cycle that a chain runs into": (
        step("A", 1, 'type = "B"') + step("B", 1, 'type = "C"') + step("C", 1, 'type = "B"'),
        "event.B.upcast[1]",
        "comes back to schema 1 of B",
    ),
    "a cycle through one part of a split": (
        step("A", 1, 'split = [{ type = "B" }, { type = "C" }]') + step("C", 1, 'type = "A"'),
        "event.A.upcast[1]",
        "comes back to schema 1 of A",
    ),
    "a cycle behind a drop that may not hold": (
        step("A", 1, "drop = true\nwhen = '0'") + step("A", 2, "schema = 1"),
        "event.A.upcast[1]",
        "comes back to schema 1 of A",
    ),
    "two steps from one version": (step("A", 1) + step("A", 1), "event.A.upcast[2]", "a second step from schema 1"),
    "a step and a drop from one version": (
        step("A", 1) + step("A", 1, "drop = true"),
        "event.A.upcast[2]",
        "a second step from schema 1",
    ),
    "a gap": (
        "[event.A]\nschema = 4\n" + step("A", 1) + step("A", 3),
        "event.A.upcast[1]",
        "the chain ends at schema 2 of A, and the model's newest is 4",
    ),
    "an end before the newest schema": (
        "[event.A]\nschema = 5\n" + step("A", 1),
        "event.A.upcast[1]",
        "the chain ends at schema 2 of A, and the model's newest is 5",
    ),
    "an end beyond the newest schema": (
        "[event.A]\nschema = 1\n" + step("A", 1),
        "event.A.upcast[1]",
        "the chain ends at schema 2 of A, and the model's newest is 1",
    ),
    "a renamed type at a schema that it does not have": (
        "[event.B]\nschema = 2\n" + step("A", 1, 'type = "B"\nschema = 1'),
        "event.A.upcast[1]",
        "the chain ends at schema 1 of B, and the model's newest is 2",
    ),
    "an unknown type at a schema beyond its first": (
        step("A", 1, 'type = "B"\nschema = 3'),
        "event.A.upcast[1]",
        "the chain ends at schema 3 of B, and the model's newest is 1",
    ),
    "a part at a schema that its type does not have": (
        "[event.C]\nschema = 2\n" + step("A", 1, 'split = [{ type = "B" }, { type = "C", schema = 3 }]'),
        "event.A.upcast[1]",
        "the chain ends at schema 3 of C, and the model's newest is 2",
    ),
    "a step beyond the newest schema": (
        "[event.A]\nschema = 2\n" + step("A", 1) + step("A", 7),
        "event.A.upcast[2]",
        "the chain ends at schema 8 of A, and the model's newest is 2",
    ),
}


@pytest.mark.parametrize("chain", WRONG)
def test_a_chain_that_does_not_hold_together_is_refused_and_named(chain: str) -> None:
    text, place, reason = WRONG[chain]
    _, problems = model_of(text)
    assert place in [problem.place for problem in problems]
    assert any(reason in problem.problem for problem in problems)
    assert all(problem.hint for problem in problems)


def test_the_newest_schema_of_a_type_is_the_models_or_what_its_steps_lead_to() -> None:
    model, problems = model_of(
        "[event.A]\nschema = 4\n" + step("B", 1) + step("B", 2) + step("C", 1, 'type = "A"\nschema = 4')
    )
    assert not problems
    assert [upcasts.newest(model, name) for name in ("A", "B", "C", "D")] == [4, 3, 1, 1]


def test_a_chain_of_many_steps_is_followed() -> None:
    text = "".join(step("A", n, f"add = {{ n = {n} }}") for n in range(1, 60))
    assert shapes(text)["A", 1] == [("A", 60, 0)]


TOLD: list[tuple[str, str]] = [
    ("drop = true", "drop"),
    ("drop = true\nwhen = 'new.version > 1'", "drop when new.version > 1"),
    ("rename = { a = 'b' }", "rename a to b"),
    ("default = { d = 0 }", "default d = 0"),
    ("convert = { a = 'number' }", "convert a to number"),
    ("set = { a = '$.b', c = 1.50 }", "set a = $.b, set c = 1.50"),
    ("add = { a = 1 }\nsubtract = { b = '$.c' }", "add a = 1, subtract b = $.c"),
    ("append = { l = '$.x' }\nmerge = '$.m'", "append l = $.x, merge $.m"),
    ("compute = { a = '1 + 1' }\nremove = ['x', 'y']", "compute a = 1 + 1, remove x, remove y"),
    ("set = { a = 1 }\nwhen = '1'", "set a = 1 when 1"),
    ("", "nothing"),
    ("split = [{ type = 'B', remove = ['x'] }, { type = 'C' }]", "split: B 1 (remove x); C 1 (nothing)"),
]


@pytest.mark.parametrize(("body", "told"), TOLD)
def test_an_upcast_is_told_in_words(body: str, told: str) -> None:
    model, _ = model_of(step("A", 1, body))
    assert upcasts.summary(model.events["A"].upcasts[0]) == told


def test_a_renamed_type_is_told_in_words() -> None:
    model, _ = model_of(step("A", 1, 'type = "B"'))
    assert "B" in upcasts.summary(model.events["A"].upcasts[0])


def test_every_expression_of_an_upcast_is_found_with_its_place() -> None:
    found: dict[str, Any] = dict(
        upcasts.expressions(
            model_of(
                step("A", 1, "compute = { a = '1', 'n.b' = '2' }\nwhen = '3'")
                + step("B", 1, "split = [{ type = 'C' }, { type = 'D', compute = { a = '4' } }]")
                + step("E", 1, "drop = true\nwhen = '5'")
            )[0]
        )
    )
    assert found == {
        "event.A.upcast[1].compute.a": "1",
        "event.A.upcast[1].compute.n.b": "2",
        "event.A.upcast[1].when": "3",
        "event.B.upcast[1].split[2].compute.a": "4",
        "event.E.upcast[1].when": "5",
    }


@pytest.mark.parametrize(("levels", "sound"), [(6, True), (7, False), (22, False)])
def test_an_event_may_be_read_as_so_many_events_and_no_more(levels: int, sound: bool) -> None:
    both = "split = [{{ type = 'T{0}' }}, {{ type = 'T{0}' }}]"
    _, problems = model_of("".join(step(f"T{n}", 1, both.format(n + 1)) for n in range(levels)))
    assert any("in more than 64 events" in problem.problem for problem in problems) is not sound


@pytest.mark.parametrize(("steps", "sound"), [(200, True), (201, False)])
def test_a_chain_may_have_so_many_steps_and_no_more(steps: int, sound: bool) -> None:
    _, problems = model_of("".join(step("A", n) for n in range(1, steps + 1)))
    assert any("more than 200 steps" in problem.problem for problem in problems) is not sound
