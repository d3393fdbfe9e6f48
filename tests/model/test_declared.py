"""What a model says, and how it is known that two say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl.model.applied import Applied, Definitions
from esctl.model.checks import checked
from esctl.model.declared import fingerprint, refusal
from esctl.model.operations import program
from tests.model.texts import AGGREGATE, PROJECTION, UPCAST, decoded, problems_of

# Fingerprints


def of_upcasts(text: str) -> str:
    model, problems = checked(text, {})
    assert not problems
    applied = Applied(1, "", 1, "", None, text, {}, {})
    assert model == Definitions(applied).model
    return Definitions(applied).upcasts


def of_fold(text: str) -> str:
    return program(decoded(text).aggregates["a"]).fold


BASE_UPCAST = f"{UPCAST}set = {{ a = 1, b = '$.x' }}\n"
SAME_UPCASTS = [
    f"# a comment\n{BASE_UPCAST}",
    "[event.T]\nerasable = true\nschema = 2\n" + BASE_UPCAST,
    BASE_UPCAST + AGGREGATE,
    BASE_UPCAST + PROJECTION,
    BASE_UPCAST + "[event.U]\nschema = 3\n",
    "[event.U]\n" + BASE_UPCAST,
    "[[event.T.upcast]]\nset = { a = 1, b = '$.x' }\nfrom = 1\nschema = 2\n",
    "[event.T]\nupcast = [{ from = 1, set = { 'a' = 1, b = \"$.x\" } }]",
]
OTHER_UPCASTS = [
    "",
    f"{UPCAST}set = {{ a = 1 }}\n",
    f"{UPCAST}set = {{ a = 2, b = '$.x' }}\n",
    f"{UPCAST}set = {{ a = 1.0, b = '$.x' }}\n",
    f"{UPCAST}set = {{ a = '1', b = '$.x' }}\n",
    f"{UPCAST}set = {{ a = 1, b = '$.y' }}\n",
    f"{UPCAST}set = {{ a = 1, b = '$$.x' }}\n",
    f"{UPCAST}set = {{ b = '$.x', a = 1 }}\n",
    f"{UPCAST}default = {{ a = 1, b = '$.x' }}\n",
    BASE_UPCAST + "when = '1'\n",
    BASE_UPCAST + "type = 'U'\n",
    "[event.T]\nschema = 3\n" + BASE_UPCAST + "schema = 3\n",
    "[event.T]\nschema = 3\n[[event.T.upcast]]\nfrom = 2\nset = { a = 1, b = '$.x' }\n",
    BASE_UPCAST + "[[event.U.upcast]]\nfrom = 1\n",
    BASE_UPCAST.replace("event.T", "event.U"),
    f"{UPCAST}split = [{{ type = 'T', schema = 2, set = {{ a = 1, b = '$.x' }} }}]\n[event.T]\nschema = 2",
    f"{UPCAST}drop = true",
]


@pytest.mark.parametrize("text", SAME_UPCASTS)
def test_the_fingerprint_of_upcasts_stays_where_they_say_the_same(text: str) -> None:
    assert of_upcasts(text) == of_upcasts(BASE_UPCAST)


@pytest.mark.parametrize("text", OTHER_UPCASTS)
def test_the_fingerprint_of_upcasts_changes_with_them(text: str) -> None:
    assert of_upcasts(text) != of_upcasts(BASE_UPCAST)


def test_the_fingerprint_of_upcasts_does_not_go_by_their_order_in_the_file() -> None:
    one, two = f"{UPCAST}set = {{ a = 1 }}\n", "[[event.T.upcast]]\nfrom = 2\nset = { b = 1 }\n"
    other = "[[event.U.upcast]]\nfrom = 1\n"
    assert len({of_upcasts(one + two + other), of_upcasts(two + one + other), of_upcasts(other + one + two)}) == 1


def test_all_different_upcasts_have_different_fingerprints() -> None:
    found = [of_upcasts(text) for text in (BASE_UPCAST, *OTHER_UPCASTS)]
    assert len(set(found)) == len(found)


BASE_FOLD = (
    f"{AGGREGATE}initial = {{ n = 0 }}\n[aggregate.a.on.T]\nset = {{ a = 1 }}\n[aggregate.a.on.U]\nadd = {{ n = 1 }}\n"
)
SAME_FOLDS = [
    f"# a comment\n{BASE_FOLD}",
    f"{BASE_FOLD}[aggregate.a.accept]\nT = '1'\n",
    BASE_FOLD.replace("initial", "snapshot = { every = 5 }\ninitial"),
    BASE_FOLD.replace("'*'", "'order-*'"),
    BASE_FOLD + "[aggregate.b]\nstreams = 'b'\n",
    BASE_FOLD.replace("[aggregate.a.on.T]", "[[aggregate.a.on.T]]"),
    f"{AGGREGATE}initial = {{ n = 0 }}\n[aggregate.a.on.U]\nadd = {{ n = 1 }}\n[aggregate.a.on.T]\nset = {{ a = 1 }}\n",
]
OTHER_FOLDS = [
    AGGREGATE,
    BASE_FOLD.replace("n = 0", "n = 0.0"),
    BASE_FOLD.replace("initial = { n = 0 }", ""),
    BASE_FOLD.replace("a = 1", "a = '$.a'"),
    BASE_FOLD.replace("a = 1", "b = 1"),
    BASE_FOLD.replace("add", "subtract"),
    BASE_FOLD + "when = '1'\n",
    BASE_FOLD.replace("on.U", "on.'*'"),
    BASE_FOLD.replace("on.T", "on.V"),
    BASE_FOLD + "[aggregate.a.on.V]\nremove = ['n']\n",
    BASE_FOLD.replace("[aggregate.a.on.T]", "[[aggregate.a.on.T]]\nset = { a = 1 }\n[[aggregate.a.on.T]]"),
]


@pytest.mark.parametrize("text", SAME_FOLDS)
def test_the_fingerprint_of_a_fold_stays_where_it_says_the_same(text: str) -> None:
    assert of_fold(text) == of_fold(BASE_FOLD)


def test_all_different_folds_have_different_fingerprints() -> None:
    found = [of_fold(text) for text in (BASE_FOLD, *OTHER_FOLDS)]
    assert len(set(found)) == len(found)


def test_a_fingerprint_is_the_same_in_every_process_and_differs_by_value() -> None:
    assert len(fingerprint("a", 1)) == 64
    assert fingerprint("a", 1) == fingerprint("a", 1)
    assert len({fingerprint("a", 1), fingerprint("a1"), fingerprint(("a", 1)), fingerprint("a", "1")}) == 4


# Refusals


def test_a_refusal_tells_the_first_mistake_and_how_many_more_there_are() -> None:
    error = refusal(problems_of("[evnt]\n[event.T]\nschema = 0\n"))
    assert error.exit_code == 5
    assert error.what == "the model: evnt: unknown key 'evnt'"
    assert "did you mean event?" in error.why
    assert "1 more" in error.why
    assert error.details["place"] == "evnt"
    assert len(error.details["problems"]) == 2  # type: ignore[arg-type]


def test_a_refusal_of_a_file_names_the_command_that_tells_all_its_mistakes() -> None:
    two, one = problems_of("[evnt]\n[event.T]\nschema = 0\n"), problems_of("[evnt]\n")
    assert refusal(two, Path("my shop.toml")).fix == "esctl model check 'my shop.toml'"
    assert {refusal(two).fix, refusal(one, Path("my shop.toml")).fix} == {"esctl help model"}
