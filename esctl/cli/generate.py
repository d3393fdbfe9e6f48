"""Write `table.py`, what the parser knows of the commands, from the signatures that declare them.

python -m esctl.cli.generate            # --check: exit 1 if table.py is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from typing import Any

from esctl.cli.commands import SECTIONS
from esctl.cli.signatures import Param, function_of, module_of, params, shared_params

TABLE = Path(__file__).with_name("table.py")
HEADER = '''"""What the parser, completion and help know of the commands. Generated: python -m esctl.cli.generate

An option or argument: its parameter's name, its flags (an argument has none), its kind, the choices or the least and
greatest value, whether it may be repeated, whether it has to be there, and what help calls its value.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = tuple[str, tuple[str, ...], str, tuple[Any, ...], bool, bool, str]

# ruff: noqa: Q000
# fmt: off
'''


def verbs() -> Iterator[str]:
    """The commands, `replay` or `archive create`, in the help's order."""
    for name in names():
        module = module_of(name)
        yield from (f"{name} {verb}" for verb in module.COMMANDS) if _is_group(module) else (name,)


def _is_group(module: Any) -> bool:
    return hasattr(module, "__path__")


def names() -> Iterator[str]:
    """The commands and groups of the sections."""
    for section in SECTIONS.values():
        yield from section


def row(param: Param) -> tuple[object, ...]:
    """What the table says of an option or argument."""
    kind, limits = _kind(param)
    is_option = param.param_type_name == "option"
    flags = tuple(param.opts) if is_option else ()
    many = param.nargs == -1 or bool(getattr(param, "multiple", False))
    return (str(param.name), flags, kind, limits, many, bool(param.required), str(param.metavar or ""))


def _kind(param: Param) -> tuple[str, tuple[object, ...]]:
    if getattr(param, "is_flag", False):
        return "flag", ()
    type_: Any = param.type
    if (choices := getattr(type_, "choices", None)) is not None:
        return "choice", tuple(str(choice) for choice in choices)
    kind = {"int": "int", "float": "float", "str": "text"}[type_.name.removesuffix(" range")]
    return kind, (getattr(type_, "min", None), getattr(type_, "max", None)) if kind in ("int", "float") else ()


def first_sentence(text: str | None) -> str:
    """The first line of a docstring, which is its first sentence."""
    return (text or "").strip().splitlines()[0].strip()


def table() -> str:
    """The text of table.py."""
    commands: dict[str, tuple[object, ...]] = {}
    for verb in verbs():
        rows = [row(param) for param in params(function_of(verb))]
        options = tuple(made for made in rows if made[1])
        arguments = tuple(made for made in rows if not made[1])
        commands[verb] = (first_sentence(function_of(verb).__doc__), options, arguments)
    groups = {name: first_sentence(module_of(name).__doc__) for name in names() if _is_group(module_of(name))}
    shared = tuple(row(param) for param in shared_params())
    made = {
        "SHARED: tuple[Row, ...]": shared,
        "GROUPS": groups,
        "COMMANDS: dict[str, tuple[str, tuple[Row, ...], tuple[Row, ...]]]": commands,
    }
    parts = (f"{name} = {pformat(value, width=116, sort_dicts=False, indent=1)}\n" for name, value in made.items())
    return HEADER + "".join(parts)


def main(arguments: list[str]) -> int:
    """Write the table, or compare it."""
    made = table()
    if arguments == ["--check"]:
        return 0 if TABLE.read_text(encoding="utf-8") == made else 1
    TABLE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
