"""`esctl projection`: read models as tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import typer

from esctl import output, plan, progress, projected, projections, standing
from esctl.cli.options import Shared, agree, opened
from esctl.definitions import Definitions
from esctl.errors import DifferenceError, HandlerError, NotFoundError, UnavailableError, UsageError, VerificationError
from esctl.log import POLL_SECONDS, EventLog
from esctl.model import Projection
from esctl.points import query_of
from esctl.projected import Asked, Cell, Picture

ABOUT = "Read models as tables: list, status, show, run, rebuild, rollback, diff, verify, drop."
EXAMPLES = """Examples:
  esctl projection run                    brings every projection to the head of the log; what cron runs
  esctl projection run customer_orders --follow
  esctl projection show customer_orders --order-by "spent desc" --limit 10 --total spent
  esctl projection show daily_revenue --bars revenue --until 2026-01-31
  esctl projection status                 rows, checkpoint, lag, size, last error; exit 9 if one was stopped
  esctl projection rebuild customer_orders   beside the old table, which is read until the new one has caught up
  esctl projection rollback customer_orders  the version before it is live again
  esctl projection diff customer_orders --from 2026-01-31 --to 2026-02-28
  esctl projection diff customer_orders --model new.toml   what another definition would change
  esctl projection verify                 builds anew and compares; exit 6 if a row differs"""

LISTED = ("projection", "version", "state", "inline", "tables", "position", "lag")
STATUS = (
    "projection", "version", "state", "rows", "position", "lag", "lag_seconds", "bytes", "fingerprint", "reducer",
    "failed", "handler", "error", "failed_at"
)  # fmt: skip
SPARE = ("failed_at", "reducer", "fingerprint", "version", "lag_seconds", "bytes")
SHORT = 0.5  # seconds that a reader waits for a lock, to catch up
CELLS = ("table", "change", "key", "column", "before", "after")

Name = typer.Argument(metavar="NAME", help="The projection.")
Names = typer.Argument(None, metavar="[NAME …]", help="Only these; else all.")


def list_(ctx: typer.Context) -> None:
    """List the projections and their versions: state, tables, checkpoint, how many events they are behind."""
    with opened(ctx) as log:
        output.listed(standing.listed(log), ctx.obj.rendering, spare=("inline", "version"), names=LISTED)


def status(ctx: typer.Context, names: list[str] = Names) -> None:
    """Print how each projection stands: rows, checkpoint, lag, size, last error; exit 9 if one was stopped."""
    with opened(ctx) as log:
        records = standing.status(log, names or ())
    stopped = [record for record in records if record["failed"] is not None]
    if ctx.obj.rendering == "table":
        told = [
            {
                name: record[name]
                for name in STATUS
                if stopped or name not in ("failed", "handler", "error", "failed_at")
            }
            for record in records
        ]
        records = [{**record, "fingerprint": str(record["fingerprint"])[:12]} for record in told]
    output.listed(records, ctx.obj.rendering, spare=SPARE, names=STATUS)
    if stopped:
        first = stopped[0]
        raise HandlerError(
            f"the projection {first['projection']} is stopped at position {first['failed']}",
            why=f"{first['handler']}: {first['error']}",
            fix="mend the handler or what it stumbles over; then esctl projection run",
        )


def run(
    ctx: typer.Context,
    names: list[str] = Names,
    follow: bool = typer.Option(False, "--follow", help="Go on as events come, until Ctrl-C."),
    reducer: str | None = typer.Option(None, metavar="M:F", help="Keep it by a Python function (rows, event)."),
) -> None:
    """Bring projections to the head of the log. One that a handler stops, stops there; the others go on (exit 9)."""
    shared: Shared = ctx.obj
    names = names or []
    if reducer is not None and len(names) != 1:
        raise UsageError("--reducer keeps one projection", fix="esctl projection run --reducer M:F NAME")
    with opened(ctx, write=True, bulk=True) as log:
        while True:
            log.store.changed()
            done = _run(log, names, reducer)
            _tell(done, shared, all_=not follow)
            if not follow:
                break
            while not log.store.changed():
                time.sleep(POLL_SECONDS)
    done.end()


def _run(log: EventLog, names: list[str], reducer: str | None = None) -> projections.Run:
    """One run, with a bar where it takes long."""
    done = projections.Run()
    if reducer is not None:
        from esctl import reducing  # noqa: PLC0415 - only a reducer needs it

        advancing = reducing.run(log, names[0], reducer, done)
    else:
        advancing = projections.run(log, names, done)
    _watch(advancing, "projecting", projections.ahead(log, names))
    return done


def _watch(advancing: Iterable[int], label: str, total: int) -> None:
    for _ in progress.watched(advancing, label, total, lambda read: read):
        pass


def _tell(done: projections.Run, shared: Shared, *, all_: bool) -> None:
    """Print what became of each projection; those that follow tell only what went on."""
    moved = [record for record in done.records if all_ or record["read"]]
    (output.listed if shared.rendering == "table" else output.records)(moved, shared.rendering)
    if not shared.quiet and all_:
        for name in done.skipped:
            output.say(f"note: {name} is kept by a Python function: projection run --reducer MODULE:FUNCTION {name}")
    if not all_:
        for failure in done.failures:
            output.say(f"warning: {failure.what}: {failure.why}")


def rebuild(
    ctx: typer.Context,
    name: str = Name,
    from_scratch: bool = typer.Option(False, "--from-scratch", help="Throw away what an unfinished rebuild has done."),
) -> None:
    """Build a projection anew beside the old one, which is read until the new one has caught up and takes its place.

    What was interrupted goes on from where it was.
    """
    with opened(ctx, write=True, bulk=True) as log:
        number = projections.rebuild(log, name, from_scratch=from_scratch)
        _through(ctx, log, name, number)


def rollback(ctx: typer.Context, name: str = Name) -> None:
    """Bring the previous version of a projection back, with the definition that it had: caught up, then switched.

    It stays until another model is applied, or the projection is rebuilt.
    """
    with opened(ctx, write=True, bulk=True) as log:
        number = projections.roll_back(log, name)
        _through(ctx, log, name, number)


def _through(ctx: typer.Context, log: EventLog, name: str, number: int) -> None:
    """Bring one version to the head, and tell what became of it."""
    before = log.store.projections().version(number)
    total = log.head()[0] - (before.position if before else 0)
    _watch(projections.catch_up(log, number), f"building {name}", total)
    after = log.store.projections().version(number)
    if before is not None and after is not None:
        rendering = ctx.obj.rendering
        (output.listed if rendering == "table" else output.records)([projections.told(before, after)], rendering)


def show(
    ctx: typer.Context,
    name: str = Name,
    table: str | None = typer.Option(None, "--table", metavar="NAME", help="Of several tables, this one."),
    where: str | None = typer.Option(None, metavar="SQL", help="A condition on the table's columns."),
    order_by: str | None = typer.Option(None, metavar="COL", help='Columns: "a, b desc". [the primary key]'),
    limit: int | None = typer.Option(None, min=0, metavar="N", help="The first N rows."),
    until: str | None = typer.Option(None, metavar="POINT", help="As it was at this point, built in memory."),
    as_of: str | None = typer.Option(None, metavar="POINT", help="As the log stood then (recorded time)."),
    total: list[str] = typer.Option([], metavar="COL", help="The sum of a column, below the table."),
    bars: list[str] = typer.Option([], metavar="COL", help="Bars in the cells of a column of the table."),
    fresh: bool = typer.Option(False, "--fresh", help="Catch up first, however far it is behind."),
    watch: bool = typer.Option(False, "--watch", help="On a terminal: paint it again as events come."),
) -> None:
    """Print a projection's rows, after it has caught up; where 10,000 events are missing or more, it says how many."""
    shared: Shared = ctx.obj
    asked, at_point = Asked(table, where, order_by, limit, total, bars), until is not None or as_of is not None
    if watch and not sys.stdout.isatty():
        raise UsageError("--watch paints on a terminal", fix=f"esctl projection run {name} --follow")
    if at_point and (fresh or watch):
        raise UsageError("the past does not move", why="--fresh and --watch are for what is now")
    with _opened(ctx, write=not at_point, wait=fresh or watch) as log:
        projection = projections.declared(log, name)
        if at_point:
            query = query_of(log, None, until=until, as_of=as_of)
            _watch(projected.at(log, projection, query), "building", min(query.until, log.head()[0]))
            _print(projected.rows(log, projection, asked, built=True), projection, shared)
            return
        while True:
            log.store.changed()
            _fresh(log, name, always=fresh or watch, quiet=shared.quiet)
            picture = projected.rows(log, projection, asked, built=False)
            if not watch:
                break
            output.repaint(_drawn(picture, projection))
            while not log.store.changed():
                time.sleep(POLL_SECONDS)
        _print(picture, projection, shared)


