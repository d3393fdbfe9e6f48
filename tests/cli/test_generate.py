"""The table is what the signatures say."""

from __future__ import annotations

from esctl.cli import generate
from esctl.cli.commands import SECTIONS
from esctl.cli.table import COMMANDS, GROUPS


def test_the_table_is_current() -> None:
    assert generate.main(["--check"]) == 0, "run: python -m esctl.cli.generate"


def test_every_module_of_a_command_is_in_a_section() -> None:
    folder = generate.TABLE.with_name("commands")
    modules = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    assert modules == {name.replace("-", "_") for names in SECTIONS.values() for name in names}


def test_commands_of_groups_have_both_names() -> None:
    assert "archive create" in COMMANDS
    assert {verb.partition(" ")[0] for verb in COMMANDS if " " in verb} == set(GROUPS)
