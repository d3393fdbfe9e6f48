"""`esctl help TOPIC`: what is not about a single command."""

from __future__ import annotations

import difflib
from importlib.resources import files

import typer

from esctl import output
from esctl.errors import UsageError

EXAMPLES = """Examples:
  esctl help                              lists the topics
  esctl help format                       the file and the chain, for those who verify a log without esctl"""


def topics() -> list[str]:
    """The topics that there are."""
    return sorted(page.name.removesuffix(".md") for page in files("esctl.help").iterdir() if page.name.endswith(".md"))


def command(topic: str | None = typer.Argument(None, metavar="[TOPIC]", help="One of the topics.")) -> None:
    """Explain a topic; without one, list them."""
    known = topics()
    if topic is None:
        output.text("Topics:\n" + "".join(f"  esctl help {name}\n" for name in known))
    elif topic in known:
        output.text((files("esctl.help") / f"{topic}.md").read_text(encoding="utf-8"))
    else:
        near = difflib.get_close_matches(topic, known, 2, 0.4)
        raise UsageError(
            f"there is no topic {topic!r}",
            why=f"did you mean {' or '.join(near)}?" if near else f"the topics are {', '.join(known)}",
            fix="esctl help",
        )
