"""The signatures of commands are what the table says of them."""

from __future__ import annotations

import pytest

from esctl.cli import parse
from esctl.cli.signatures import function_of, module_of, params, shared_params
from esctl.cli.table import COMMANDS, GROUPS


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_commands_parameters_are_its_rows_of_the_table(verb: str) -> None:
    found = params(function_of(verb))
    options = {param.name for param in found if param.param_type_name == "option"}
    arguments = [param.name for param in found if param.param_type_name == "argument"]
    assert options == {option.name for option in parse.options_of(verb)}
    assert arguments == [argument.name for argument in parse.arguments_of(verb)]


def test_the_shared_options_are_the_tables_and_no_commands_own() -> None:
    assert [param.name for param in shared_params()] == [option.name for option in parse.shared_options()]


@pytest.mark.parametrize("verb", COMMANDS)
def test_what_may_be_repeated_is_a_list_to_typer(verb: str) -> None:
    many = {row.name for row in [*parse.options_of(verb), *parse.arguments_of(verb)] if row.many}
    assert {param.name for param in params(function_of(verb)) if param.nargs == -1 or param.multiple} == many


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_a_package_and_has_no_function(group: str) -> None:
    assert not hasattr(module_of(group), "command")
