"""The options that every command takes, declared once, and what commands get from them.

A command declares its own options in the same way, in the signature of its function. Only `esctl.cli.typer_app` and the
generator evaluate these annotations, so a command loads without Typer.
"""

from __future__ import annotations

import os
import sys

from esctl.cli import locate
from esctl.errors import UsageError
from esctl.output import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    import typer

    from esctl.log import EventLog

LOCK_SECONDS = 5.0  # how long a command waits for a lock
MAX_SECONDS = 86400


class Shared:
    """The values of the options that every command takes; the signature declares these options.

    `log` is the value of --log; `format` is never None. `timeout` limits the wait for a lock, `sql_timeout` a statement
    with SQL of a model (None: the store's own limit), both in seconds.

    Raises UsageError for an invalid value.
    """

    __slots__ = (
        "color", "debug", "error_format", "format", "log", "quiet", "safe_csv", "sql_timeout", "timeout", "utc",
        "verbose", "wide", "yes",
    )  # fmt: skip

    def __init__(
        self,
        *,
        log: Annotated[
            str | None,
            typer.Option("-l", "--log", metavar="PATH", help="The log. [env: ESCTL_LOG; else the nearest esctl.db]"),
        ] = None,
        format: Annotated[
            Literal["auto", "table", "ndjson", "json", "csv", "tsv", "raw", "cloudevents"] | None,
            typer.Option("-o", "--format", help="auto: a table on a terminal, NDJSON elsewhere. [env: ESCTL_FORMAT]"),
        ] = None,
        quiet: Annotated[
            bool, typer.Option("-q", "--quiet", help="Print only data and errors: no receipts, notes or progress.")
        ] = False,
        verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print more details on stderr.")] = False,
        debug: Annotated[
            bool, typer.Option("--debug", help="Print SQL statements, and the traceback of an error.")
        ] = False,
        color: Annotated[
            Literal["auto", "always", "never"], typer.Option("--color", help="Colours in tables.")
        ] = "auto",
        error_format: Annotated[
            Literal["text", "json"], typer.Option("--error-format", help="json: print an error as one line of JSON.")
        ] = "text",
        timeout: Annotated[
            float | None,
            typer.Option(
                "--timeout",
                min=0,
                max=MAX_SECONDS,
                metavar="SECONDS",
                help="Limit the wait for a lock [5] and the run time of a model's SQL [10].",
            ),
        ] = None,
        yes: Annotated[bool, typer.Option("--yes", help="Answer yes to every question.")] = False,
        utc: Annotated[bool, typer.Option("--utc", help="Times in UTC in tables. [local time]")] = False,
        wide: Annotated[bool, typer.Option("--wide", help="Tables as wide as their content; nothing is cut.")] = False,
        safe_csv: Annotated[
            bool,
            typer.Option(
                "--safe-csv",
                help="CSV and TSV: put an apostrophe before cells that a spreadsheet would run as formulas.",
            ),
        ] = False,
    ) -> None:
        self.log, self.quiet, self.verbose, self.debug, self.color = log, quiet, verbose, debug, color
        self.error_format, self.yes, self.utc, self.wide, self.safe_csv = error_format, yes, utc, wide, safe_csv
        self.format: str = format or os.environ.get("ESCTL_FORMAT") or "auto"
        if self.format not in console.FORMATS:
            why = f"the formats are {', '.join(console.FORMATS)}"
            raise UsageError(f"ESCTL_FORMAT is {self.format!r}", why=why, fix="unset ESCTL_FORMAT")
        if timeout is not None and not 0 <= timeout <= MAX_SECONDS:
            raise UsageError(f"--timeout is {timeout}", why=f"expected: seconds, from 0 to {MAX_SECONDS}")
        self.timeout = LOCK_SECONDS if timeout is None else timeout
        self.sql_timeout = timeout or None

    @property
    def rendering(self) -> str:
        """The output format, with `auto` resolved."""
        return console.resolve(self.format)

    @property
    def path(self) -> str:
        """The path of the log that the command is about."""
        return locate.find(self.log)

    def apply(self) -> None:
        """Apply the options for output to this process."""
        console.settings = console.Settings(self.color, self.utc, self.wide, self.quiet, self.safe_csv)

    def opened(self, *, write: bool = False, bulk: bool = False) -> EventLog:
        """Open the log that the command is about; `bulk` tunes for many events."""
        from esctl.log import EventLog  # noqa: PLC0415 - not every command opens a log

        where = self.path
        if self.verbose:
            console.say(f"log: {where}")
        if write:
            console.try_stdout()
        log = EventLog(where, write=write, bulk=bulk, timeout=self.timeout, cache=locate.cache())
        if self.sql_timeout is not None:
            log.store.statements.limit(self.sql_timeout)
        if self.debug:
            log.store.statements.trace(console.say)
        return log

    def confirm(self, plan: str) -> None:
        """Print a plan and ask for confirmation on a terminal; elsewhere --yes is required.

        Raises UsageError unless the answer is yes. With --quiet and --yes, nothing is printed.
        """
        if not (self.yes and self.quiet):
            console.say(plan)
        if self.yes:
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("this needs confirmation", why="there is no terminal to ask on", again="--yes")
        import typer  # noqa: PLC0415 - only a question needs it

        try:
            confirmed = typer.confirm("Continue?", err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
        if not confirmed:
            raise UsageError("nothing was done", why="the answer was no")
