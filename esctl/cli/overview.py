"""The lists of commands that help prints, out of the generated table."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.cli.commands import SECTIONS
from esctl.cli.table import COMMANDS, GROUPS

ABOUT = "An event store in one SQLite file: append facts, replay them, prove them."
TOPICS = {
    "cookbook": "recipes for shells, cron, jq, DuckDB and others",
    "environment": "the variables that esctl reads",
    "exit-codes": "what each exit code means",
    "format": "the file and its hash chain, to verify a log without esctl",
    "model": "the language of models: upcasts, aggregates, projections",
    "options": "the options that every command takes",
    "time": "what a point in a log may be",
}


def topics() -> list[str]:
    """The topics that there are."""
    return list(TOPICS)


def commands() -> str:
    """What `esctl --help` prints: every command or group with one sentence, by section, and the topics."""
    made = f"Usage: esctl COMMAND [ARGS]...\n\n  {ABOUT}\n"
    for section, names in SECTIONS.items():
        made += f"\n{section}:\n" + _rows((name, _about(name)) for name in names)
    made += "\nTopics (esctl help TOPIC):\n" + _rows(TOPICS.items())
    return made + "\nA command's options and examples: esctl help COMMAND, or esctl COMMAND --help\n"


def group(name: str) -> str:
    """What `esctl GROUP --help` prints: the commands of a group."""
    made = f"Usage: esctl {name} COMMAND [ARGS]...\n\n  {_about(name)}\n\nCommands:\n"
    made += _rows((verb.removeprefix(f"{name} "), _about(verb)) for verb in subverbs(name))
    return made + f"\nA command's options and examples: esctl help {name} COMMAND\n"


def subverbs(name: str) -> list[str]:
    """The commands of a group, with its name before them."""
    return [verb for verb in COMMANDS if verb.startswith(f"{name} ")]


def verbs() -> list[str]:
    """The words that may follow `esctl`: commands and groups, in the help's order."""
    return [name for names in SECTIONS.values() for name in names]


def _about(verb: str) -> str:
    return GROUPS[verb] if verb in GROUPS else COMMANDS[verb][0]


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"  {name:12}{about}\n" for name, about in rows)
