"""The position of a point; of a time by when events were recorded, or by when they happened.

An imported history was recorded on one day, whenever it happened. So a time by which little was recorded and much
happened is reported, and `--by time` locates it where events are in the order of their times.
"""

from __future__ import annotations

from esctl.errors import UsageError
from esctl.events.query import Query
from esctl.events.record import Record
from esctl.log import EventLog
from esctl.points.marks import position_of
from esctl.points.points import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.store.facts import Happened

RECORDED, TIME = "recorded", "time"


class Located(Record):
    """A position, what a user may not expect of it (else empty), and whether there are only events that were recorded
    later, which is what an imported history looks like.
    """

    position: int
    note: str = ""
    imported: bool = False


def located(log: EventLog, text: str, *, by: str | None = None, before: bool = False) -> Located:
    """The position of the newest event at a point, or with `before`, before it.

    Raises UsageError for what is no point, and with `by` TIME for one at which events are not in order.
    """
    if by not in (None, RECORDED, TIME):
        raise UsageError(f"by is {by!r}", why=f"expected {RECORDED} or {TIME}")
    point = parsed(log, text, upper=not before)
    if point.time is None:
        if by is not None:
            what = f"--by goes with a time, and {text} is a {'version' if point.position is None else 'position'}"
            raise UsageError(what, fix="esctl help time")
        return Located(max(0, position_of(log, point) - before))
    moment = _earlier(point.time) if before else point.time
    happened, word = log.store.facts().happened(moment), "before" if before else "by"
    if by == TIME:
        note = "" if happened.events else f"nothing happened {word} {text}"
        return Located(_in_order(log, text, moment, happened), note)
    imported = happened.events > 0 and not happened.recorded
    return Located(log.store.places().position_at(moment), _note(text, happened, word), imported)


def _earlier(moment: str) -> str:
    """A microsecond earlier. The calendar has nothing before its first moment, and the log nothing at it."""
    from datetime import datetime, timedelta  # noqa: PLC0415

    from esctl.events.times import utc_text  # noqa: PLC0415

    at = datetime.fromisoformat(moment)
    return moment if at.replace(tzinfo=None) == datetime.min else utc_text(at - timedelta(microseconds=1))  # noqa: DTZ901


def _in_order(log: EventLog, text: str, moment: str, happened: Happened) -> int:
    """The position of the last event that happened by a moment, if no later one is before it."""
    if happened.later is None or happened.later > happened.last:
        return happened.last
    later = log.event(str(happened.later)).event
    query = Query(since=later.position, until_time=moment, limit=1, raw_schema=True)
    event = next(event for event, _, _ in log.store.read(query))
    raise UsageError(
        f"events are not in the order of their times up to {text}",
        why=f"#{event.position} {event.type} in {event.stream} happened at {event.time},"
        f" but comes after #{later.position} {later.type} in {later.stream}, which happened at {later.time}",
        fix=f"esctl replay --since '#{later.position:d}' --until '#{event.position:d}' --fields position,time,type",
    )


def _note(text: str, happened: Happened, word: str) -> str:
    """What was found by the recorded time, where it is less than what happened."""
    if happened.events <= happened.recorded:
        return f"nothing was recorded by {text}" if word == "by" and not happened.recorded else ""
    few = happened.recorded
    found = f"{few} event{' was' if few == 1 else 's were'}" if few else "nothing was"
    then = f"{happened.events} event{'s' * (happened.events != 1)} happened {word} then"
    return f"{found} recorded {word} {text}; {then}; --by time counts these"
