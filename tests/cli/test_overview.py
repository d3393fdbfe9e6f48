"""The lists of commands."""

from __future__ import annotations

import pytest

from esctl.cli import overview
from esctl.cli.commands import SECTIONS
from esctl.cli.generate import TABLE
from esctl.cli.table import COMMANDS, GROUPS


def test_the_list_has_every_command_once_in_its_section() -> None:
    text = overview.commands()
    for section, names in SECTIONS.items():
        part = text.partition(f"\n{section}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines()] == list(names)


@pytest.mark.parametrize("page", [overview.commands, *(lambda name=name: overview.group(name) for name in GROUPS)])
def test_every_line_of_a_list_fits_80_columns_and_is_one_whole_sentence(page: object) -> None:
    assert callable(page)
    for line in page().splitlines():
        assert len(line) <= 80
        assert "..." not in line.replace("[ARGS]...", "")
    for verb, row in COMMANDS.items():
        assert row[0].endswith("."), verb


def test_a_group_lists_its_commands() -> None:
    assert "\n  create      " in overview.group("archive")
    assert overview.subverbs("snapshot") == ["snapshot take", "snapshot list", "snapshot verify", "snapshot prune"]


def test_the_topics_are_the_pages_and_the_shared_options() -> None:
    pages = {path.stem for path in TABLE.parents[1].joinpath("help").glob("*.md")}
    assert set(overview.topics()) == pages | {"options"}