def _opened(ctx: typer.Context, *, write: bool, wait: bool) -> EventLog:
    """The log open for writing, if it can be; who only wants to see the rows does not wait long for a lock."""
    if not wait:
        ctx.obj = msgspec.structs.replace(ctx.obj, timeout=min(ctx.obj.timeout, SHORT))
    if write:
        with suppress(UnavailableError):
            return opened(ctx, write=True, bulk=True)
    return opened(ctx)


def _fresh(log: EventLog, name: str, *, always: bool, quiet: bool) -> None:
    """Have a projection catch up where it is not far behind, or it is asked for; say how many events it is behind."""
    try:
        if projections.current(log) is None:
            projections.synced(log)
        version = projections.live(log, name)
        if always and not version.compiled.on:
            raise projections.needs_reducer(name)
        if version.compiled.on and (always or standing.lag(log, version) < projections.FEW):
            done = _run(log, [name])
            for failure in done.failures:
                output.say(f"warning: {failure.what}: {failure.why}")
    except UnavailableError as error:
        if always:
            raise
        if not quiet:
            output.say(f"note: it did not catch up: {error.what}")
    version = projections.live(log, name)
    behind = standing.lag(log, version)
    if behind and not quiet:
        how = f"run {name}" if version.compiled.on else f"run --reducer MODULE:FUNCTION {name}"
        built = "is" if version.position else "is not built yet:"
        output.say(f"note: {name} {built} {behind:,} event{'s' * (behind != 1)} behind   (esctl projection {how})")


