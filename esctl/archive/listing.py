"""List the segments of a log, and the ranges of positions that are not archived."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.errors import ConflictError, NotFoundError
from esctl.log import EventLog
from esctl.store.archive import Archive
from esctl.store.segments import Segment

Span = tuple[int, int]
"""A range of positions, inclusive."""


def hot(log: EventLog, until: int) -> list[Span]:
    """The ranges of positions up to `until` that are not archived."""
    spans, low = [], 1
    for segment in archived(log):
        spans.append((low, min(segment.first - 1, until)))
        low = max(low, segment.last + 1)
    return [(first, last) for first, last in [*spans, (low, until)] if first <= last]


def archived(log: EventLog) -> list[Segment]:
    """The segments of a log, in order of position."""
    archive = log.store.archive()
    return archive.segments if archive else []


def named(log: EventLog, name: str) -> Segment:
    """The segment with this name. Raises NotFoundError."""
    for segment in archived(log):
        if segment.name == name:
            return segment
    names = ", ".join(segment.name for segment in archived(log)[:5]) or "none"
    raise NotFoundError(f"there is no segment {name}", why=f"the archive has: {names}", fix="esctl archive list")


def chosen(log: EventLog, names: Iterable[str]) -> list[Segment]:
    """The segments with these names, each once. Raises NotFoundError."""
    return [named(log, name) for name in dict.fromkeys(names)]


def brief(segment: Segment) -> dict[str, object]:
    """A segment as a short record: positions, events, and where it is stored."""
    names = ("segment", "first_position", "last_position", "events", "where")
    full = record(segment)
    return {name: full[name] for name in names}


def again(log: EventLog, segment: Segment) -> tuple[Archive, Segment]:
    """The archive and a segment, read again in a transaction. Raises ConflictError if another process changed it."""
    archive, found = log.store.archive(), named(log, segment.name)
    if archive is None or found.sha256 != segment.sha256 or found.location != segment.location:
        raise ConflictError(f"the segment {segment.name} has just changed", again="")
    return archive, found


def record(segment: Segment) -> dict[str, object]:
    """A segment as a record, for output."""
    return {
        "segment": segment.name,
        "first_position": segment.first,
        "last_position": segment.last,
        "events": segment.events,
        "first_recorded": segment.first_recorded,
        "last_recorded": segment.last_recorded,
        "bytes": segment.size,
        "raw_bytes": segment.raw_size,
        "ratio": round(segment.raw_size / segment.size, 2),
        "where": segment.location or "log",
        "sha256": segment.sha256.hex(),
    }
