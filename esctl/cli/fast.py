"""The way in. The plain spellings of the hot verbs run here, without Typer and msgspec; all else goes to `app`.

A shell loop pays a cold start per event, and those two alone take longer than everything else that an append does.
Whatever is out of the ordinary, a refusal included, is handed over before anything is written, so that there is one
parser that explains and one set of messages.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from esctl.errors import EsctlError, UnavailableError

_OPTIONS = {
    "append": {"-l": "log", "--log": "log", "--id": "id", "--expect": "expect"},
    "replay": {"-l": "log", "--log": "log"},
    "state": {"-l": "log", "--log": "log"},
    "head": {"-l": "log", "--log": "log"},
    "projection run": {"-l": "log", "--log": "log"},
}
_ARGUMENTS = {"append": (2, 3), "replay": (0, 1), "state": (1, 1), "head": (0, 0), "projection run": (0, 100)}
MODEL_SECONDS = 10.0  # that a statement with a model's expressions in it may run
_MAX_PLAIN_BYTES = 1024 * 1024


class Plain:
    """A plain command line: the verb, what stands without an option, and the options by name."""

    __slots__ = ("arguments", "options", "verb")

    def __init__(self, verb: str, arguments: list[str], options: dict[str, str]) -> None:
        self.verb, self.arguments, self.options = verb, arguments, options


def parse(argv: list[str]) -> Plain | None:
    """Read a command line if it is plain: an option at most once, with its value in a word of its own."""
    verb, words = (" ".join(argv[:2]), argv[2:]) if argv[:1] == ["projection"] else (argv[0] if argv else "", argv[1:])
    known = _OPTIONS.get(verb)
    if known is None:
        return None
    arguments: list[str] = []
    options: dict[str, str] = {}
    left = iter(words)
    for word in left:
        if not word.startswith("-"):
            arguments.append(word)
            continue
        name, value = known.get(word), next(left, None)
        if name is None or value is None or value.startswith("-") or name in options:
            return None
        options[name] = value
    low, high = _ARGUMENTS[verb]
    return Plain(verb, arguments, options) if low <= len(arguments) <= high else None


def run(argv: list[str]) -> int | None:
    """Run a plain command line and return its exit code; None, with nothing done, if `app` has to see to it."""
    if argv[:3] == ["completion", "words", "--"]:
        return _complete(argv[3:])
    plain = parse(argv)
    if plain is None or "ESCTL_FORMAT" in os.environ:
        return None
    if plain.verb == "append":
        return _append(plain)
    ways = {"replay": _replay, "state": _state, "head": _head, "projection run": _project}
    return ways[plain.verb](plain)


def _complete(words: list[str]) -> int:
    """What the completion scripts ask for; not a command that people type."""
    from esctl import output
    from esctl.cli.complete import candidates

    output.text("".join(f"{word}\n" for word in candidates(words)))
    return 0


def _path(plain: Plain) -> Path:
    from esctl.cli.locate import find

    return find(plain.options.get("log"))


def _append(plain: Plain) -> int | None:
    from esctl import output
    from esctl.events import check_name, check_stream, new_ids, parse_expect
    from esctl.log import EventLog

    stream, type_, data = (*plain.arguments, "{}")[:3]
    expected = plain.options.get("expect")
    expect = None if expected is None else parse_expect(expected)
    if (expected is not None and expect is None) or not _plain_json(data) or "ESCTL_MAX_EVENT" in os.environ:
        return None
    event_id = plain.options["id"] if "id" in plain.options else next(new_ids())
    try:
        check_stream(stream)
        check_name("type", type_)
        check_name("id", event_id)
    except EsctlError:
        return None
    with EventLog(_path(plain), write=True) as log:
        if not log.is_json(data):
            return None
        log.store.limit(MODEL_SECONDS)
        with log.transaction():
            receipts = log.append([(stream, type_, event_id, None, 0, data.rstrip(" "), "{}", expect)])
    output.records(map(output.receipt, receipts), output.resolve("auto"))
    return 0


def _plain_json(data: str) -> bool:
    """Whether a payload needs no second look: neither items nor a file, one line, no escaped surrogates."""
    return (
        data[:1] in ("{", "[", '"')
        and len(data) <= _MAX_PLAIN_BYTES
        and data.isprintable()
        and "\\ud" not in data
        and "\\uD" not in data
    )


def _replay(plain: Plain) -> int | None:
    if sys.stdout.isatty():
        return None
    from esctl import output
    from esctl.log import EventLog
    from esctl.query import Query

    with EventLog(_path(plain)) as log:
        log.store.limit(MODEL_SECONDS)
        output.lines(log.lines(Query(stream=plain.arguments[0] if plain.arguments else None)), "ndjson")
    return 0


def _state(plain: Plain) -> int | None:
    if sys.stdout.isatty():
        return None
    from esctl import aggregates, output
    from esctl.log import EventLog
    from esctl.query import Query

    with EventLog(_path(plain)) as log:
        log.store.limit(MODEL_SECONDS)
        output.write([aggregates.state(log, Query(stream=plain.arguments[0])).line()])
    return 0


def _project(plain: Plain) -> int | None:
    """Bring projections that few events are missing of to the head, without loading the model: what cron runs."""
    if sys.stdout.isatty():
        return None
    from esctl import output, projections
    from esctl.log import EventLog

    with EventLog(_path(plain), write=True) as log:
        log.store.limit(MODEL_SECONDS)
        done = projections.quick(log, plain.arguments)
    if done is None:
        return None
    output.records(done, output.resolve("auto"))
    return 0


def _head(plain: Plain) -> int:
    from esctl import output
    from esctl.log import EventLog

    with EventLog(_path(plain)) as log:
        output.head(log.head())
    return 0


def main() -> None:
    """Run this process's command line."""
    _have_streams()
    argv = sys.argv[1:]
    try:
        code = run(argv)
    except BaseException as error:  # noqa: BLE001 - `app` knows how runs end
        from esctl.cli import app

        code = app.ended_by(error, argv)
    if code is None:
        from esctl.cli import app

        sys.exit(app.run(argv))
    sys.stderr.flush()
    os._exit(code)  # stdout is flushed and the log closed: all that the interpreter's own end would do takes time


def _have_streams() -> None:
    """Refuse to work towards a closed stdout: an event would be stored and never acknowledged."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open
    if sys.stdout is None:
        from esctl import output

        closed = UnavailableError("stdout is closed", fix=">/dev/null   (if nobody needs the output)")
        output.report(closed)
        os._exit(closed.exit_code)
