"""The names that a model knows, and which of them look misspelt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.model import world
from esctl.model.checks import checked
from esctl.model.declared import Model
from esctl.model.world import one_letter_apart

MODEL = """
[[event.OldPaid.upcast]]
from = 1
type = "Paid"
[event.Named]
erasable = true
[aggregate.account]
streams = "account-*"
on.Deposited = [{ add = { balance = "$.amount" } }]
on."*" = [{ add = { n = 1 } }]
[aggregate.account.accept]
Deposited = "1"
Withdrawn = "1"
[aggregate.wild]
streams = "[xy]-*"
[aggregate.single]
streams = "counter"
[projection.p]
table = "create table p(a)"
on.Shown = "insert into p values (1)"
"""


def model(text: str) -> Model:
    made, problems = checked(text, {})
    assert problems == []
    return made


def test_every_declaration_names_its_types_with_its_place_and_the_star_names_none() -> None:
    assert world.places(model(MODEL)) == {
        "OldPaid": ["event.OldPaid"],
        "Paid": ["event.OldPaid.upcast[1]"],
        "Named": ["event.Named"],
        "Deposited": ["aggregate.account.on.Deposited", "aggregate.account.accept.Deposited"],
        "Withdrawn": ["aggregate.account.accept.Withdrawn"],
        "Shown": ["projection.p.on.Shown"],
    }


def test_a_handler_for_erased_events_names_their_type() -> None:
    handlers = HANDLER + "on.'erased.Paid' = 'delete from p'\n"
    assert world.places(model(handlers))["Paid"] == ["projection.p.on.erased.Paid"]


def test_categories_are_those_that_patterns_spell_out() -> None:
    assert world.categories(model(MODEL)) == {"account", "counter"}


@pytest.mark.parametrize(
    ("stream", "near"),
    [("acount-7", "did you mean account-7?"), ("countr", "did you mean counter?"), ("order-7", ""), ("account", "")],
)
def test_a_stream_is_like_those_of_a_similar_category(stream: str, near: str) -> None:
    assert world.similar_stream(stream, model(MODEL)) == near


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        pytest.param("Depositd", "Deposited", True, id="one less"),
        pytest.param("Depositedd", "Deposited", True, id="one more"),
        pytest.param("xDeposited", "Deposited", True, id="one more in front"),
        pytest.param("Depoxited", "Deposited", True, id="another"),
        pytest.param("deposited", "Deposited", True, id="a capital"),
        pytest.param("Dpeosited", "Deposited", True, id="two swapped"),
        pytest.param("Depositde", "Deposited", True, id="the last two swapped"),
        pytest.param("Straße", "Strase", True, id="beyond ASCII"),
        pytest.param("ordr", "order", True, id="short"),
        pytest.param("Deposited", "Deposited", False, id="the same"),
        pytest.param("Depstd", "Deposited", False, id="two less"),
        pytest.param("Depoxitex", "Deposited", False, id="two others"),
        pytest.param("eDposietd", "Deposited", False, id="swapped twice"),
        pytest.param("user1", "user2", False, id="another digit"),
        pytest.param("user1", "user", False, id="a digit more"),
        pytest.param("user12", "user21", False, id="digits swapped"),
        pytest.param("a.b.c", "a.b-c", False, id="another sign"),
        pytest.param("T", "U", False, id="too short"),
        pytest.param("car", "cat", False, id="three letters"),
        pytest.param("", "", False, id="nothing"),
    ],
)
def test_one_letter_apart(one: str, other: str, near: bool) -> None:
    assert one_letter_apart(one, other) is near
    assert one_letter_apart(other, one) is near


NAMES = st.text("abcX", min_size=4, max_size=8)


@given(NAMES, st.integers(0, 7), st.sampled_from("abcX"))
def test_names_with_one_letter_removed_added_or_replaced_are_one_letter_apart(name: str, at: int, letter: str) -> None:
    at %= len(name)
    for other in (name[:at] + name[at + 1 :], name[:at] + letter + name[at:], name[:at] + letter + name[at + 1 :]):
        assert one_letter_apart(name, other) is (name != other)


@given(NAMES, NAMES)
def test_names_one_letter_apart_are_at_edit_distance_one(one: str, other: str) -> None:
    letters = "abcX"
    near = {one[:n] + one[n + 1 :] for n in range(len(one))}
    near |= {one[:n] + letter + one[n:] for n in range(len(one) + 1) for letter in letters}
    near |= {one[:n] + letter + one[n + 1 :] for n in range(len(one)) for letter in letters}
    near |= {one[:n] + one[n + 1] + one[n] + one[n + 2 :] for n in range(len(one) - 1)}
    assert one_letter_apart(one, other) is (other in near - {one})


HANDLER = '[projection.p]\ntable = "create table p(a)"\non.Piad = "insert into p values (1)"\n'
RULES = """
[aggregate.account]
streams = "account-*"
on.Deposited = [{ add = { balance = "$.amount" } }]
accept.Depositedd = "1"
accept.Refunded = "1"
"""


@pytest.mark.parametrize(
    ("text", "stored", "found"),
    [
        pytest.param(
            RULES,
            {"Deposited"},
            {
                "aggregate.account.accept.Depositedd": "; did you mean Deposited?",
                "aggregate.account.accept.Refunded": "",
            },
            id="rules, and a log",
        ),
        pytest.param(
            RULES,
            None,
            {
                "aggregate.account.accept.Depositedd": "; did you mean Deposited?",
                "aggregate.account.accept.Refunded": "",
            },
            id="rules, and no log",
        ),
        pytest.param(RULES, {"Deposited", "Depositedd", "Refunded"}, {}, id="all are in the log"),
        pytest.param("[event.Paids]\nerasable = true\n", {"Paid"}, {"event.Paids": "; did you mean Paid?"}, id="event"),
        pytest.param("[event.Paids]\nerasable = true\n", None, {}, id="event, and no log"),
        pytest.param(
            HANDLER + "[event.Paid]\nschema = 1\n",
            None,
            {"event.Paid": "; did you mean Piad?"},
            id="a handler",
        ),
        pytest.param(
            '[aggregate.a]\nstreams = "a-*"\non.Locked.set = {}\non.Unlocked.set = {}\n', None, {}, id="unlike"
        ),
        pytest.param('[aggregate.a]\nstreams = "a-*"\non."*".set = {}\n', {"T"}, {}, id="any type"),
    ],
)
def test_a_type_that_only_one_declaration_names_is_doubtful(
    text: str, stored: set[str] | None, found: dict[str, str]
) -> None:
    doubts = {doubt.place: doubt.text for doubt in world.doubts(model(text), stored)}
    assert doubts.keys() == found.keys()
    for place, end in found.items():
        assert doubts[place].startswith(f"nothing else names {place.rpartition('.')[2]}")
        assert doubts[place].endswith(end)


def test_a_strict_model_without_aggregates_is_doubtful() -> None:
    assert [doubt.place for doubt in world.doubts(model("[model]\nstrict = true\n"), None)] == ["model.strict"]


def test_the_logs_own_types_are_not_those_of_its_events() -> None:
    assert world.stored(["ModelApplied", "MarkSet"]) is None
    assert world.stored(["ModelApplied", "Paid"]) == {"Paid"}
