"""The words that may come next on a command line, for the shells' completion; asked on every press of Tab, so quick."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

from esctl.errors import EsctlError

MOST = 200  # what a terminal can show at once, about
_STREAM_FIRST = ("replay", "append", "streams", "state", "diff", "bisect", "decide")
_GROUPS = ("model", "upcast", "snapshot", "projection", "archive")  # they have commands of their own
_VALUES = {
    "-o": ("auto", "table", "ndjson", "json", "csv", "tsv", "raw", "cloudevents"),
    "--color": ("auto", "always", "never"),
    "--error-format": ("text", "json"),
    "--expect": ("any", "none", "exists"),
    "--input": ("auto", "ndjson", "cloudevents"),
    "--extra": ("meta",),
}
_VALUES["--format"] = _VALUES["-o"]
_POINTS = ("--since", "--until", "--as-of", "--from", "--to")


def candidates(words: list[str]) -> list[str]:
    """What may stand in place of the last of `words` (the command line after `esctl`, the last perhaps empty)."""
    *before, word = words or [""]
    try:
        return list(islice((name for name in _candidates(before, word) if name.startswith(word)), MOST))
    except EsctlError:
        return []  # no log, or a busy one: nothing to say


def _candidates(before: list[str], word: str) -> Iterator[str]:
    if not before:
        from esctl.cli.app import verbs  # noqa: PLC0415 - Typer, for what the log does not know

        yield from verbs()
    elif before[-1] in _VALUES:
        yield from _VALUES[before[-1]]
    elif before[-1] == "--type":
        yield from _names(before, "type", word)
    elif before[-1] in _POINTS:
        yield from _marks(before)
    elif before[-1] == "--aggregate":
        yield from _aggregates(before)
    elif word.startswith("-"):
        from esctl.cli.app import options  # noqa: PLC0415

        yield from options(*before[: 2 if before[0] in _GROUPS else 1])
    elif before[0] in _GROUPS:
        yield from _of_group(before, word)
    elif before[0] == "help":
        from esctl.cli.help import topics  # noqa: PLC0415

        yield from topics()
    elif before[0] in _STREAM_FIRST and len(before) == 1:
        yield from _names(before, "stream", word)
    elif before[0] == "append" and len(before) == 2:
        yield from _names(before, "type", word)


def _names(before: list[str], kind: str, prefix: str) -> Iterator[str]:
    from esctl.cli.locate import find  # noqa: PLC0415
    from esctl.log import EventLog  # noqa: PLC0415

    with EventLog(find(_log(before)), timeout=0.2) as log:
        yield from log.store.names("stream" if kind == "stream" else "type", prefix)


def _marks(before: list[str]) -> Iterator[str]:
    from esctl.cli.locate import find  # noqa: PLC0415
    from esctl.log import EventLog  # noqa: PLC0415
    from esctl.marks import marks  # noqa: PLC0415

    with EventLog(find(_log(before)), timeout=0.2) as log:
        yield from sorted(marks(log))


def _of_group(before: list[str], word: str) -> Iterator[str]:
    """The commands of a group, and what these take."""
    if len(before) == 1:
        from esctl.cli.app import subverbs  # noqa: PLC0415

        yield from subverbs(before[0])
    elif before[0] == "snapshot":
        yield from _names(before, "stream", word)
    elif before[0] == "projection" and before[1] != "list":
        yield from _projections(before)
    elif before[0] == "archive" and before[1] not in ("create", "list"):
        yield from _segments(before)
    elif before[:2] == ["upcast", "show"]:
        yield from _names(before, "type", word)


def _aggregates(before: list[str]) -> Iterator[str]:
    from esctl.cli.locate import find  # noqa: PLC0415
    from esctl.log import EventLog  # noqa: PLC0415

    with EventLog(find(_log(before)), timeout=0.2) as log:
        yield from log.definitions.model.aggregates


def _projections(before: list[str]) -> Iterator[str]:
    from esctl.cli.locate import find  # noqa: PLC0415
    from esctl.log import EventLog  # noqa: PLC0415

    with EventLog(find(_log(before)), timeout=0.2) as log:
        yield from log.definitions.model.projections


def _segments(before: list[str]) -> Iterator[str]:
    from esctl import archive  # noqa: PLC0415
    from esctl.cli.locate import find  # noqa: PLC0415
    from esctl.log import EventLog  # noqa: PLC0415

    with EventLog(find(_log(before)), timeout=0.2) as log:
        yield from (segment.name for segment in archive.archived(log))


def _log(before: list[str]) -> str | None:
    """The log that the command line names so far."""
    for option, value in pairwise(before):
        if option in ("-l", "--log"):
            return value
    return None
