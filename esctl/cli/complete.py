"""The words that may come next on a command line, for the shells' completion; asked on every press of Tab, so quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from esctl.cli import overview
from esctl.cli.parse import Option, arguments_of, by_flag, options_of, shared_options
from esctl.cli.table import COMMANDS, GROUPS
from esctl.errors import EsctlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.log import EventLog

MOST = 200  # what a terminal can show at once, about
WORDS = {"expect": ("any", "none", "exists"), "extra": ("meta",)}  # of options that take other values too


def candidates(words: list[str]) -> list[str]:
    """What may stand in place of the last of `words` (the command line after `esctl`, the last perhaps empty)."""
    *before, word = words or [""]
    try:
        return list(islice((name for name in _candidates(before, word) if name.startswith(word)), MOST))
    except EsctlError:
        return []  # no log, or a busy one: nothing to say


def _candidates(before: list[str], word: str) -> Iterator[str]:
    verb, behind = _verb(before)
    if verb in COMMANDS:
        return _of_command(verb, behind, before, word)
    if verb in GROUPS:
        return iter([inner.removeprefix(f"{verb} ") for inner in overview.subverbs(verb)])
    return iter(() if verb else overview.verbs())


def _of_command(verb: str, behind: list[str], before: list[str], word: str) -> Iterator[str]:
    """What may follow the words behind a command."""
    arguments, known = arguments_of(verb), by_flag([*shared_options(), *options_of(verb)])
    last = behind[-1] if behind else ""
    if last in known and known[last].kind != "flag":
        return _values(verb, known[last], before, word)
    if word.startswith("-"):
        return iter([flag for flag in known if flag.startswith("--")])
    loose = _loose(behind, known)
    at = min(loose, len(arguments) - 1)
    if at < 0 or (loose > at and not arguments[at].many):
        return iter(())
    return _arguments(verb, arguments[at], loose, before, word)


def _verb(before: list[str]) -> tuple[str, list[str]]:
    """The command that is there so far, and the words behind it."""
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


def _loose(words: list[str], known: dict[str, Option]) -> int:
    """How many words are neither options nor their values."""
    count, rest = 0, list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and len(word) > 1:
            rest = rest[1:] if word in known and known[word].kind != "flag" else rest
        else:
            count += 1
    return count


def _values(verb: str, option: Option, before: list[str], prefix: str) -> Iterator[str]:
    """What may follow an option."""
    if option.kind == "choice":
        return iter(option.limits)
    if option.metavar == "POINT":
        return _of_log(before, _marks)
    asked: dict[str, Callable[[EventLog], Iterator[str]]] = {
        "type_": lambda log: log.store.facts().names("type", prefix),
        "types": lambda log: log.store.facts().names("type", prefix),
        "aggregate": lambda log: iter(log.definitions.model.aggregates),
    }
    if verb in ("append", "erase"):
        asked["stream"] = lambda log: log.store.facts().names("stream", prefix)
    return _of_log(before, asked[option.name]) if option.name in asked else iter(WORDS.get(option.name, ()))


def _arguments(verb: str, argument: Option, place: int, before: list[str], prefix: str) -> Iterator[str]:
    """What may stand where an argument does."""
    if argument.kind == "choice":
        return iter(argument.limits)
    if verb == "help":
        return iter([*overview.topics(), *overview.verbs()])
    kind = {"projection": "projection", "archive": "segment", "upcast": "type"}.get(verb.partition(" ")[0])
    kind = kind or ("stream" if argument.name in ("stream", "streams", "pattern") else argument.name)
    if verb == "append":
        kind = ("stream", "type", "")[min(place, 2)]
    asked: dict[str, Callable[[EventLog], Iterator[str]]] = {
        "projection": lambda log: iter(log.definitions.model.projections),
        "segment": _segments,
        "point": _marks,
        "type": lambda log: log.store.facts().names("type", prefix),
        "stream": lambda log: log.store.facts().names("stream", prefix),
    }
    return _of_log(before, asked[kind]) if kind in asked else iter(())


def _of_log(before: Sequence[str], ask: Callable[[EventLog], Iterator[str]]) -> Iterator[str]:
    from esctl.cli.locate import find  # noqa: PLC0415 - apsw, for what the table does not know
    from esctl.log import EventLog  # noqa: PLC0415

    with EventLog(find(_named(before)), timeout=0.2) as log:
        yield from ask(log)


def _named(before: Sequence[str]) -> str | None:
    """The log that the command line names so far."""
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
    from esctl.archive import listing  # noqa: PLC0415 - zstandard and msgspec, for a log that has an archive

    return iter([segment.name for segment in listing.archived(log)])