def _drawn(picture: Picture, projection: Projection) -> str:
    return output.read_model(picture.columns, picture.rows, projection.columns, picture.totals, picture.bars)


def _print(picture: Picture, projection: Projection, shared: Shared) -> None:
    """Print rows; what is drawn is drawn in tables, and elsewhere sums are said beside the data."""
    if shared.rendering == "table":
        output.text(_drawn(picture, projection))
        return
    output.answer(picture.columns, picture.rows, shared.rendering)
    for column, value in picture.totals.items():
        output.say(f"total {column}: {value}")


def diff(
    ctx: typer.Context,
    name: str = Name,
    from_: str | None = typer.Option(None, "--from", metavar="POINT", help="The earlier point."),
    to: str | None = typer.Option(None, "--to", metavar="POINT", help="The later point. [now]"),
    model: Path | None = typer.Option(None, "--model", metavar="FILE", help="Against the definition in another model."),
) -> None:
    """Print rows added, gone and changed, cell by cell, between two points or two definitions; exit 10 if any are."""
    if (from_ is None) == (model is None) or (to is not None and model is not None):
        raise UsageError("it takes --from POINT [--to POINT], or --model FILE", fix="esctl projection diff --help")
    with opened(ctx) as log:
        if model is not None:
            draft = plan.sound(model)
            found = projected.against(log, name, Definitions(plan.drafted(log, draft)))
        else:
            since, until = query_of(log, None, until=from_), query_of(log, None, until=to)
            found = projected.between(log, projections.declared(log, name), since, until)
        cells = _cells(found, 2 * log.head()[0])
        any_ = _print_cells(cells, ctx.obj)
    if any_:
        raise typer.Exit(DifferenceError.exit_code)  # a difference is an answer; there is nothing to tell beside it


def _cells(found: Iterator[int | Cell], total: int) -> Iterator[Cell]:
    """The cells of a comparison; what comes before them is how far it is."""
    for item in progress.watched(found, "building", total, lambda item: item if isinstance(item, int) else 0):
        if isinstance(item, Cell):
            yield item


def _print_cells(cells: Iterator[Cell], shared: Shared) -> bool:
    """Print cells as they are found; whether there were any."""
    any_ = False

    def records() -> Iterator[dict[str, object]]:
        nonlocal any_
        for cell in cells:
            any_ = True
            yield cell._asdict() | {"key": _key(cell, shared.rendering)}

    output.listed(records(), shared.rendering, spare=("table",), names=CELLS)
    return any_


def _key(cell: Cell, rendering: str) -> object:
    if rendering in ("ndjson", "json"):
        return cell.key
    return ", ".join("-" if value is None else str(value) for value in cell.key.values())


def verify(ctx: typer.Context, names: list[str] = Names) -> None:
    """Build projections anew, up to where they are, and compare every cell; exit 6 if one differs."""
    wrong: list[str] = []
    with opened(ctx) as log:
        lives = [version for version in log.store.projections().versions() if version.state == "live"]
        known = [version.name for version in lives if version.compiled.on]
        chosen = [projections.declared(log, name).name for name in names or ()] or known
        if not names and len(known) < len(lives) and not ctx.obj.quiet:
            output.say("note: what Python functions keep is not verified")
    for name in chosen:
        with opened(ctx) as log:  # each with temporary tables of its own
            if _print_cells(_cells(projected.checked(log, name), log.head()[0]), ctx.obj):
                wrong.append(name)
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(chosen)} projections hold what their handlers do not say",
            why=f"{', '.join(wrong)}: somebody changed a table by hand, or a handler depends on more than its events",
            fix=f"esctl projection rebuild {wrong[0]}",
        )
    if not ctx.obj.quiet:
        output.say(f"{len(chosen)} projections verified")


def drop(
    ctx: typer.Context,
    name: str = Name,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the plan."),
) -> None:
    """Drop the tables of a projection; `run NAME` builds them again while the model has it."""
    shared: Shared = ctx.obj
    with opened(ctx, write=not dry_run) as log:
        records = [
            record
            for record in standing.listed(log)
            if record["projection"] == name and record["state"] not in ("dropped", "new")
        ]
        if not records:
            projections.declared(log, name)
            raise NotFoundError(f"there is nothing of the projection {name} to drop", fix="esctl projection list")
        brief = [{key: record[key] for key in ("projection", "version", "tables")} for record in records]
        if not dry_run:
            told = ", ".join(str(record["tables"]) for record in records)
            agree(f"these tables are dropped, and can be built again: {told}", yes=shared.yes, quiet=shared.quiet)
            projections.drop(log, name)
        output.records(brief, shared.rendering)


COMMANDS = {
    "list": list_, "status": status, "show": show, "run": run, "rebuild": rebuild, "rollback": rollback, "diff": diff,
    "verify": verify, "drop": drop
}  # fmt: skip
