"""The shared options before and after a command, items and expectations."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.cli.options import expectation, hoist, item, items
from esctl.errors import RefusedError, UsageError
from esctl.events import Expect

Esctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("given_words", "expected"),
    [
        ("", ""),
        ("head", "head"),
        ("head --log x", "head --log x"),
        ("--log x head", "head --log x"),
        ("-l x head", "head -l x"),
        ("--log=x head", "head --log=x"),
        ("--log=x=y head", "head --log=x=y"),
        ("-o json --yes -q head a b", "head -o json --yes -q a b"),
        ("--format table --color never --error-format json --timeout 3 -v --debug head",
         "head --format table --color never --error-format json --timeout 3 -v --debug"),
        ("--log head replay", "replay --log head"),
        ("--quiet --log x append s T --id y", "append --quiet --log x s T --id y"),
        ("--version", "--version"),
        ("--help", "--help"),
        ("--id x append", "--id x append"),
        ("--log", "--log"),
        ("--yes", "--yes"),
        ("-- head", "-- head"),
    ],
)  # fmt: skip
def test_shared_options_before_the_command_move_behind_it(given_words: str, expected: str) -> None:
    assert hoist(given_words.split()) == expected.split()


SHARED = st.sampled_from(
    [
        ["--log", "x"],
        ["-l", "append"],
        ["--log=y"],
        ["-o", "json"],
        ["--yes"],
        ["-q"],
        ["-v"],
        ["--timeout=1"],
        ["--debug"],
    ]
)
WORDS = st.lists(st.sampled_from(["s", "T", "{}", "--id", "--log", "x", "-", "--", "-q", ""]), max_size=5)


@given(st.lists(SHARED, max_size=4), st.sampled_from(["append", "replay", "nonsense", "--help"]), WORDS)
def test_every_word_is_kept_and_the_command_comes_first(before: list[list[str]], command: str, rest: list[str]) -> None:
    options = [word for option in before for word in option]
    assert hoist([*options, command, *rest]) == [command, *options, *rest]


@pytest.mark.parametrize("shared", [["--log", "log.db", "-o", "json"], ["-l", "log.db", "--format=json"]])
def test_shared_options_mean_the_same_before_and_after_the_command(
    shared: list[str], esctl: Esctl, log_path: Path
) -> None:
    assert log_path.name == "log.db"
    before, after = esctl(*shared, "head"), esctl("head", *shared)
    assert (before.returncode, before.stderr) == (0, "")
    assert before.stdout == after.stdout
    assert json.loads(before.stdout)[0]["position"] == 0


def test_a_format_of_the_environment_is_checked_too(esctl: Esctl, log_path: Path) -> None:
    done = esctl("replay", "--log", str(log_path), env={"ESCTL_FORMAT": "yaml"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "ESCTL_FORMAT is 'yaml'" in done.stderr


def test_a_format_that_is_named_goes_before_the_environments(esctl: Esctl, log_path: Path) -> None:
    done = esctl("replay", "--log", str(log_path), "-o", "json", env={"ESCTL_FORMAT": "csv"})
    assert done.stdout == "[]\n"


# Groups of commands

GROUPS = ("model", "upcast", "snapshot")


@pytest.mark.parametrize(
    ("given_words", "expected"),
    [
        ("-l x model show", "model show -l x"),
        ("model -l x show", "model show -l x"),
        ("model show -l x", "model show -l x"),
        ("-l x model -o json show", "model show -l x -o json"),
        ("-l x model -q show -v 3", "model show -l x -q -v 3"),
        ("--log=x -qv model --color never show", "model show --log=x -qv --color never"),
        ("-qo json upcast -lx check", "upcast check -qo json -lx"),
        ("model --log show show", "model show --log show"),
        ("-l model model show", "model show -l model"),
        ("model", "model"),
        ("model -q", "model -q"),
        ("-q model", "model -q"),
        ("model --help", "model --help"),
        ("-q model --help", "model --help -q"),
        ("snapshot take a -l x b", "snapshot take a -l x b"),
        ("model -- show", "model -- show"),
        ("-q append model show", "append -q model show"),
    ],
)
def test_shared_options_move_behind_the_command_of_a_group(given_words: str, expected: str) -> None:
    assert hoist(given_words.split(), GROUPS) == expected.split()


@given(st.lists(SHARED, max_size=3), st.lists(SHARED, max_size=3), WORDS)
def test_every_word_is_kept_and_both_words_of_a_group_come_first(
    before: list[list[str]], between: list[list[str]], rest: list[str]
) -> None:
    first, second = ([word for option in options for word in option] for options in (before, between))
    assert hoist([*first, "model", *second, "show", *rest], GROUPS) == ["model", "show", *first, *second, *rest]


@pytest.mark.parametrize("verb", [["model", "history"], ["upcast", "check"], ["snapshot", "list"]])
def test_shared_options_mean_the_same_before_between_and_after_the_words_of_a_group(
    verb: list[str], esctl: Esctl, log_path: Path
) -> None:
    shared = ["-l", log_path.name, "-o", "csv"]
    first, second = verb
    runs = [esctl(*shared, first, second), esctl(first, *shared, second), esctl(first, second, *shared)]
    runs.append(esctl("-l", log_path.name, first, "-o", "csv", second))
    assert {(done.returncode, done.stderr) for done in runs} == {(0, "")}
    assert len({done.stdout for done in runs}) == 1
    assert "," in runs[0].stdout


@pytest.mark.parametrize("words", ["--error-format json model nope", "model --error-format json nope"])
def test_errors_of_a_group_are_told_in_the_form_that_was_asked_for(words: str, esctl: Esctl) -> None:
    done = esctl(*words.split())
    assert (done.returncode, json.loads(done.stderr)["error"]) == (2, "usage")


# Items


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a=b", "a", '"b"'),
        ("a=", "a", '""'),
        ("a=5", "a", '"5"'),
        ("a==", "a", '"="'),
        ("a=b=c", "a", '"b=c"'),
        ("a=:b", "a", '":b"'),
        ("a= b ", "a", '" b "'),
        ("a=b\nc", "a", '"b\\nc"'),
        ('a="', "a", '"\\""'),
        ("a.b[0]=x", "a.b[0]", '"x"'),
        ("é=ü", "é", '"ü"'),
        ("a:=5", "a", "5"),
        ("a:=1.10", "a", "1.10"),
        ("a:=123456789012345678901234567890", "a", "123456789012345678901234567890"),
        ("a:=null", "a", "null"),
        ('a:={"b": [1, 2]}', "a", '{"b": [1, 2]}'),
        ('a:="b=c"', "a", '"b=c"'),
        ('a:= "b" ', "a", '"b"'),
    ],
)
def test_an_item_is_a_key_and_text_or_json(text: str, key: str, value: str) -> None:
    pair = item(text)
    assert pair is not None
    assert (pair[0], bytes(pair[1]).decode()) == (key, value)


@pytest.mark.parametrize(
    "text", ["", "a", "=b", ":=5", "=", "a b=c", " a=b", "a\n=b", "a:b=c", "a:5", "a::=5", "{}", '{"a":"b=c"}', "@file"]
)
def test_what_is_not_an_item_is_none(text: str) -> None:
    assert item(text) is None


@pytest.mark.parametrize("value", ["", "x", "01", "{", "[1,]", "NaN", "'a'", "1 2", '"\\ud800"', "\udcff", "["])
def test_what_follows_colon_equals_has_to_be_json(value: str) -> None:
    with pytest.raises(RefusedError, match="does not hold JSON"):
        item(f"a:={value}")


@given(st.text("ab[]{}\"\\'=:\n é", min_size=1))
def test_any_text_is_the_value_of_an_item(text: str) -> None:
    pair = item(f"key={text}")
    assert pair is not None
    assert (pair[0], json.loads(bytes(pair[1]))) == ("key", text)


@pytest.mark.parametrize("levels", [900, 1000])
def test_a_deep_value_of_an_item_is_taken(levels: int) -> None:
    text = "[" * levels + "]" * levels
    pair = item(f"a:={text}")
    assert pair is not None
    assert bytes(pair[1]).decode() == text


@pytest.mark.parametrize("levels", [10_000, 100_000])
@pytest.mark.parametrize("closing", ["", "]"])
def test_a_value_of_an_item_that_is_too_deep_is_refused(levels: int, closing: str) -> None:
    with pytest.raises(RefusedError):
        item(f"a:={'[' * levels}{closing * levels}")


def test_items_keep_their_order_and_the_last_of_a_key_wins() -> None:
    made = items(["a=1", "b:=2", "a:=3"], "--meta")
    assert [(key, bytes(value)) for key, value in made.items()] == [("a", b"3"), ("b", b"2")]


def test_what_is_not_an_item_is_refused_with_its_option() -> None:
    with pytest.raises(UsageError, match=r"^--meta 'actor'$"):
        items(["a=b", "actor"], "--meta")


# Expectations


@pytest.mark.parametrize(
    ("text", "expect"),
    [(None, None), ("any", "any"), ("none", "none"), ("exists", "exists"), ("0", 0), ("7", 7), ("007", 7)],
)
def test_an_expectation_is_read(text: str | None, expect: Expect | None) -> None:
    assert expectation(text) == expect


@pytest.mark.parametrize("text", ["", "-1", "1.5", "v7", "some", "ANY", " 1", "9" * 19])
def test_no_expectation_is_a_wrong_command_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--expect is "):
        expectation(text)
