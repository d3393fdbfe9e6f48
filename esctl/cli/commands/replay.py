"""`esctl replay`: print events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from esctl.errors import DifferenceError, UsageError, VerificationError, word
from esctl.events.query import MAX_POSITION, Query
from esctl.log import EventLog
from esctl.output import console, render
from esctl.points.points import query_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, TypeVar

    import typer

    from esctl.cli.declare import Shared
    from esctl.cli.options import AsOf, CategoryFilter, System, TypeFilter, Until, WhereFilter
    from esctl.events.event import Form, SealedEvent
    from esctl.events.fields import Field

    T = TypeVar("T")

EXAMPLES = """Examples:
  esctl replay order-1012                  one stream
  esctl replay --category order --type OrderPlaced --since 2026-02-01
  esctl replay order-1012 --until v3       as it was at version 3
  esctl replay --as-of 2026-02-01T12:00:00Z | jq .data   the log as it stood then
  esctl replay --last 5 --reverse          the five newest, newest first
  esctl replay --where "data ->> 'amount' > 100" --fields position,stream,data.amount
  esctl replay --template '{position} {data.order_id}' --type OrderPlaced
  esctl replay --follow --type OrderPlaced | jq --unbuffered -r .stream
  esctl replay --skip-damaged > whole.ndjson   all that is whole of a damaged log"""


def command(
    shared: Shared,
    *,
    stream: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="One stream. [the whole log]")] = None,
    category: CategoryFilter = None,
    type_: TypeFilter = (),
    where: WhereFilter = None,
    since: Annotated[str | None, typer.Option(metavar="POINT", help="From this point on.")] = None,
    until: Until = None,
    as_of: AsOf = None,
    limit: Annotated[int | None, typer.Option(min=0, max=MAX_POSITION, metavar="N", help="The first N events.")] = None,
    last: Annotated[
        int | None, typer.Option(min=0, max=MAX_POSITION, metavar="N", help="The newest N events, in order.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Newest first.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Then print new events as they arrive.")] = False,
    fields: Annotated[str | None, typer.Option("--fields", metavar="A,B,data.X", help="Only these fields.")] = None,
    template: Annotated[
        str | None, typer.Option(metavar="TEXT", help="One line per event, with each {field} filled in.")
    ] = None,
    raw_schema: Annotated[bool, typer.Option("--raw-schema", help="Events as stored, without upcasts.")] = False,
    hash_: Annotated[
        bool, typer.Option("--hash", help="With salt and hash, to recompute the chain; implies --raw-schema.")
    ] = False,
    hot_only: Annotated[bool, typer.Option("--hot-only", help="Without archived events.")] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="All that is whole of a damaged log; exit 6 if something is missing.")
    ] = False,
    system: System = False,
    fail_empty: Annotated[bool, typer.Option("--fail-empty", help="Exit 10 if nothing matches.")] = False,
    emit_head: Annotated[
        bool, typer.Option("--emit-head", help="Print the head on stderr; all events up to it were read.")
    ] = False,
) -> None:
    """Print events in position order, now or as of any point."""
    if follow and (reverse or until or as_of or hash_):
        raise UsageError("--follow excludes --reverse, --until, --as-of and --hash", why="--follow has no end")
    if fields and (template or hash_ or shared.format == "cloudevents"):
        raise UsageError("--fields excludes --template, --hash and -o cloudevents", fix="esctl replay --help")
    if skip_damaged and follow:
        raise UsageError("--skip-damaged excludes --follow", why="a damaged log gets no new events")
    filters = {"category": category, "types": tuple(type_), "where": where, "limit": limit, "last": last}
    with _opened(shared, skip_damaged=skip_damaged) as log:
        filters |= {"reverse": reverse, "system": system, "raw_schema": raw_schema or hash_}
        filters |= {"hot_only": hot_only}
        query = query_of(log, stream, since=since, until=until, as_of=as_of, **filters)
        if type_:
            console.unknown("type", type_, list(log.store.facts().names("type")))
        if category is not None:
            _note_category(log, category)
        newest = log.head()
        if not follow:
            query = query.replace(until=min(query.until, newest[0]))
        format_ = "ndjson" if follow and shared.format == "auto" else shared.rendering  # a table needs an end
        printing = Printing(log, query, format_, follow=follow, hashes=hash_)
        printing.run(fields, template)
        if emit_head:
            console.say(str(newest))
        if fail_empty and not printing.found:
            raise DifferenceError("no event matches", why="--fail-empty was given")


@contextmanager
def _opened(shared: Shared, *, skip_damaged: bool) -> Iterator[EventLog]:
    """The log; or what is whole of it, and at the end VerificationError if something is missing."""
    if not skip_damaged:
        with shared.opened() as log:
            yield log
        return
    from esctl.upkeep import salvage  # noqa: PLC0415 - only a damaged log needs it

    with salvage.readable(shared.path) as (log, found):
        yield log
        for text in salvage.sentences(found):
            console.note(text)
        if found.lost:
            raise VerificationError(
                f"{shared.path} is damaged: {found.last - found.events} of its {found.last} positions are missing",
                why="all others were read",
                fix=f"esctl restore --salvage {word(shared.path)} --log {word(shared.path + '.salvaged')}",
            )


def _note_category(log: EventLog, category: str) -> None:
    """Print a note for a category that no stream is in, if a similar one exists."""
    names = log.store.facts().names
    if not log.store.stream_version(category) and next(names("stream", f"{category}-"), None) is None:
        hyphens = category.count("-")
        streams = (name.split("-") for name in names("stream") if not hyphens or name.count("-") > hyphens)
        console.unknown("category", [category], {"-".join(parts[: hyphens + 1]) for parts in streams})


class Printing:
    """Prints the events of one query; `found` says whether there were any."""

    def __init__(self, log: EventLog, query: Query, format_: str, *, follow: bool, hashes: bool) -> None:
        self.log, self.query, self.format, self.follow, self.hashes = log, query, format_, follow, hashes
        self.found = False

    def run(self, fields: str | None, template: str | None) -> None:
        """Print in the format of the options; whole lines come straight from the store."""
        if template is not None or fields:
            self._print_fields(fields or "", template)
        elif self.format == "cloudevents":
            from esctl.events import cloudevents  # noqa: PLC0415

            console.write_data(self._tracked(cloudevents.lines(self._events(), self.log.log_id)), json=True)
        elif self.format in ("table", "csv", "tsv"):
            render.events(self._events(), self.format, hashes=self.hashes)
        else:
            self._print_lines("data" if self.format == "raw" else "hash" if self.hashes else "line")

    def _print_fields(self, fields: str, template: str | None) -> None:
        from esctl.events.fields import Template, parse_fields  # noqa: PLC0415 - whole lines do not need them

        if template is not None:
            compiled = Template(template, render.shown)
            render.from_template(self._values(compiled.fields), compiled)
        elif self.format in ("ndjson", "json"):
            self._print_lines(parse_fields(fields))
        else:
            chosen = parse_fields(fields)
            render.event_fields(self._values(chosen), chosen, self.format)

    def _print_lines(self, form: Form | Sequence[Field]) -> None:
        source = self.log.follow(self.query, form) if self.follow else self.log.lines(self.query, form)
        render.lines(self._tracked(source), self.format)

    def _values(self, fields: Sequence[Field]) -> Iterator[tuple[str, ...]]:
        self._needs_an_end()
        return self._tracked(self.log.values(self.query, fields))

    def _events(self) -> Iterator[SealedEvent]:
        self._needs_an_end()
        return self._tracked(self.log.read(self.query))

    def _needs_an_end(self) -> None:
        if self.follow:
            raise UsageError("--follow prints lines of JSON", why="use -o ndjson or raw, and pipe it to jq or cut")

    def _tracked(self, items: Iterable[T]) -> Iterator[T]:
        """Pass items through and set `found`."""
        for item in items:
            self.found = True
            yield item
