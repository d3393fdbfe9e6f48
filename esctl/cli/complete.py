"""Completions for a command line. It runs on every press of Tab, so it has to be fast."""

from __future__ import annotations

import os
import time
from _thread import start_new_thread  # importing threading takes longer
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from esctl.cli import overview
from esctl.cli.parse import Option, arguments_of, by_flag, options_of, shared_options
from esctl.cli.table import COMMANDS, GROUPS
from esctl.errors import EsctlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.log import EventLog

MAX_WORDS = 200  # about what fits on a terminal
SECONDS = 1.0  # a longer one would only keep its user waiting
HEAP_BYTES = 64 * 1024 * 1024  # that SQLite may use for it
WORDS = {"expect": ("any", "none", "exists"), "extra": ("meta",)}  # of options that take free text too


def candidates(words: list[str]) -> list[str]:
    """Completions of the last word of `words`, the command line after `esctl`; the last word may be empty."""
    *before, word = words or [""]
    try:
        fitting = (name for name in _candidates(before, word) if name.startswith(word) and name.isprintable())
        return list(islice(fitting, MAX_WORDS))
    except (EsctlError, MemoryError, ValueError, TypeError):
        return []  # no log, a busy or a damaged one


def _candidates(before: list[str], word: str) -> Iterator[str]:
    verb, after = _verb(before)
    if verb in COMMANDS:
        return _of_command(verb, after, before, word)
    if verb in GROUPS:
        return iter([inner.removeprefix(f"{verb} ") for inner in overview.subverbs(verb)])
    return iter(() if verb else overview.verbs())


def _of_command(verb: str, after: list[str], before: list[str], word: str) -> Iterator[str]:
    """Candidates for the word after `after`, the words that follow the command."""
    arguments, known = arguments_of(verb), by_flag([*shared_options(), *options_of(verb)])
    last = after[-1] if after else ""
    if last in known and known[last].kind != "flag":
        return _values(verb, known[last], before, word)
    if word.startswith("-"):
        return iter([flag for flag in known if flag.startswith("--")])
    place = _count_positionals(after, known)
    at = min(place, len(arguments) - 1)
    if at < 0 or (place > at and not arguments[at].many):
        return iter(())
    return _arguments(verb, arguments[at], place, before, word)


def _verb(before: list[str]) -> tuple[str, list[str]]:
    """The command so far, and the words after it."""
    rest = list(before)
    known, verb = by_flag(shared_options()), ""
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            rest = rest[1:] if word in known and known[word].kind != "flag" else rest
            continue
        verb = f"{verb} {word}".strip()
        if verb not in GROUPS:
            break
    return verb, rest


def _count_positionals(words: list[str], known: dict[str, Option]) -> int:
    """The number of words that are neither options nor values of options."""
    count, rest = 0, list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and len(word) > 1:
            rest = rest[1:] if word in known and known[word].kind != "flag" else rest
        else:
            count += 1
    return count


def _values(verb: str, option: Option, before: list[str], prefix: str) -> Iterator[str]:
    """Candidates for the value of an option."""
    if option.kind == "choice":
        return iter(option.limits)
    if option.metavar == "POINT":
        return _of_log(before, _marks)
    sources: dict[str, Callable[[EventLog], Iterator[str]]] = {
        "type_": lambda log: log.store.facts().names("type", prefix),
        "types": lambda log: log.store.facts().names("type", prefix),
        "aggregate": lambda log: iter(log.definitions.model.aggregates),
    }
    if verb in ("append", "erase"):
        sources["stream"] = lambda log: log.store.facts().names("stream", prefix)
    return _of_log(before, sources[option.name]) if option.name in sources else iter(WORDS.get(option.name, ()))


def _arguments(verb: str, argument: Option, place: int, before: list[str], prefix: str) -> Iterator[str]:
    """Candidates for an argument."""
    if argument.kind == "choice":
        return iter(argument.limits)
    if verb == "help":
        return iter([*overview.topics(), *overview.verbs()])
    kind = {
        "projection": "projection",
        "archive": "segment",
        "upcast": "type",
        "react": "reaction",
        "reaction": "reaction",
        "dead-letter": "reaction" if place == 0 else "letter",
    }.get(verb.partition(" ")[0])
    kind = kind or ("stream" if argument.name in ("stream", "streams", "pattern") else argument.name)
    if verb == "append":
        kind = ("stream", "type", "")[min(place, 2)]
    sources: dict[str, Callable[[EventLog], Iterator[str]]] = {
        "projection": lambda log: iter(log.definitions.model.projections),
        "segment": _segments,
        "reaction": _reactions,
        "letter": _letters,
        "point": _marks,
        "type": lambda log: log.store.facts().names("type", prefix),
        "stream": lambda log: log.store.facts().names("stream", prefix),
    }
    return _of_log(before, sources[kind]) if kind in sources else iter(())


def _of_log(before: Sequence[str], source: Callable[[EventLog], Iterator[str]]) -> Iterator[str]:
    from esctl.cli.locate import find  # noqa: PLC0415 - loads apsw, for names from the log only
    from esctl.log import EventLog  # noqa: PLC0415
    from esctl.store.heap import limited  # noqa: PLC0415

    with limited(HEAP_BYTES), EventLog(find(_named(before)), timeout=0.2) as log:
        yield from source(log)


def watched(words: list[str]) -> list[str]:
    """`candidates`, in a process of its own, which ends without any if it takes too long."""
    start_new_thread(_end_after, (SECONDS,))
    return candidates(words)


def _end_after(seconds: float) -> None:
    """End the process: what a log has may keep SQLite from ever looking at the time."""
    time.sleep(seconds)
    os._exit(0)


def _named(before: Sequence[str]) -> str | None:
    """The value of --log on the command line so far."""
    for at, word in enumerate(before):
        if word in ("-l", "--log") and before[at + 1 : at + 2]:
            return before[at + 1]
        if word.startswith("--log="):
            return word.removeprefix("--log=")
    return None


def _marks(log: EventLog) -> Iterator[str]:
    from esctl.points.marks import marks  # noqa: PLC0415

    return iter(sorted(marks(log)))


def _segments(log: EventLog) -> Iterator[str]:
    if log.store.archive() is None:
        return iter(())
    from esctl.archive import listing  # noqa: PLC0415 - loads zstandard and msgspec, for logs with an archive

    return iter([segment.name for segment in listing.archived(log)])


def _reactions(log: EventLog) -> Iterator[str]:
    return iter(dict.fromkeys(reaction.name for reaction in log.store.reactions().all()))


def _letters(log: EventLog) -> Iterator[str]:
    return iter(dict.fromkeys(letter.stream for letter in log.store.reactions().letters()))
