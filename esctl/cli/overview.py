"""The lists of commands that help prints, made from the generated table."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.cli.commands import SECTIONS
from esctl.cli.table import COMMANDS, GROUPS

ABOUT = "An event store in one SQLite file: append events, replay them, verify them."
TOPICS = {
    "cookbook": "recipes for shells, cron, jq, DuckDB and others",
    "environment": "environment variables, how the log is found, files",
    "exit-codes": "what each exit code means",
    "format": "the file and its hash chain; how to verify a log without esctl",
    "model": "the model file: upcasts, aggregates, rules, projections",
    "options": "the options that every command takes",
    "reactions": "handlers of events: what they get, what is promised",
    "time": "points in time: dates, positions, versions, marks",
}


def topics() -> list[str]:
    """The names of the topics."""
    return list(TOPICS)


def commands() -> str:
    """The text of `esctl --help`: one sentence per command or group, by section, and the topics."""
    text = f"Usage: esctl COMMAND [ARGS]...\n\n  {ABOUT}\n"
    for section, names in SECTIONS.items():
        text += f"\n{section}:\n" + _rows((name, _about(name)) for name in names)
    text += "\nTopics (esctl help TOPIC):\n" + _rows(TOPICS.items())
    return text + "\nA command's options and examples: esctl help COMMAND, or esctl COMMAND --help\n"


def group(name: str) -> str:
    """The text of `esctl GROUP --help`: the commands of a group."""
    text = f"Usage: esctl {name} COMMAND [ARGS]...\n\n  {_about(name)}\n\nCommands:\n"
    text += _rows((verb.removeprefix(f"{name} "), _about(verb)) for verb in subverbs(name))
    return text + f"\nA command's options and examples: esctl help {name} COMMAND\n"


def subverbs(name: str) -> list[str]:
    """The commands of a group, as `archive create`."""
    return [verb for verb in COMMANDS if verb.startswith(f"{name} ")]


def verbs() -> list[str]:
    """The commands and groups, in the order of help."""
    return [name for names in SECTIONS.values() for name in names]


def _about(verb: str) -> str:
    return GROUPS[verb] if verb in GROUPS else COMMANDS[verb][0]


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"  {name:12}{about}\n" for name, about in rows)
