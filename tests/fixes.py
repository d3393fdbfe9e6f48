"""A fix that an error offers is a command that works when it is pasted."""

from __future__ import annotations

import json
import re
import shlex

from esctl.cli import parse
from esctl.cli.table import COMMANDS, GROUPS
from esctl.cli.typer_app import help_or_complaint

OTHERS = ("pip", "unset", "mkdir", "zstd", "gzip", "xz", "bzip2", "iconv", "jq")


def offered(stderr: str) -> list[str]:
    """The fixes on a stderr, in either form of errors."""
    found = []
    for line in stderr.splitlines():
        if line.startswith("fix: "):
            found.append(line.removeprefix("fix: "))
        elif line.startswith('{"error":'):
            found.append(json.loads(line)["fix"])
    return [fix for fix in found if fix]


def check(stderr: str) -> None:
    """Fail for a fix that is no command, or one that esctl would refuse as a wrong command line."""
    for fix in offered(stderr):
        assert problem(fix) is None, f"fix: {fix}\n{problem(fix)}"


def problem(fix: str) -> str | None:
    """What is wrong with a fix; None if it can be pasted."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", fix).replace("&&", "")
    if found := set(bare) & set("()<&`$#…"):
        return f"a shell stumbles over {found}"
    commands: list[list[str]] = [[]]
    for word in shlex.split(fix):
        if word in ("|", "&&", ";", ">"):
            commands.append([] if word != ">" else ["a file"])
        else:
            commands[-1].append(word)
    return next((wrong for command in commands if command[:1] != ["a file"] and (wrong := _problem(command))), None)


def _problem(words: list[str]) -> str | None:
    if words[:1] != ["esctl"]:
        return None if words and words[0] in OTHERS else f"{words[:1]} is no command"
    try:
        line = parse.read(words[1:])
    except parse.MalformedError as error:
        asked = any(word in parse.HELP for word in words)
        if asked and (not error.verb or error.verb in GROUPS or error.verb in COMMANDS):
            return None if error.verb not in COMMANDS else _helps(error)
        return f"esctl refuses {words}"
    placeholders = [
        value for value in line.own.values() if isinstance(value, str) and value.isupper() and len(value) > 2
    ]
    return f"nobody can paste {placeholders}" if placeholders and line.verb != "append" else None


def _helps(error: parse.MalformedError) -> str | None:
    return None if help_or_complaint(error.verb, error.words) else "no help"
