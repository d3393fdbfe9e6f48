"""Dead letters: events that were given up for now, each the place from which others of its stream wait."""

from __future__ import annotations

from collections.abc import Sequence

from esctl.errors import NotFoundError, UsageError, word
from esctl.log import EventLog
from esctl.reactions import lease
from esctl.reactions.admin import named
from esctl.reactions.definition import defined
from esctl.reactions.items import Source
from esctl.store.reactions import BLOCKING, PARKED, RETRY, RETRYING, SKIP, STOPPED, Letter

BRIEF = ("reaction", "stream", "position")
ALL_EVENTS = 2**31


def listed(log: EventLog, name: str | None = None) -> list[dict[str, object]]:
    """A record per dead letter, of one reaction or all."""
    if name is not None:
        named(log, name)
    found = log.store.reactions().letters(name)
    return [record(log, letter) for letter in found if letter.state != RETRYING]


def record(log: EventLog, letter: Letter) -> dict[str, object]:
    """A dead letter as a record."""
    return {
        "reaction": letter.name,
        "stream": letter.stream,
        "position": letter.position,
        "type": log.event(str(letter.position)).event.type,
        "state": letter.state,
        "attempts": letter.attempts,
        "status": letter.status,
        "error": letter.error,
        "since": letter.since,
    }


def brief(letter: Letter) -> dict[str, object]:
    """What names a dead letter."""
    return {"reaction": letter.name, "stream": letter.stream, "position": letter.position}


def show(log: EventLog, name: str, reference: str) -> dict[str, object]:
    """A dead letter by its stream or position, with the end of the handler's stderr, and how many events wait."""
    letter = _chosen(log, name, [reference], (*BLOCKING, STOPPED, RETRYING))[0]
    return record(log, letter) | {"waiting": waiting(log, letter), "stderr": letter.stderr}


def waiting(log: EventLog, letter: Letter) -> int:
    """How many events wait behind a letter."""
    (reaction,) = [one for one in named(log, letter.name) if one.part == letter.part]
    definition = defined(reaction)
    if letter.state not in BLOCKING or definition.independent:
        return 0
    since, until = letter.position + 1, log.head().position
    return len(Source(log, reaction, definition).behind(letter, since, until, events=ALL_EVENTS))


def choose(log: EventLog, name: str, references: Sequence[str], *, all_: bool) -> list[Letter]:
    """The parked letters of these streams or positions, or all. Raises NotFoundError."""
    if all_ == bool(references):
        raise UsageError(
            "name the streams or positions of dead letters, or --all", fix=f"esctl dead-letter list {word(name)}"
        )
    return _chosen(log, name, None if all_ else references, (PARKED,))


def _chosen(log: EventLog, name: str, references: Sequence[str] | None, states: Sequence[str]) -> list[Letter]:
    named(log, name)
    found = log.store.reactions().letters(name, states=states)
    if references is None:
        return found
    chosen: list[Letter] = []
    for reference in references:
        mine = [one for one in found if reference in (one.stream, str(one.position), f"#{one.position}")]
        if not mine:
            raise NotFoundError(
                f"the reaction {name} has no dead letter of {reference}",
                why="a dead letter is named by its stream or its position",
                fix=f"esctl dead-letter list {word(name)}",
            )
        chosen += mine
    return chosen


def ask(log: EventLog, letters: Sequence[Letter], *, skip: bool) -> None:
    """Let the reaction handle parked letters again, or with `skip`, go on with the events behind them."""
    store = log.store.reactions()
    with log.transaction():
        names = {letter.name for letter in letters}
        parked = {(one.key, one.position) for name in names for one in store.letters(name, states=(PARKED,))}
        for letter in letters:
            if (letter.key, letter.position) in parked:
                store.put(letter._replace(state=SKIP if skip else RETRY))


def is_running(log: EventLog, name: str) -> bool:
    """Whether a process runs the reaction."""
    return any(lease.is_running(log, one) for one in named(log, name))
