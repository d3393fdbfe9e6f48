"""What an erasure has removed, and the search for it in the parts of the log's file that belong to nothing.

A row is cleared where it stood. But SQLite may have copied it before, when it shared out rows among pages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from esctl.log import EventLog
from esctl.model.compiled import LIVE

TRACES = ""  # an entry among the leftover files: the log's file itself may still contain traces of erased payloads
WINDOW = 8  # bytes: no shorter piece of a payload is searched for
MAX_REMOVED = 16 * 1024 * 1024  # bytes to search for; beyond them, and beyond these bytes to search in, all that is
MAX_LEFTOVER = 256 * 1024  # left in pages counts as found
ATTEMPTS = 20  # to find the WAL empty, which other writers fill
NEIGHBOURS = 50  # events and snapshots, whose payloads show what erased ones have in common with others


class Traces:
    """The bytes that one erasure removes, the streams, and the positions of the events that say so."""

    def __init__(self) -> None:
        self._removed: list[bytes] = []
        self._size = 0
        self.events = array("q")
        self.streams: set[str] = set()  # of the erased events
        self.is_whole = True  # else the file may have traces of an erasure of which nothing is known

    def begin(self, log: EventLog) -> None:
        """Within an erasing transaction: record in the log that its file may have traces from now on."""
        if not self.events:
            self.is_whole = self.is_whole and not unfinished(log) and not _is_in_rows(log)
        log.store.archiving().leave(TRACES)

    def are_all(self, log: EventLog) -> bool:
        """Within a transaction: whether the file can have traces of this erasure only."""
        return self.is_whole and log.store.archiving().erased_by(self.events)

    def committed(self, event: int | None) -> None:
        """A transaction has erased payloads, as the event at a position says; None: it had none to erase."""
        if event is not None:
            self.events.append(event)

    def add(self, *parts: str | bytes | memoryview | None) -> None:
        """Bytes that are removed, and stood side by side."""
        joined = b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts if part is not None)
        self._size += len(joined)
        if self._size > MAX_REMOVED:
            self.is_whole = False
            self._removed.clear()
        if self.is_whole:
            self._removed.append(joined)

    def found_in(self, leftover: Iterable[bytes], remaining: Iterable[bytes]) -> bool:
        """Whether a piece of what was removed is in some bytes. A piece that remaining payloads have, too, is none: the
        bytes may be a copy of these.
        """
        windows, size = set[bytes](), 0
        for part in leftover:
            size += len(part)
            if size > MAX_LEFTOVER or not self.is_whole:
                return True
            windows.update(_windows(part))
        if not windows:
            return False
        found = {window for text in self._removed for window in _windows(text) if window in windows}
        for text in remaining if found else ():
            found.difference_update(_windows(text))
        return bool(found)


def _windows(text: bytes) -> Iterator[bytes]:
    return (text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1))


def remove(log: EventLog, traces: Traces | None = None) -> bool | None:
    """Remove what an erasure has left in the log's file. Return whether it is gone; if not, another process reads it.
    None: another process has erased more, and projections have to be rebuilt first.

    Without `traces`, whatever is left in pages counts as found. The file is written anew only if something is found.
    """
    for _ in range(ATTEMPTS):
        if not log.store.compact()[2]:  # it removes unused pages, and empties the WAL
            return False
        with log.transaction():
            found = _is_found(log, traces or Traces())
            if found is False:
                return ended(log)
        if found:
            break
    if not log.store.compact(full=True)[2]:
        return False
    with log.transaction():
        return ended(log)


def ended(log: EventLog) -> bool | None:
    """Within a transaction: record that the file has no traces, unless rows of projections are some (None)."""
    if _is_in_rows(log):
        return None
    log.store.archiving().removed(TRACES)
    return True


def _is_in_rows(log: EventLog) -> bool:
    """Whether a projection still has rows from before an erasure."""
    return any(version.state == LIVE and not version.fingerprint for version in log.store.projections().versions())


def _is_found(log: EventLog, traces: Traces) -> bool | None:
    """Whether something is found in the log's file; None if its newest part is still in the WAL."""
    archiving = log.store.archiving()
    if not archiving.is_in_file():
        return None
    traces.is_whole = traces.are_all(log)
    # Frames are compressed, and older ones unknown: a piece of them is not recognized. What handlers wrote of events
    # that have failed earlier is unknown, too.
    if any(True for _ in archiving.leftover_bytes("frames", "reactions", "dead_letters")):
        return True
    return traces.found_in(
        archiving.leftover_bytes("events", "snapshots", "projections"), archiving.neighbours(NEIGHBOURS)
    )


def unfinished(log: EventLog) -> bool:
    """Whether an erasure was stopped before its traces were removed."""
    return TRACES in log.store.archiving().leftovers()
