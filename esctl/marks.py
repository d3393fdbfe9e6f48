"""Marks: names for positions, kept in the log as events of its own."""

from __future__ import annotations

import os

import msgspec

from esctl.errors import NotFoundError, UsageError
from esctl.events import check_name
from esctl.log import EventLog
from esctl.times import Point, parse_point

SET = "MarkSet"


class Mark(msgspec.Struct, frozen=True):
    """A name for a position, who gave it and when (UTC text)."""

    name: str
    position: int
    time: str
    actor: str | None = None


def marks(log: EventLog) -> dict[str, Mark]:
    """All marks by name, each where it was set last."""
    found: dict[str, Mark] = {}
    for event in log.system_events(SET):
        data, meta = msgspec.json.decode(event[8]), msgspec.json.decode(event[9])
        found[data["name"]] = Mark(data["name"], data["position"], event[6], meta.get("actor"))
    return found


def set_mark(log: EventLog, name: str, point: Point) -> Mark:
    """Name a point; a mark of that name moves there. Raises UsageError for a name that reads as another point."""
    check_name("mark", name)
    if _means_a_point(name):
        raise UsageError(f"{name!r} cannot name a mark", why="it already means a point in time", fix="esctl help time")
    position = position_of(log, point)
    data = msgspec.json.encode({"name": name, "position": position}).decode()
    meta = msgspec.json.encode({"actor": actor()}).decode()
    receipt = log.record(SET, data, meta)
    return Mark(name, position, log.event(str(receipt[0]))[0][6], actor())


def _means_a_point(name: str) -> bool:
    """Whether a name has the form of another point, be it of a day that does not exist."""
    try:
        parse_point(name, upper=True)
    except UsageError as error:
        return "does not exist" in error.what
    return True


def position_of(log: EventLog, point: Point) -> int:
    """The position of the newest event at a point: for a time, of those recorded by then."""
    if point.time is not None:
        return log.store.position_at(point.time)
    if point.position is None:
        raise UsageError(
            "a version is a point in one stream",
            why="a mark names a position of the log, such as #120, or a time",
            fix="esctl mark --help",
        )
    if point.position > log.head()[0]:
        raise NotFoundError(f"there is no position {point.position}", why=f"the log ends at {log.head()[0]}")
    return point.position


def position_named(log: EventLog, name: str) -> int | None:
    """The position of a mark; None if there is none of that name."""
    mark = marks(log).get(name)
    return mark.position if mark else None


def actor() -> str:
    """Who runs this process, as far as its environment says."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"
