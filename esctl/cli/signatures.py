"""The signatures of commands as Typer reads them; the source of the generated table and of help."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperArgument, TyperOption
from typer.main import get_params_convertors_ctx_param_name_from_function

from esctl.cli import options
from esctl.cli.declare import Shared

Param = TyperArgument | TyperOption


def function_of(verb: str) -> Callable[..., Any]:
    """The function of a command, `replay` or `archive create`."""
    function: Callable[..., Any] = module_of(verb).command
    return function


def module_of(verb: str) -> Any:
    """The module of a command, or the package of a group."""
    return import_module(f"esctl.cli.commands.{verb.replace(' ', '.').replace('-', '_')}")


def params(function: Callable[..., Any]) -> list[Param]:
    """A function's parameters as Typer objects, without the shared options."""
    names = {"typer": typer, "Annotated": Annotated, "Literal": typing.Literal, "Shared": Shared, "Any": Any}
    names |= vars(options) | vars(inspect.getmodule(function))
    hints = get_type_hints(function, names, include_extras=True)
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=_as_list(hints[parameter.name]))
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "shared")
    ]

    def declared() -> None:
        """Carries the signature with evaluated annotations."""

    declared.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    found, _, _ = get_params_convertors_ctx_param_name_from_function(declared)
    return list(found)


def _as_list(annotation: Any) -> Any:
    """Typer knows only lists; commands declare a Sequence, so that the default can be a tuple."""
    inner, *rest = typing.get_args(annotation)
    if typing.get_origin(inner) is Sequence:
        (item,) = typing.get_args(inner)
        return Annotated[list[item], rest[0]]  # type: ignore[valid-type]  # evaluated at run time
    return annotation


def shared_params() -> list[Param]:
    """The options that every command takes."""
    return params(Shared.__init__)
