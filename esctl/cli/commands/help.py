"""`esctl help`: the list of commands, one command, or a topic."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence

import esctl
from esctl.cli import overview
from esctl.cli.table import COMMANDS, GROUPS
from esctl.errors import UsageError, word
from esctl.output import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl help                               lists the commands and the topics
  esctl help append                        a command; same as esctl append --help
  esctl help archive create
  esctl help format                        a topic: the file and its hash chain"""


def command(
    shared: Shared,  # noqa: ARG001 - every command gets them
    *,
    words: Annotated[
        Sequence[str], typer.Argument(metavar="[COMMAND | TOPIC]", help="What to explain. [the list]")
    ] = (),
) -> None:
    """Explain a command or a topic; with no argument, list them."""
    console.text(page(" ".join(words)))


def page(subject: str) -> str:
    """The help text of a command, a group of commands or a topic."""
    if not subject:
        return overview.commands()
    if subject in COMMANDS or subject == "options":
        from esctl.cli import typer_app  # noqa: PLC0415 - loads Typer; lists and topics do not need it

        return typer_app.help_of(subject) if subject in COMMANDS else typer_app.help_of_shared()
    if subject in overview.topics():
        folder = os.path.dirname(esctl.__file__)
        with open(os.path.join(folder, "help", f"{subject}.md"), encoding="utf-8") as file:
            return _fitted(file.read())
    if subject in GROUPS:  # after the topics: `model` is both
        return overview.group(subject)
    near = difflib.get_close_matches(subject, [*overview.topics(), *COMMANDS, *GROUPS], 2, 0.5)
    raise UsageError(
        f"there is no command or topic {subject!r}",
        why=f"did you mean {' or '.join(near)}?" if near else f"the topics are {', '.join(overview.topics())}",
        fix=f"esctl help {word(near[0])}" if near else "esctl help",
    )


def _fitted(text: str) -> str:
    """A topic in lines that fit the terminal; in a pipe, as it is written."""
    if not sys.stdout.isatty():
        return text
    import shutil  # noqa: PLC0415 - for a terminal only

    from esctl.output.terminal import fitted  # noqa: PLC0415 - the same

    return fitted(text, shutil.get_terminal_size().columns)
