"""`esctl replay`: events out, as they stood at any moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import typer

from esctl import cloudevents, fields, output
from esctl.cli.options import opened
from esctl.errors import DifferenceError, UsageError
from esctl.log import EventLog
from esctl.points import query_of
from esctl.query import MAX_POSITION, Query
from esctl.stores.base import Form, SealedEvent

T = TypeVar("T")

EXAMPLES = """Examples:
  esctl replay order-1012                 one stream
  esctl replay --category order --type OrderPlaced --since 2026-02-01
  esctl replay order-1012 --until v3      as it was at version 3
  esctl replay --as-of 2026-02-01T12:00:00Z | jq .data   the log as it stood then
  esctl replay --last 5 --reverse         the newest five, newest first
  esctl replay --where "data ->> 'amount' > 100" --fields position,stream,data.amount
  esctl replay --template '{position} {data.order_id}' --type OrderPlaced
  esctl replay --follow --type PaymentReceived | while read -r line; do …; done"""


def command(
    ctx: typer.Context,
    stream: str | None = typer.Argument(None, metavar="[STREAM]", help="One stream; without it the whole log."),
    category: str | None = typer.Option(None, metavar="C", help="The streams C and C-…"),
    type_: list[str] = typer.Option([], "--type", metavar="T", help="Only this type; may be repeated."),
    where: str | None = typer.Option(None, metavar="SQL", help="A condition over an event's fields."),
    since: str | None = typer.Option(None, metavar="POINT", help="From this point on."),
    until: str | None = typer.Option(None, metavar="POINT", help="Up to and including this point."),
    as_of: str | None = typer.Option(None, metavar="POINT", help="The log as it stood then (recorded time)."),
    limit: int | None = typer.Option(None, min=0, max=MAX_POSITION, metavar="N", help="The first N."),
    last: int | None = typer.Option(None, min=0, max=MAX_POSITION, metavar="N", help="The newest N, in order."),
    reverse: bool = typer.Option(False, "--reverse", help="Newest first."),
    follow: bool = typer.Option(False, "--follow", help="Go on with what comes."),
    picked: str | None = typer.Option(None, "--fields", metavar="A,B,data.X", help="Only these fields."),
    template: str | None = typer.Option(None, metavar="TEXT", help="A line an event, with {field} filled in."),
    raw_schema: bool = typer.Option(False, "--raw-schema", help="Events as they are stored, without upcasts."),
    hash_: bool = typer.Option(False, "--hash", help="With salt and hash, so that anyone can recompute the chain."),
    hot_only: bool = typer.Option(False, "--hot-only", help="Without what is archived."),
    system: bool = typer.Option(False, "--system", help="With the log's own streams."),
    fail_empty: bool = typer.Option(False, "--fail-empty", help="Exit 10 if nothing matches."),
    emit_head: bool = typer.Option(False, "--emit-head", help="Print the head that was read up to on stderr."),
) -> None:
    """Print events in position order."""
    if follow and (reverse or until or as_of or hash_):
        raise UsageError("--follow goes on for ever", why="it has no end to be bounded, turned around or hashed")
    if picked and (template or hash_ or ctx.obj.format == "cloudevents"):
        raise UsageError("--fields excludes --template, --hash and -o cloudevents", fix="esctl replay --help")
    filters = {"category": category, "types": tuple(type_), "where": where, "limit": limit, "last": last}
    with opened(ctx) as log:
        filters |= {"reverse": reverse, "system": system, "raw_schema": raw_schema or hash_}
        filters |= {"hot_only": hot_only}
        query = query_of(log, stream, since=since, until=until, as_of=as_of, **filters)
        if type_:
            output.unknown_types(type_, list(log.store.names("type")))
        newest = log.head()
        query.until = min(query.until, query.until if follow else newest[0])
        format_ = "ndjson" if follow and ctx.obj.format == "auto" else ctx.obj.rendering  # a table has an end
        printing = Printing(log, query, format_, follow=follow, hashes=hash_)
        printing.run(fields.parse_fields(picked) if picked else None, template)
        if emit_head:
            output.say(output.head_text(newest))
        if fail_empty and not printing.found:
            raise DifferenceError("no event matches", why="--fail-empty was given")


class Printing:
    """How the events of one query get onto stdout; `found` says whether there were any."""

    def __init__(self, log: EventLog, query: Query, format_: str, *, follow: bool, hashes: bool) -> None:
        self.log, self.query, self.format, self.follow, self.hashes = log, query, format_, follow, hashes
        self.found = False

    def run(self, picked: list[fields.Field] | None, template: str | None) -> None:
        """Print by whichever way was asked for; whole lines come straight from the store."""
        if template is not None:
            output.filled(self._events(), template)
        elif picked is not None:
            output.picked(self._events(), picked, self.format)
        elif self.format == "cloudevents":
            output.write(self._noting(cloudevents.lines(self._events(), self.log.log_id)))
        elif self.format in ("table", "csv", "tsv"):
            output.events(self._events(), self.format, hashes=self.hashes)
        else:
            form: Form = "data" if self.format == "raw" else "hash" if self.hashes else "line"
            source = self.log.follow(self.query, form) if self.follow else self.log.lines(self.query, form)
            output.lines(self._noting(source), self.format)

    def _events(self) -> Iterator[SealedEvent]:
        if self.follow:
            raise UsageError("--follow prints whole lines", why="use -o ndjson or raw, and jq or cut behind it")
        return self._noting(self.log.read(self.query))

    def _noting(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            self.found = True
            yield item
