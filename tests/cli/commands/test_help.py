"""`esctl help`: topics as pages of text."""

from __future__ import annotations

from importlib.resources import files

import pytest

from tests.conftest import Esctl

PAGES = {
    page.name.removesuffix(".md"): page.read_text(encoding="utf-8")
    for page in files("esctl.help").iterdir()
    if page.name.endswith(".md")
}


def test_the_topics_that_the_contract_promises_are_there() -> None:
    assert {"exit-codes", "time", "format", "model", "environment", "cookbook", "reactions"} <= set(PAGES)


def test_without_a_topic_all_are_listed(esctl: Esctl) -> None:
    done = esctl("help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = done.stdout.partition("\nTopics (esctl help TOPIC):\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == sorted([*PAGES, "options"])


@pytest.mark.parametrize("topic", sorted(PAGES))
def test_a_topic_is_printed_as_it_is_written(esctl: Esctl, topic: str) -> None:
    done = esctl("help", topic)
    assert (done.returncode, done.stdout, done.stderr) == (0, PAGES[topic], "")


@pytest.mark.parametrize("topic", sorted(PAGES))
def test_a_page_is_plain_text_with_a_title(topic: str) -> None:
    assert PAGES[topic].startswith("# ")
    assert PAGES[topic].endswith("\n")
    assert all(line.isprintable() for line in PAGES[topic].split("\n"))


def test_every_exit_code_of_the_errors_is_explained() -> None:
    from esctl import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EsctlError)]
    codes = {line.split()[0] for line in PAGES["exit-codes"].splitlines() if line.startswith("  ")}
    assert {str(kind.exit_code) for kind in kinds} | {"0", "130", "141", "143"} <= codes


def test_a_topic_that_is_not_there_is_refused_and_a_near_one_suggested(esctl: Esctl) -> None:
    done = esctl("help", "formt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean format" in done.stderr
    done = esctl("help", "zzz")
    assert (done.returncode, done.stdout) == (2, "")
    assert all(topic in done.stderr for topic in PAGES)


def test_help_needs_no_log(esctl: Esctl) -> None:
    done = esctl("help", "time", env={"ESCTL_LOG": "/nowhere/log.db"})
    assert (done.returncode, done.stdout) == (0, PAGES["time"])
