"""Transcripts in Markdown: the commands of console blocks, run for real, and what they print compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.runner import cache_home

_BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(text: str) -> Iterator[tuple[str, str, str]]:
    """The fenced blocks of a page: the language, the words after it, the content."""
    for match in _BLOCK.finditer(text):
        yield match[1], match[2] or "", match[3]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it is said to print; `> ` continues a command.

    Where a command prints lines that begin so, as diff does, they come after another line, and are output.
    """
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *rest = part.split("\n")
        while rest and rest[0].startswith("> "):
            command += "\n" + rest.pop(0)[2:]
        yield command, "\n".join(rest)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The commands of all console blocks of a page, each with what it is said to print."""
    for language, _, content in fences(text):
        if language == "console":
            yield from commands(content)


def matches(expected: str, printed: str) -> bool:
    """Whether a text was printed; `…` stands for whatever varies, and blanks at the ends of lines do not count."""
    pattern = ".*?".join(re.escape(part) for part in _trimmed(expected).split("…"))
    return re.fullmatch(pattern, _trimmed(printed), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))


def environment() -> dict[str, str]:
    """A terminal's environment in which this interpreter's esctl is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ESCTL_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "COLUMNS": "120", "TZ": "UTC", "XDG_CACHE_HOME": cache_home()}


def run(command: str, folder: Path, shell: str = "sh") -> str:
    """What a command prints to stdout and stderr, in the order in which it does."""
    return subprocess.run(
        [shell, "-c", command],
        check=False,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    ).stdout


def check(command: str, expected: str, folder: Path, shell: str = "sh") -> None:
    """Run a command and compare what it prints."""
    printed = run(command, folder, shell)
    assert matches(expected, printed), f"$ {command}\nexpected:\n{expected}\nprinted:\n{printed}"
