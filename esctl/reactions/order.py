"""In which order events are handled, and which of them are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count

from esctl.events.event import ranges
from esctl.reactions.items import Item

EVENTS, BYTES = 1000, 16 * 1024 * 1024  # that are read at most, beyond the first event that is not done
AT_ONCE = 250  # events that are read at a time


class _Place:
    """A position that was read, and how many events of it are not done (an event may be read as several)."""

    __slots__ = ("open", "position")

    def __init__(self, position: int) -> None:
        self.position, self.open = position, 0


class Window:
    """Which events were read, and which of these are done.

    Every event up to `prefix` is done; up to `reached` everything was read.
    """

    def __init__(self, position: int, done: Iterable[Sequence[int]] = ()) -> None:
        """`done` are ranges beyond the position that were done by an earlier run."""
        self.reached = position
        self.size = 0  # bytes of the events that are not done
        self._places: deque[_Place] = deque()
        self._open: dict[int, _Place] = {}
        self._earlier = [(low, high) for low, high in done]

    @property
    def prefix(self) -> int:
        """Everything up to this position is done."""
        return self._places[0].position - 1 if self._places else self.reached

    @property
    def is_full(self) -> bool:
        """Whether no more should be read for now: reading a few events takes as long as reading many."""
        return len(self._places) > EVENTS - AT_ONCE or self.size >= BYTES

    @property
    def is_empty(self) -> bool:
        """Whether all that was read is done."""
        return not self._places

    @property
    def room(self) -> int:
        """How many bytes may be read."""
        return BYTES - self.size

    def add(self, items: Iterable[Item], reached: int) -> list[Item]:
        """Note events that were read, in order, and the position up to which there are no others; return those that
        are not done.
        """
        fresh = []
        for item in items:
            if not self._places or self._places[-1].position != item.position:
                self._places.append(_Place(item.position))
            if any(low <= item.position <= high for low, high in self._earlier):
                continue
            place = self._open[item.position] = self._places[-1]
            place.open += 1
            self.size += len(item.line)
            fresh.append(item)
        self.reached = reached
        self._forget()
        return fresh

    def done(self, item: Item) -> None:
        """Note that an event is done."""
        place = self._open[item.position]
        place.open -= 1
        self.size -= len(item.line)
        if not place.open:
            del self._open[item.position]
            self._forget()

    def _forget(self) -> None:
        while self._places and not self._places[0].open:
            self._places.popleft()
        self._earlier = [pair for pair in self._earlier if pair[1] > self.prefix]

    def beyond(self) -> list[tuple[int, int]]:
        """The positions beyond the prefix that are done, as ranges; those that an earlier run did included."""
        found = {place.position for place in self._places if not place.open}
        for low, high in self._earlier:
            found.update(range(max(low, self.prefix + 1), high + 1))
        return ranges(sorted(found))


class Lanes:
    """The events that wait, in a lane for each key: only the first of a lane may be handled, one at a time."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Item]] = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()  # keys of which an event is handled, or waits for its next try
        self._later: list[tuple[float, int, Item]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def add(self, item: Item) -> None:
        """Add an event behind the others of its lane."""
        lane = self._lanes.get(item.key)
        if lane is None:
            lane = self._lanes[item.key] = deque()
            if item.key not in self._busy:
                self._ready.append(item.key)
        lane.append(item)

    def has(self, key: str) -> bool:
        """Whether anything waits in a lane, or is handled."""
        return key in self._busy or key in self._lanes

    @property
    def is_ready(self) -> bool:
        """Whether an event may be handled now."""
        return bool(self._ready)

    def take(self, fits: Callable[[str], bool] = lambda _: True) -> Item | None:
        """The next event of a lane whose key fits; the lane is then busy until `free` or `put_back`."""
        for _ in range(len(self._ready)):
            key = self._ready.popleft()
            if fits(key):
                self._busy.add(key)
                return self._first(key)
            self._ready.append(key)
        return None

    def _first(self, key: str) -> Item:
        lane = self._lanes[key]
        item = lane.popleft()
        if not lane:
            del self._lanes[key]
        return item

    def put_back(self, item: Item) -> None:
        """Return an event that was taken and not handled: it is the next of its lane."""
        self._lanes.setdefault(item.key, deque()).appendleft(item)
        self._busy.discard(item.key)
        self._ready.append(item.key)

    def again(self, item: Item, at: float) -> None:
        """Handle an event once more at a time; until then its lane stays busy."""
        heappush(self._later, (at, next(self._numbers), item))

    def due(self, now: float) -> None:
        """Return the events whose time has come to their lanes."""
        while self._later and self._later[0][0] <= now:
            self.put_back(heappop(self._later)[2])

    @property
    def next_due(self) -> float | None:
        """When the next event is to be handled once more."""
        return self._later[0][0] if self._later else None

    @property
    def waiting(self) -> list[Item]:
        """The events that are to be handled once more."""
        return [item for _, _, item in self._later]

    def free(self, key: str) -> None:
        """The event that was taken is done: the next one of its lane may be handled."""
        self._busy.discard(key)
        if key in self._lanes:
            self._ready.append(key)

    def clear(self, key: str) -> list[Item]:
        """Remove and return all that waits in a lane, behind the event that was taken."""
        return list(self._lanes.pop(key, ()))
