"""Whole logs copied: restored from a backup, forked at a point, made smaller."""

from __future__ import annotations

import json
from pathlib import Path

from esctl.events import system
from esctl.events.event import Head, ranges
from esctl.log import EventLog
from esctl.projections import admin
from esctl.store.files import draft_of


def backup(log: EventLog, target: Path, *, segments: bool = True) -> Head:
    """Copy a log into a new file while it is in use: with the segments that lie outside in it, or else (`segments`
    False) naming the files that they are. Return its head.
    """
    with draft_of(target) as draft:
        return _copy(log, draft, segments=segments)


def restore(source: EventLog, target: Path) -> Head:
    """Make a log of a backup, under a name that is not taken, and note in it where it comes from; return its head."""
    return _copied(source, target, system.LOG_RESTORED, None)


def fork(log: EventLog, target: Path, position: int) -> Head:
    """Make a log of what this one held up to a position, to try what would have been; return its head.

    It keeps the log's id and chain: a head that was written down before the position proves it too.
    """
    return _copied(log, target, system.LOG_FORKED, position)


def _copied(source: EventLog, target: Path, type_: str, position: int | None) -> Head:
    """The copy appears under its name when it is whole, its first own event in it."""
    with draft_of(target) as draft:
        head = _copy(source, draft)
        with EventLog(draft, write=True) as copy:
            if position is not None:
                _cut(copy, position)
                copy.store.compact()
            data = {"from": f"{head[0]}:{head[1].hex()}"} | ({} if position is None else {"until": position})
            copy.record(type_, data)
            admin.settle(copy)
            return copy.head()


def _copy(source: EventLog, draft: Path, *, segments: bool = True) -> Head:
    """Copy a log into an empty file; its head as of then."""
    source.store.copy_to(draft)
    with EventLog(draft, write=True) as copy:
        if copy.store.archive() is not None:
            from esctl.archive import moving  # noqa: PLC0415 - zstandard and msgspec, for logs that need them

            (moving.embed if segments else moving.refer)(copy, source)
        return copy.head()


def _cut(copy: EventLog, position: int) -> None:
    """Have a copy end at a position."""
    if copy.store.archive() is not None:
        from esctl.archive import moving  # noqa: PLC0415

        moving.cut(copy, position)
    later: dict[int, list[int]] = {}
    for erased, _, event in copy.store.facts().erasures():
        if erased <= position < event:
            later.setdefault(event, []).append(erased)
    said = {event[0]: event for event in copy.system_events(system.PAYLOAD_ERASED)} if later else {}
    with copy.transaction():
        copy.store.cut(position)
        admin.cut(copy, position)
        for number, positions in later.items():  # what was erased since then is gone in the copy too, and it says so
            _, _, _, _, _, _, _, _, data, meta = said[number]
            erased_since = {"positions": ranges(positions), "reason": json.loads(data).get("reason")}
            copy.store.archiving().record_erased(positions, copy.say(system.PAYLOAD_ERASED, erased_since, meta)[0])
