"""What every command takes, declared once; and the log that a command opens with it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import msgspec
import typer
from typer.core import TyperCommand, TyperOption
from typer.main import get_params_convertors_ctx_param_name_from_function

from esctl import output
from esctl.cli import locate
from esctl.errors import RefusedError, UsageError
from esctl.events import Expect, parse_expect
from esctl.log import EventLog
from esctl.ndjson import payload_of

Format = Literal["auto", "table", "ndjson", "json", "csv", "tsv", "raw", "cloudevents"]


class Shared(msgspec.Struct, frozen=True):
    """The options that every command accepts."""

    log: str | None = None
    format: str = "auto"
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    color: str = "auto"
    error_format: str = "text"
    timeout: float = 5.0
    patience: float = 10.0
    yes: bool = False
    utc: bool = False
    wide: bool = False
    safe_csv: bool = False

    @property
    def rendering(self) -> str:
        """The output format, `auto` decided."""
        return output.resolve(self.format)


def _shared(
    log: str | None = typer.Option(
        None, "-l", "--log", metavar="PATH", help="The log. [env: ESCTL_LOG; else the nearest esctl.db]"
    ),
    format: Format | None = typer.Option(
        None, "-o", "--format", help="auto: a table on a terminal, NDJSON elsewhere. [env: ESCTL_FORMAT]"
    ),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Only data and errors."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Tell more on stderr."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    color: Literal["auto", "always", "never"] = typer.Option("auto", "--color", help="Colour in tables."),
    error_format: Literal["text", "json"] = typer.Option("text", "--error-format", help="json: errors as one line."),
    timeout: float | None = typer.Option(
        None, "--timeout", min=0, max=86400, metavar="SECONDS", help="Wait for a lock [5]; let a model's SQL run [10]."
    ),
    yes: bool = typer.Option(False, "--yes", help="Answer yes to every question."),
    utc: bool = typer.Option(False, "--utc", help="Tables show times in UTC, not local."),
    wide: bool = typer.Option(False, "--wide", help="Tables are as wide as they need; nothing is cut."),
    safe_csv: bool = typer.Option(False, "--safe-csv", help="CSV and TSV: defuse what a spreadsheet would run."),
) -> None:
    """Declares the shared options; never called."""


class Command(TyperCommand):
    """A command with the shared options after its own; their values are `ctx.obj`, a Shared."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared = _shared_options()
        self.params.extend(self._shared)

    def invoke(self, ctx: Any) -> object:
        """Take the shared options out of the way of the command's function."""
        given = {option.name: ctx.params.pop(option.name) for option in self._shared if option.name}
        given["format"] = given["format"] or os.environ.get("ESCTL_FORMAT") or "auto"
        if given["format"] not in output.FORMATS:
            raise UsageError(f"ESCTL_FORMAT is {given['format']!r}", why=f"it is one of {', '.join(output.FORMATS)}")
        if (limit := given.pop("timeout")) is not None:
            if not isfinite(limit):
                raise UsageError(f"--timeout is {limit}", why="it is a number of seconds")
            given |= {"timeout": limit, "patience": limit or Shared().patience}
        if given["format"] == "cloudevents" and ctx.info_name != "replay":
            raise UsageError(
                "-o cloudevents is for events",
                why=f"{ctx.command_path} prints none",
                fix="esctl replay -o cloudevents",
            )
        ctx.obj = Shared(**given)
        for name in ("color", "utc", "wide", "quiet", "safe_csv"):
            setattr(output.Settings, name, getattr(ctx.obj, name))
        return super().invoke(ctx)


def _shared_options() -> list[TyperOption]:
    options, _, _ = get_params_convertors_ctx_param_name_from_function(_shared)
    return [option for option in options if isinstance(option, TyperOption)]


