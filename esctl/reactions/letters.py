"""The events of a running reaction that failed: those to be tried again, and those that are parked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from esctl.reactions.items import Item
from esctl.reactions.order import Lanes
from esctl.store.reactions import (
    BLOCKING,
    PARKED,
    RETRY,
    RETRYING,
    SKIP,
    Letter,
    Reaction,
    Reactions,
)

READ_AT_ONCE = 16  # letters whose events are read into lanes at the same time

Place = tuple[str, int]


class Letters:
    """The letters of one reaction. This process owns them all, but for a change of a parked one to RETRY or SKIP.

    A letter from which others wait is a position in the events of its key: those from there on are not done, whatever
    the reaction's own position. When it is due, they are handled, and the letter moves on, until there are none.
    """

    def __init__(self, store: Reactions, reaction: Reaction, *, independent: bool) -> None:
        self._store, self._name, self._part = store, reaction.name, reaction.part
        self.independent = independent
        self._tried: dict[Place, Letter] = {}  # events in the reaction's own place
        self._parked: dict[str | Place, Letter] = {}
        self._due: dict[str | Place, None] = {}  # those of them that are not just PARKED
        self._changes: dict[Place, Letter | None] = {}  # that are not saved; None: deleted
        for letter in store.letters(self._name, self._part):
            if letter.state in BLOCKING:
                self._set(letter)
            else:
                self._tried[letter.key, letter.position] = letter

    def _id(self, letter: Letter) -> str | Place:
        return (letter.key, letter.position) if self.independent else letter.key

    def _set(self, letter: Letter) -> None:
        id_ = self._id(letter)
        self._parked[id_] = letter
        if letter.state == PARKED:
            self._due.pop(id_, None)
        else:
            self._due[id_] = None

    def look(self) -> None:
        """Notice which letters other commands want to be due."""
        for letter in self._store.letters(self._name, self._part, (RETRY, SKIP)):
            mine = self._parked.get(self._id(letter))
            if mine is not None and mine.state == PARKED and mine.position == letter.position:
                self._set(letter)

    # Events in the reaction's own place

    def tried(self, item: Item) -> tuple[int, int]:
        """How often an event was tried in all, and how often in the run of retries that a stop interrupted."""
        letter = self._tried.get((item.key, item.position))
        if letter is None:
            return 0, 0
        return letter.attempts, letter.attempts if letter.state == RETRYING else 0

    def block(self, key: str) -> bool:
        """Whether events of a key wait behind a letter."""
        return key in self._parked

    def put(self, letter: Letter, item: Item) -> None:
        """Note a failed attempt; of an event that was parked before, its letter keeps its state."""
        if item.letter:
            self._replace(self._parked[self._id(letter)], letter._replace(state=RETRY))
        else:
            self._tried[letter.key, letter.position] = letter
            self._changes[letter.key, letter.position] = letter

    def drop(self, item: Item) -> None:
        """An event in the reaction's own place is done."""
        if self._tried.pop((item.key, item.position), None) is not None:
            self._changes[item.key, item.position] = None

    # Parked events

    def park(self, letter: Letter, item: Item) -> None:
        """Park an event, or park again what was due."""
        parked = letter._replace(state=PARKED)
        self._tried.pop((letter.key, letter.position), None)
        if item.letter and not self.independent:
            self._replace(self._parked[letter.key], parked)
        else:
            self._set(parked)
            self._changes[letter.key, letter.position] = parked

    def _replace(self, old: Letter, new: Letter) -> None:
        if old.position != new.position:
            self._changes[old.key, old.position] = None
            self._parked.pop(self._id(old))
        self._set(new)
        self._changes[new.key, new.position] = new

    @property
    def are_due(self) -> bool:
        """Whether any letter is due."""
        return bool(self._due)

    def to_read(self, lanes: Lanes) -> Iterator[Letter]:
        """Letters that are due, and whose next events are to be read."""
        for id_ in list(islice(self._due, READ_AT_ONCE)):
            if not lanes.has(self._parked[id_].key):
                yield self._parked[id_]

    def is_behind(self, letter: Letter) -> bool:
        """Whether the event of a letter is done, and those behind it follow."""
        return letter.state == SKIP

    def end(self, letter: Letter, reached: int) -> int:
        """The position up to which events wait behind a letter."""
        return letter.position if self.independent else reached

    def advance(self, item: Item) -> None:
        """An event that was parked, or waited behind a parked one, is done."""
        if self.independent:
            self.forget(self._parked[item.key, item.position])
            return
        old = self._parked[item.key]
        self._replace(old, old._replace(
            position=item.position, stream=item.event.stream, state=SKIP, attempts=0, status=None, error=None,
            stderr=None, next_try=None,
        ))  # fmt: skip

    def forget(self, letter: Letter) -> None:
        """Nothing waits behind a letter any more."""
        self._parked.pop(self._id(letter))
        self._due.pop(self._id(letter), None)
        self._changes[letter.key, letter.position] = None

    def save(self) -> None:
        """Store what has changed, within a transaction."""
        for (key, position), letter in self._changes.items():
            if letter is None:
                self._store.remove(self._name, self._part, key, position)
            else:
                self._store.put(letter)
        self._changes.clear()
