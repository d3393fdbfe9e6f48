"""Make and change reactions: everything but running them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from esctl.errors import ConflictError, UnavailableError, UsageError, VerificationError, word
from esctl.log import EventLog
from esctl.points.located import located
from esctl.reactions import lease
from esctl.reactions.definition import Definition, check_name, defined, unknown
from esctl.store.errors import BUSY
from esctl.store.reactions import BLOCKING, Reaction, new

BEGINNING, NOW = "beginning", "now"


def declare(
    log: EventLog,
    name: str,
    definition: Definition | None,
    *,
    start: str | None,
    group: tuple[int, int] = (1, 1),
    changed: bool = False,
    allow_loop: bool = False,
) -> tuple[Reaction, Definition]:
    """The reaction with a name, or the part of it that `group` names; a new one is made, and begins at `start`.

    Without a `definition`, it is the one that the log has. Raises UsageError for another one, unless `changed`, for one
    that is refused, and for a new reaction without a start.
    """
    check_name(name)
    with log.transaction():
        store = log.store.reactions()
        found = store.all(name)
        if definition is None:
            if not found:
                raise unknown(name, [one.name for one in store.all()])
            definition = defined(found[0])
        if not found:
            definition.check(allow_loop=allow_loop)
            store.create(_parts(log, name, definition, _start(log, name, start), group[1]))
        elif (differing := defined(found[0]).changes(definition)) and not changed:
            raise UsageError(
                f"the reaction {name} was declared with another {', '.join(differing)}",
                why="it may have handled other events, or with another command; to go on with the new one from its"
                " position, say --changed",
                again="--changed",
            )
        elif differing:
            definition.check(allow_loop=allow_loop)
            _refuse_with_letters(log, name, differing)
            for one in found:
                store.replace(one._replace(definition=definition.text()))
        parts = _regrouped(log, name, group[1])
    return next(one for one in parts if one.part == group[0]), definition


def _refuse_with_letters(log: EventLog, name: str, differing: Sequence[str]) -> None:
    """Which events wait behind a dead letter follows from --key and --independent."""
    if {"--key", "--independent"} & {*differing} and log.store.reactions().letters(name, states=BLOCKING):
        raise ConflictError(
            f"the reaction {name} has dead letters, so its --key and --independent cannot change",
            why="the events that wait behind them would not be found any more",
            fix=f"esctl dead-letter list {word(name)}",
        )


def _parts(log: EventLog, name: str, definition: Definition, position: int, parts: int) -> list[Reaction]:
    hash_ = log.store.places().hash_at(position)
    one = new(name, definition.text(), log.log_id, position, hash_)
    return [one._replace(part=part, parts=parts) for part in range(1, parts + 1)]


def _start(log: EventLog, name: str, start: str | None) -> int:
    """The position behind which a new reaction begins."""
    if start is None:
        raise UsageError(
            f"{name} is a new reaction: say where it begins",
            why="--from beginning handles all events of the log, --from now only new ones; a point is the first event",
            again="--from now",
        )
    if start in (BEGINNING, NOW):
        return 0 if start == BEGINNING else log.head().position
    return located(log, start, before=True).position


def _regrouped(log: EventLog, name: str, parts: int) -> list[Reaction]:
    """The parts of a reaction. Another number of them is possible only while all stand at one position."""
    store = log.store.reactions()
    found = store.all(name)
    if len(found) == parts:
        return found
    even = len({one.position for one in found}) == 1 and all(one.done == "[]" for one in found)
    if not even or store.letters(name):
        raise ConflictError(
            f"the reaction {name} has {len(found)} part{'s' * (len(found) != 1)}, not {parts}",
            why="the number can change only while all parts stand at one position, without dead letters",
            fix=f"esctl reaction status {word(name)}",
        )
    if any(lease.is_running(log, one) for one in found):
        raise UnavailableError(f"the reaction {name} is running", why="stop it to change the number of its parts")
    store.delete(name)
    store.create(_parts(log, name, defined(found[0]), found[0].position, parts))
    return store.all(name)


def check_place(log: EventLog, reaction: Reaction) -> None:
    """Raise VerificationError unless a reaction was here: a file that was put back by hand may lack what it handled."""
    is_in = reaction.log_id == log.log_id and reaction.position <= log.head().position
    if not is_in or log.store.places().hash_at(reaction.position) != reaction.hash:
        raise VerificationError(
            f"the reaction {reaction.name} was at another event than this log has at position {reaction.position}",
            why="the log was replaced, or cut; the reaction may have handled events that are not in it",
            fix=f"esctl reaction reset {word(reaction.name)} --from '#{reaction.position + 1:d}' --yes",
        )


@contextmanager
def held(log: EventLog, reaction: Reaction, seconds: float) -> Iterator[Reaction]:
    """A block in which this process runs a reaction; it waits so many seconds for another one."""
    with lease.locked(log, reaction.name, reaction.part, seconds):
        found = [one for one in log.store.reactions().all(reaction.name) if one.part == reaction.part]
        if found and found[0].paused:
            raise UnavailableError(
                f"the reaction {reaction.name} is paused",
                why="it handles nothing until it is resumed",
                fix=f"esctl reaction resume {word(reaction.name)}",
            )
        if not found:
            raise unknown(reaction.name, [])
        check_place(log, found[0])
        yield lease.take(log, reaction.name, reaction.part, seconds)


def named(log: EventLog, name: str) -> list[Reaction]:
    """The parts of a reaction. Raises NotFoundError."""
    store = log.store.reactions()
    found = store.all(name)
    if not found:
        raise unknown(name, [one.name for one in store.all()])
    return found


def set_paused(log: EventLog, name: str, *, paused: bool) -> None:
    """Pause a reaction, or let it go on; a process that runs it notices."""
    with log.transaction():
        for one in named(log, name):
            log.store.reactions().replace(one._replace(paused=int(paused)))


def _refuse_running(log: EventLog, reactions: Sequence[Reaction]) -> None:
    for one in reactions:
        if lease.is_running(log, one):
            raise UnavailableError(
                f"the reaction {one.name} is running", why=f"process {one.holder} has it; stop it first", code=BUSY
            )


def reset(log: EventLog, name: str, position: int) -> None:
    """Let a reaction go on behind a position, without letters. Raises UnavailableError while it is running."""
    with log.transaction():
        found = named(log, name)
        _refuse_running(log, found)
        store = log.store.reactions()
        definition = defined(found[0])
        store.delete(name)
        store.create(
            one._replace(paused=found[0].paused) for one in _parts(log, name, definition, position, found[0].parts)
        )


def drop(log: EventLog, name: str) -> None:
    """Forget a reaction. Raises UnavailableError while it is running."""
    with log.transaction():
        _refuse_running(log, named(log, name))
        log.store.reactions().delete(name)
