"""Find how a state came about: its differences between two points, the first event after which a condition holds."""

from __future__ import annotations

from esctl.errors import DifferenceError, MisfitError, word
from esctl.events.query import Query
from esctl.events.record import Record
from esctl.log import EventLog
from esctl.sql.conditions import STATE_COLUMNS, check_condition
from esctl.sql.paths import readable
from esctl.states import snapshots
from esctl.states.folding import Folding, begin, bounds, ending, state
from esctl.store.snapshots import Snapshot

Halved = tuple[Snapshot | None, Snapshot | None, int]
"""The last snapshot at which a condition is false, the first at which it is true, and how many were tried."""


class Change(Record):
    """A path of the state that differs: its values before and after (JSON text; None: absent), and the position and
    type of the event that set the later value.
    """

    path: str
    before: str | None
    after: str | None
    position: int | None
    type: str | None

    @property
    def change(self) -> str:
        """Whether the path was added, is gone, or has changed: a missing value is not null."""
        return "added" if self.before is None else "gone" if self.after is None else "changed"


def diff(log: EventLog, since: Query, until: Query, aggregate: str | None = None) -> list[Change]:
    """The differences, by path, between the states at the ends of two queries over one stream."""
    until, _ = ending(log, until)
    before, after = state(log, since, aggregate), state(log, until, aggregate)
    differences = log.store.facts().differences(before.state, after.state)
    if not differences:
        return []
    folding = begin(log, until, aggregate, saved=False)
    origins = folding.fold.turned(folding.query, {path: later for path, _, later in differences})
    folding.fold.close()
    return [
        Change(readable(path), earlier, later, *origins.get(path, (None, None))) for path, earlier, later in differences
    ]


class Found(Record):
    """The version of the first event after which a condition holds, the state after it (JSON text), and the search:
    `looked`, the number of snapshots tried, and `folded`, the number of events folded.
    """

    version: int
    state: str
    looked: int
    folded: int


def bisect(log: EventLog, query: Query, when: str, aggregate: str | None = None, *, monotonic: bool = False) -> Found:
    """The first event of a stream after which a condition on the state holds.

    All states are looked at in order, up to the first that meets the condition. `monotonic` takes for granted that the
    condition, once true, stays true: a binary search over the stream's snapshots then finds two neighbours, and only
    the events between are folded. Raises DifferenceError if it never holds, MisfitError if it does not hold before an
    event that cannot be folded.
    """
    check_condition(when, STATE_COLUMNS, option="--when")
    folding = begin(log, query, aggregate, saved=False)
    try:
        found = _between(log, folding, query, when) if monotonic else None
        found = found or _first(folding, query, when)
    except MisfitError as error:
        from esctl.store import misfits  # noqa: PLC0415 - only a failure needs it

        model, raw = log.definitions.model, query.raw_schema
        raise misfits.in_fold(
            log.store, model, folding.aggregate, folding.fold, folding.stream, error, raw=raw
        ) from error
    finally:
        folding.fold.close()
    if found is None:
        raise DifferenceError(
            f"the condition holds after no event of {folding.stream}",
            why=f"--when {when}",
            fix=f"esctl state {word(folding.stream)} --each",
        )
    return found


def _between(log: EventLog, folding: Folding, query: Query, when: str) -> Found | None:
    """The first event, searched between two snapshots; None without snapshots, or if it is not found there."""
    halved = _halve(log, folding, query, when)
    return _first(folding, query, when, halved) if halved[2] else None


def _first(folding: Folding, query: Query, when: str, halved: Halved = (None, None, 0)) -> Found | None:
    """The first event after which a condition holds, between two snapshots (None: the beginning, or the end)."""
    low, high, looked = halved
    folding.fold.begin(folding.stream, low.values if low else None)
    first = low.version + 1 if low else 1
    query = query.replace(since_version=first, until_version=high.version if high else query.until_version)
    for version, _, _, text in folding.fold.each(query, when):
        return Found(version, text, looked, version - first + 1)
    return None


def _halve(log: EventLog, folding: Folding, query: Query, when: str) -> Halved:
    """Binary search: the last snapshot with the condition false, the first with it true, and how many were tried."""
    definitions = log.definitions
    usable = list(
        snapshots.usable(log.store, folding.stream, folding.program, definitions.upcasts, bounds(log, query))
    )[::-1]
    low, high, looked = -1, len(usable), 0
    while high - low > 1:
        middle, looked = (low + high) // 2, looked + 1
        folding.fold.begin(folding.stream, usable[middle].values)
        holds = any(True for _ in folding.fold.states(when))
        low, high = (low, middle) if holds else (middle, high)
    return usable[low] if low >= 0 else None, usable[high] if high < len(usable) else None, looked
