"""Make a query of points and filters as a user types them."""

from __future__ import annotations

from esctl.events.query import Query
from esctl.log import EventLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.point import Point


def query_of(
    log: EventLog,
    stream: str | None = None,
    *,
    since: str | None = None,
    until: str | None = None,
    as_of: str | None = None,
    **filters: object,
) -> Query:
    """The query for these bounds and filters; points may be marks. Raises UsageError for an invalid point."""
    bounds: dict[str, object] = {}
    for text, name in ((since, "since"), (until, "until"), (as_of, "as_of")):
        if text is not None:
            _bound(bounds, name, parsed(log, text, upper=name != "since"))
    return Query(stream=stream, **bounds, **filters)  # type: ignore[arg-type]  # each name is one of Query's


def parsed(log: EventLog, text: str, *, upper: bool) -> Point:
    """A point as a user types it; it may be a mark."""
    from esctl.events.point import parse_point  # noqa: PLC0415 - re and datetime; a query without points needs neither
    from esctl.points.marks import position_named  # noqa: PLC0415

    return parse_point(text, upper=upper, mark=lambda name: position_named(log, name))


def _bound(bounds: dict[str, object], name: str, point: Point) -> None:
    """Add a point to the bounds; if --until and --as-of bound the same column, the narrower bound wins."""
    if point.time is not None:
        bounds["as_of" if name == "as_of" else f"{name}_time"] = point.time
        return
    side = "since" if name == "since" else "until"
    key, value = (side, point.position) if point.position is not None else (f"{side}_version", point.version)
    other = bounds.get(key)
    bounds[key] = min(other, value) if isinstance(other, int) and isinstance(value, int) else value
