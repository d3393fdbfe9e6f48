"""The command that an error offers, made such that it can be pasted."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.cli import parse
from esctl.cli.fixes import NEEDS_NO_LOG, about, again, fed
from esctl.cli.table import COMMANDS

WORDS = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" '\"\\|&;"), min_size=1)
FIXES = {
    "esctl replay": "esctl replay --log my.db",
    "esctl replay order-1": "esctl replay --log my.db order-1",
    "esctl projection list": "esctl projection list --log my.db",
    "esctl archive restore 1-3 --yes": "esctl archive restore --log my.db 1-3 --yes",
    "esctl show 3 | jq .data": "esctl show --log my.db 3 | jq .data",
    "esctl replay s && esctl head": "esctl replay --log my.db s && esctl head --log my.db",
    "esctl head; esctl replay --where 'a; b'": "esctl head --log my.db; esctl replay --log my.db --where 'a; b'",
    "unset ESCTL_FORMAT && esctl head": "unset ESCTL_FORMAT && esctl head --log my.db",
}
AS_THEY_ARE = [
    "", "esctl --help", "esctl replay --help", "esctl archive --help", "esctl help time", "esctl init", "esctl demo",
    "esctl model check shop.toml", "esctl completion bash", "esctl replay --log other.db order-1",
    "esctl init --log my.db", "pip install zstandard", "unset ESCTL_FORMAT", "mkdir -p backups",
]  # fmt: skip


@pytest.mark.parametrize("fix", FIXES)
def test_a_fix_is_about_the_log_that_was_named(fix: str) -> None:
    assert about(fix, "my.db") == FIXES[fix]


@pytest.mark.parametrize("fix", AS_THEY_ARE)
def test_what_needs_no_log_or_names_one_is_left_as_it_is(fix: str) -> None:
    assert about(fix, "my.db") == fix


def test_commands_that_need_no_log_are_commands() -> None:
    assert set(NEEDS_NO_LOG) <= set(COMMANDS)


@given(log=WORDS)
@pytest.mark.parametrize("fix", ["esctl replay order-1", "esctl projection show orders | jq ."])
def test_a_log_of_any_name_is_named_as_one_word(fix: str, log: str) -> None:
    words = shlex.split(about(fix, log).removesuffix(" | jq ."))
    line = parse.read(words[1:])
    assert line.shared == {"log": log}
    assert line.own == parse.read(shlex.split(fix.removesuffix(" | jq ."))[1:]).own


@given(argv=st.lists(WORDS.filter(lambda word: word != "--")), more=st.lists(WORDS, max_size=2))
def test_the_same_again_is_the_whole_command_line_with_words_added(argv: list[str], more: list[str]) -> None:
    assert shlex.split(again(argv, shlex.join(more))) == ["esctl", *argv, *more]


def test_what_stands_behind_two_dashes_stays_last() -> None:
    assert again(["append", "-q", "--", "s", "T", "-1"], "--yes") == "esctl append -q --yes -- s T -1"


@pytest.mark.parametrize(
    ("argv", "fix"),
    [
        (["mark", "x", "--timeout", "1"], "esctl mark x --timeout 60"),
        (["--timeout=1", "mark", "x"], "esctl mark x --timeout 60"),
        (["mark", "--", "--timeout", "1"], "esctl mark --timeout 60 -- --timeout 1"),
    ],
)
def test_a_longer_wait_replaces_the_shorter_one(argv: list[str], fix: str) -> None:
    assert again(argv, "--timeout 60") == fix


def test_the_same_again_may_need_no_more_words() -> None:
    assert again(["replay", "a b"], "") == "esctl replay 'a b'"


@pytest.mark.parametrize(
    ("argv", "file", "fix"),
    [
        (["append"], None, "jq . | esctl append"),
        (["append", "-", "--each"], None, "jq . | esctl append - --each"),
        (["append", "a b", "--each"], "a b", "jq . | esctl append --each"),
        (["append", "a", "b", "c"], "b", "jq . | esctl append a - c"),
        (["append", "--type", "a", "a"], "a", "jq . | esctl append --type a"),
        (["append", "--log", "x y", "a"], "a", "jq . | esctl append --log 'x y'"),
    ],
)
def test_a_command_that_is_fed_reads_stdin_in_place_of_the_file(argv: list[str], file: str | None, fix: str) -> None:
    assert fed(argv, "jq .", file) == fix
