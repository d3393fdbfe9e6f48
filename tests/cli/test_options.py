"""Options that are declared once: each has users, and none is declared again beside it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest

from esctl.cli import commands, options

DECLARED = {name: value for name, value in vars(options).items() if get_origin(value) is Annotated}
SOURCES = [path.read_text(encoding="utf-8") for path in Path(*commands.__path__).rglob("*.py")]


def help_of(name: str) -> str:
    return str(get_args(DECLARED[name])[1].help)


@pytest.mark.parametrize("name", DECLARED)
def test_an_option_is_used(name: str) -> None:
    imported = {
        alias.name
        for source in SOURCES
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module == "esctl.cli.options"
        for alias in node.names
    }
    assert name in imported


@pytest.mark.parametrize("name", DECLARED)
def test_an_option_is_declared_nowhere_else(name: str) -> None:
    assert [source for source in SOURCES if help_of(name) in source] == []
