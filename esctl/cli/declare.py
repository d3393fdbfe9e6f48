"""What every command takes: the shared options, declared once, and what they give a command.

A command declares its own options in the signature of its function, in the same way: `Annotated` and `typer` stand in
annotations, which nobody evaluates but `esctl.cli.typer_app`, so that a command loads without Typer.
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

LOCK_SECONDS = 5.0  # that a command waits for a lock
MAX_SECONDS = 86400


class Shared:
    """The values of the options that every command takes; the signature declares them.

    `log` is the path that was named by the option, `format` never None, `timeout` bounds the wait for a lock and
    `patience` a statement with SQL of a model (None: as long as the store lets it run), both in seconds.

    Raises UsageError for a value that cannot be.
    """

    __slots__ = (
        "color", "debug", "error_format", "format", "log", "patience", "quiet", "safe_csv", "timeout", "utc", "verbose",
        "wide", "yes",
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
            bool, typer.Option("-q", "--quiet", help="Print errors, and the data that was asked for; nothing else.")
        ] = False,
        verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more on stderr.")] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show SQL, and the traceback of an error.")] = False,
        color: Annotated[
            Literal["auto", "always", "never"], typer.Option("--color", help="Colour in tables.")
        ] = "auto",
        error_format: Annotated[
            Literal["text", "json"], typer.Option("--error-format", help="json: an error is one line of JSON.")
        ] = "text",
        timeout: Annotated[
            float | None,
            typer.Option(
                "--timeout",
                min=0,
                max=MAX_SECONDS,
                metavar="SECONDS",
                help="Wait for a lock [5]; let a model's SQL run [10].",
            ),
        ] = None,
        yes: Annotated[bool, typer.Option("--yes", help="Answer yes to every question.")] = False,
        utc: Annotated[bool, typer.Option("--utc", help="Tables show times in UTC, not local.")] = False,
        wide: Annotated[bool, typer.Option("--wide", help="Tables are as wide as they need; nothing is cut.")] = False,
        safe_csv: Annotated[
            bool, typer.Option("--safe-csv", help="CSV and TSV: defuse what a spreadsheet would run.")
        ] = False,
    ) -> None:
        self.log, self.quiet, self.verbose, self.debug, self.color = log, quiet, verbose, debug, color
        self.error_format, self.yes, self.utc, self.wide, self.safe_csv = error_format, yes, utc, wide, safe_csv
        self.format: str = format or os.environ.get("ESCTL_FORMAT") or "auto"
        if self.format not in console.FORMATS:
            why = f"it is one of {', '.join(console.FORMATS)}"
            raise UsageError(f"ESCTL_FORMAT is {self.format!r}", why=why, fix="unset ESCTL_FORMAT")
        if timeout is not None and not 0 <= timeout <= MAX_SECONDS:
            raise UsageError(f"--timeout is {timeout}", why="it is a number of seconds")
        self.timeout = LOCK_SECONDS if timeout is None else timeout
        self.patience = timeout or None

    @property
    def rendering(self) -> str:
        """The output format, `auto` decided."""
        return console.resolve(self.format)

    @property
    def path(self) -> str:
        """The path of the log that the command is about."""
        return locate.find(self.log)

    def settle(self) -> None:
        """Have this process print as these options say."""
        for name in ("color", "utc", "wide", "quiet", "safe_csv"):
            setattr(console.Settings, name, getattr(self, name))

    def opened(self, *, write: bool = False, bulk: bool = False) -> EventLog:
        """The log that the command is about, open; `bulk` tunes for many events."""
        from esctl.log import EventLog  # noqa: PLC0415 - not every command opens a log

        where = self.path
        if self.verbose:
            console.say(f"log: {where}")
        log = EventLog(where, write=write, bulk=bulk, timeout=self.timeout, cache=locate.cache())
        if self.patience is not None:
            log.store.limit(self.patience)
        if self.debug:
            log.store.trace(console.say)
        return log

    def agree(self, plan: str) -> None:
        """Ask before a plan is carried out: on a terminal; elsewhere --yes has to have answered.

        Raises UsageError unless the answer is yes. With --quiet and --yes the plan is not printed.
        """
        if not (self.yes and self.quiet):
            console.say(plan)
        if self.yes:
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("this needs a yes", why="there is no terminal to ask on", again="--yes")
        import typer  # noqa: PLC0415 - only a question needs it

        try:
            agreed = typer.confirm("Go on?", err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
        if not agreed:
            raise UsageError("nothing was done", why="the answer was no")
