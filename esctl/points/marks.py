"""Marks: names for positions, stored in the log as its own events."""

from __future__ import annotations

from esctl.errors import NotFoundError, UsageError
from esctl.events import system
from esctl.events.event import check_name
from esctl.log import EventLog
from esctl.store.json import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.point import Point


class Mark:
    """A named position: who set it, and when (UTC text)."""

    __slots__ = ("name", "position", "time", "actor")  # noqa: RUF023 - the order in which they are printed

    def __init__(self, name: str, position: int, time: str, actor: str | None = None) -> None:
        self.name, self.position, self.time, self.actor = name, position, time, actor

    def record(self) -> dict[str, object]:
        """The mark as a record, for output."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mark) and self.record() == other.record()

    __hash__ = None  # type: ignore[assignment]  # no set of marks is needed

    def __repr__(self) -> str:
        return f"Mark({', '.join(f'{name}={value!r}' for name, value in self.record().items())})"


def marks(log: EventLog) -> dict[str, Mark]:
    """All marks by name, each where it was set last."""
    found: dict[str, Mark] = {}
    for event in log.system_events(system.MARK_SET):
        (name, position), (who,) = values(event.data, "name", "position"), values(event.meta, "actor")
        assert isinstance(name, str)
        assert isinstance(position, int)
        found[name] = Mark(name, position, event.time, None if who is None else str(who))
    return found


def set_mark(log: EventLog, name: str, position: int) -> Mark:
    """Name a position; an existing mark of that name moves. Raises UsageError for a name that is another point."""
    check_name("mark", name)
    if _means_a_point(name):
        raise UsageError(f"{name!r} cannot name a mark", why="it already means a point in time", fix="esctl help time")
    receipt = log.record(system.MARK_SET, {"name": name, "position": position})
    return Mark(name, position, log.event(str(receipt.position)).event.time, system.actor())


def _means_a_point(name: str) -> bool:
    """Whether a name has the form of another point, even of a day that does not exist."""
    from esctl.events.point import NO_SUCH_MOMENT, parse_point  # noqa: PLC0415 - re and datetime; reading marks needs neither

    try:
        parse_point(name, upper=True)
    except UsageError as error:
        return error.code == NO_SUCH_MOMENT
    return True


def position_of(log: EventLog, point: Point) -> int:
    """The position of the newest event at a point; for a time, of the last event recorded by then."""
    if point.time is not None:
        return log.store.places().position_at(point.time)
    if point.position is None:
        raise UsageError(
            "a version is a point in one stream",
            why="a mark names a position of the log, such as #120, or a time",
            fix="esctl mark --help",
        )
    if point.position > log.head().position:
        raise NotFoundError(f"there is no position {point.position}", why=f"the log ends at {log.head().position}")
    return point.position


def position_named(log: EventLog, name: str) -> int | None:
    """The position of a mark; None if there is no such mark."""
    mark = marks(log).get(name)
    return mark.position if mark else None
