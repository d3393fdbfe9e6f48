"""What a reaction is, and the words of its command."""

from __future__ import annotations

import json

import pytest

from esctl.errors import EsctlError, UsageError
from esctl.reactions.definition import EXEC, EXEC_STREAM, Command, Definition, check_name, defined, unknown
from esctl.reactions.items import Item, _decode
from esctl.store.reactions import new

LINE = json.dumps(
    {
        "position": 7, "stream": "order-1", "version": 2, "id": "e7", "type": "T", "schema": 1, "time": "t",
        "recorded": "r", "data": {"email": "a b; rm -rf /", "n": 1.5, "deep": [{"x": 'é"'}], "no": None},
        "meta": {"actor": "-x"},
    }
).encode()  # fmt: skip


def item() -> Item:
    return Item(LINE, _decode(LINE), "order-1")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("mail {data.email}", ["mail", "a b; rm -rf /"]),
        ("x {position} {stream} {type} {id} {version}", ["x", "7", "order-1", "T", "e7", "2"]),
        ("x {data.deep[0].x} {meta.actor} {data.n}", ["x", 'é"', "-x", "1.5"]),
        ("x {data.none} {data.no} {data.n.m}", ["x", "", "", ""]),
        ("x 'a b' --to={stream} {}", ["x", "a b", "--to={stream}", "{}"]),
        ("jq '{a: .data}'", ["jq", "{a: .data}"]),
    ],
)
def test_a_word_that_is_a_field_is_one_argument_and_others_are_as_they_are(command: str, words: list[str]) -> None:
    found = Command(Definition(EXEC, command)).arguments(item())
    assert found == words


def test_a_shell_gets_its_command_untouched() -> None:
    assert Command(Definition(EXEC, "echo {stream} | cat", shell=True)).words() == ["sh", "-c", "echo {stream} | cat"]


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        (Definition(EXEC, ""), "names no program"),
        (Definition(EXEC, "{stream}"), "names no program"),
        (Definition(EXEC, "a 'b"), "cannot be split"),
        (Definition(EXEC, "a {nothing}"), "no field 'nothing'"),
        (Definition(EXEC_STREAM, "a {stream}"), "field of an event"),
        (Definition(EXEC, "a", where="n >"), "--where"),
        (Definition(EXEC, "a", key="random()"), "--key"),
        (Definition(EXEC, "a", stream="s", category="c"), "exclude each other"),
        (Definition(EXEC, "a", append=True), "--append needs"),
    ],
)
def test_a_definition_that_nothing_can_be_done_with_is_refused(definition: Definition, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        definition.check()


def test_a_definition_is_kept_as_text_and_differences_are_named() -> None:
    one = Definition(EXEC, "a", types=("T",), category="c", where="position > 1")
    kept = new("r", one.text(), "log", 0, b"")
    assert defined(kept) == one
    assert one.changes(one) == []
    assert one.changes(Definition(EXEC_STREAM, "b", types=("U",), key="1")) == [
        "--exec", "--category", "--type", "--where", "--key"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["mail", "a", "A-1_b.c", "0" * 64])
def test_a_name_is_letters_digits_and_some_marks(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "a\n", "é", "0" * 65, "../x"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name of a reaction"):
        check_name(name)


def test_the_name_that_was_meant_is_offered() -> None:
    error: EsctlError = unknown("mial", ["mail", "audit"])
    assert (error.why, error.fix) == ("did you mean mail?", "esctl reaction status mail")
    assert unknown("x", []).fix == "esctl reaction list"
