"""`esctl replay`: events out, as they stood at any moment."""

from __future__ import annotations

import typer

from esctl import output
from esctl.cli.options import opened
from esctl.errors import UsageError
from esctl.query import MAX_POSITION, Query
from esctl.stores.base import Form
from esctl.times import Point, parse_point

EXAMPLES = """Examples:
  esctl replay order-1012                 one stream
  esctl replay --category order --type OrderPlaced --since 2026-02-01
  esctl replay order-1012 --until v3      as it was at version 3
  esctl replay --as-of 2026-02-01T12:00:00Z | jq .data      the log as it stood then
  esctl replay --last 5 --reverse         the newest five, newest first"""


def command(
    ctx: typer.Context,
    stream: str | None = typer.Argument(None, metavar="[STREAM]", help="One stream; without it the whole log."),
    category: str | None = typer.Option(None, metavar="C", help="The streams C and C-…"),
    type_: list[str] = typer.Option([], "--type", metavar="T", help="Only this type; may be repeated."),
    since: str | None = typer.Option(None, metavar="POINT", help="From this time, date, #position or vVersion on."),
    until: str | None = typer.Option(None, metavar="POINT", help="Up to and including this point."),
    as_of: str | None = typer.Option(None, metavar="POINT", help="The log as it stood then (recorded time)."),
    limit: int | None = typer.Option(None, min=0, metavar="N", help="The first N."),
    last: int | None = typer.Option(None, min=0, metavar="N", help="The newest N, in order."),
    reverse: bool = typer.Option(False, "--reverse", help="Newest first."),
    hash_: bool = typer.Option(False, "--hash", help="With salt and hash, so that anyone can recompute the chain."),
    system: bool = typer.Option(False, "--system", help="With the log's own streams."),
) -> None:
    """Print events in position order."""
    query = _query(
        stream,
        [(since, "since"), (until, "until"), (as_of, "as_of")],
        category=category,
        types=tuple(type_),
        limit=limit,
        last=last,
        reverse=reverse,
        system=system,
    )
    format_ = ctx.obj.rendering
    with opened(ctx) as log:
        if format_ in ("table", "csv", "tsv"):
            output.events(log.read(query), format_, hashes=hash_)
        else:
            form: Form = "data" if format_ == "raw" else "hash" if hash_ else "line"
            output.lines(log.lines(query, form), format_)


def _query(stream: str | None, points: list[tuple[str | None, str]], **filters: object) -> Query:
    """The query that the options say."""
    bounds: dict[str, object] = {}
    for text, name in points:
        if text is not None:
            _bound(bounds, name, parse_point(text, upper=name != "since"))
    return Query(stream=stream, **bounds, **filters)  # type: ignore[arg-type]  # each name is one of Query's


def _bound(bounds: dict[str, object], name: str, point: Point) -> None:
    """Bring one point into the bounds; where two bound the same thing, the narrower holds."""
    if point.time is not None:
        bounds["as_of" if name == "as_of" else f"{name}_time"] = point.time
        return
    side = "since" if name == "since" else "until"
    if point.version is not None:
        key, value = f"{side}_version", point.version
    else:
        key, value = side, point.position if point.position is not None else MAX_POSITION
    already = bounds.get(key, value)
    if not isinstance(already, int):  # pragma: no cover - both are numbers by now
        raise UsageError(f"{key} is bound twice")
    bounds[key] = max(already, value) if side == "since" else min(already, value)