def hoist(arguments: list[str], groups: Collection[str] = ()) -> list[str]:
    """Move shared options that stand before the command behind it, where the command reads them.

    `groups` are commands that have commands of their own: it is these that read the options.
    """
    options = _shared_options()
    takes_value = {name for option in options if not option.is_flag for name in option.opts}
    short = {name for name in takes_value if len(name) == 2}
    flags = {name for option in options if option.is_flag for name in option.opts}
    moved, rest = _leading(list(arguments), flags, takes_value, short)
    if rest[:1] and rest[0] in groups:
        more, behind = _leading(rest[1:], flags, takes_value, short)
        return rest[:1] + behind[:1] + moved + more + behind[1:]
    return rest[:1] + moved + rest[1:]


def _leading(rest: list[str], flags: set[str], takes_value: set[str], short: set[str]) -> tuple[list[str], list[str]]:
    """The shared options that words begin with, and the words behind them."""
    moved: list[str] = []
    while rest and rest[0].startswith("-"):
        word, name = rest[0], rest[0].partition("=")[0]
        if name in flags or (name in takes_value and "=" in word) or any(word[:2] == s and word != s for s in short):
            taken = 1
        elif name in takes_value:
            taken = 2
        elif word[:2] in flags and len(word) > 2 and word[1] != "-":  # -qv, -qo json
            taken = 2 if f"-{word[-1]}" in short else 1
        else:
            break
        moved += rest[:taken]
        rest = rest[taken:]
    return moved, rest


def opened(ctx: typer.Context, *, write: bool = False, bulk: bool = False) -> EventLog:
    """The log that the command is about, open."""
    shared: Shared = ctx.obj
    where = path(ctx)
    if shared.verbose:
        output.say(f"log: {where}")
    log = EventLog(where, write=write, bulk=bulk, timeout=shared.timeout)
    log.store.limit(shared.patience)
    if shared.debug:
        log.store.trace(output.say)
    return log


def agree(plan: str, *, yes: bool, quiet: bool = False) -> None:
    """Ask before a plan is carried out: on a terminal; elsewhere --yes has to have answered.

    `quiet`: the plan is not told where nobody is asked.
    """
    if not (yes and quiet):
        output.say(plan)
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("this needs a yes", why="there is no terminal to ask on", fix="add --yes")
    if not typer.confirm("Go on?", err=True):
        raise UsageError("nothing was done", why="the answer was no")


def path(ctx: typer.Context) -> Path:
    """The path of the log that the command is about."""
    return locate.find(ctx.obj.log)


def expectation(text: str | None) -> Expect | None:
    """Read `--expect`: any, none, exists or a version."""
    expect = None if text is None else parse_expect(text)
    if text is not None and expect is None:
        raise UsageError(f"--expect is {text!r}", why="it is any, none, exists or a version such as 7")
    return expect


_ITEM = re.compile(r"([^=:\s]+)(:?=)(.*)", re.DOTALL).fullmatch


def item(text: str) -> tuple[str, msgspec.Raw] | None:
    """Read `key=text` or `key:=json` as a key and its JSON text; None if it is neither.

    Raises RefusedError where what stands after `:=` is not JSON.
    """
    if not (match := _ITEM(text)):
        return None
    key, operator, value = match.groups()
    if operator == "=":
        return key, msgspec.Raw(msgspec.json.encode(value))
    try:
        return key, payload_of(value.encode(), "it")
    except (RefusedError, UnicodeEncodeError) as error:
        why = f"{error.what}: {error.why}" if isinstance(error, RefusedError) else "it is not valid UTF-8"
        fix = f"{key}={value[:40]}   (for text)"
        raise RefusedError(f"{text[:80]!r} does not hold JSON after :=", why=why, fix=fix) from error


def items(texts: list[str], option: str) -> dict[str, msgspec.Raw]:
    """Read several `key=text` or `key:=json`; the last of a key wins."""
    made: dict[str, msgspec.Raw] = {}
    for text in texts:
        if (pair := item(text)) is None:
            raise UsageError(f"{option} {text[:80]!r}", why="it is key=text or key:=json")
        made[pair[0]] = pair[1]
    return made
