"""How far reactions have come, what runs, and what failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from esctl.errors import word
from esctl.events.times import age, clock_text
from esctl.log import EventLog
from esctl.reactions import lease
from esctl.reactions.admin import named
from esctl.reactions.definition import Definition, defined
from esctl.store.reactions import BLOCKING, RETRYING, STOPPED, Letter, Reaction


def state_of(reaction: Reaction, letters: Sequence[Letter], now: float, *, running: bool) -> str:
    """The state of a reaction in a word."""
    if reaction.paused:
        return "paused"
    if reaction.closed_until is not None and reaction.closed_until > clock_text(now):
        return "waiting"
    if running:
        return "running"
    return "stopped" if any(letter.state == STOPPED for letter in letters) else "idle"


def listed(log: EventLog) -> list[dict[str, object]]:
    """A record per reaction, or part of one."""
    now, store = time.time(), log.store.reactions()
    found: list[dict[str, object]] = []
    for one in store.all():
        definition = defined(one)
        found.append(
            {
                "reaction": one.name,
                "part": _part(one),
                "state": state_of(one, store.letters(one.name, one.part), now, running=lease.is_running(log, one)),
                "position": one.position,
                "handled": one.handled,
                "filter": _filter(definition),
                "command": definition.command or definition.kind,
            }
        )
    return found


def _part(one: Reaction) -> str | None:
    return f"{one.part}/{one.parts}" if one.parts > 1 else None


def _filter(definition: Definition) -> str:
    """The filter in words, as options."""
    words = [f"--type {word(name)}" for name in definition.types]
    others = {name: getattr(definition, name) for name in ("stream", "category", "where", "key")}
    words += [f"--{name} {word(value)}" for name, value in others.items() if value is not None]
    return " ".join(words)


def status(log: EventLog, names: Sequence[str] = ()) -> list[dict[str, object]]:
    """A record per reaction, or part of one: how far it is behind, what runs, what failed."""
    for name in names:
        named(log, name)
    now, store = time.time(), log.store.reactions()
    return [_status(log, one, now) for one in store.all() if not names or one.name in names]


def _status(log: EventLog, one: Reaction, now: float) -> dict[str, object]:
    letters = log.store.reactions().letters(one.name, one.part)
    parked = [letter for letter in letters if letter.state in BLOCKING]
    waiting = [letter for letter in letters if letter.state == RETRYING]
    lag, first = behind(log, one)
    is_running = lease.is_running(log, one)
    next_tries = [letter.next_try for letter in waiting if letter.next_try] + [one.closed_until]
    return {
        "reaction": one.name,
        "part": _part(one),
        "state": state_of(one, letters, now, running=is_running),
        "position": one.position,
        "lag": lag,
        "lag_seconds": 0 if first is None else age(first),
        "handled": one.handled,
        "rate": one.rate if is_running else 0,
        "running": one.running if is_running else 0,
        "retrying": len(waiting),
        "parked": len(parked),
        "next_try": min((at for at in next_tries if at), default=None),
        "breaker": "closed" if one.closed_until is None else "open" if one.closed_until > clock_text(now) else "trying",
        "holder": one.holder if is_running else None,
        "failed": one.failed,
        "error": one.error,
        "failed_at": one.failed_at,
    }


def behind(log: EventLog, one: Reaction) -> tuple[int, str | None]:
    """How many events a reaction has before it, and when the first of them was recorded. A part of a group counts the
    events of all parts. Events that wait behind dead letters do not count.
    """
    query = defined(one).query().replace(since=one.position + 1)
    if query.stream is not None and not log.store.stream_version(query.stream):
        return 0, None
    events, first = log.store.reactions().count(query, log.upcasting(query))
    done = msgspec.json.decode(one.done, type=list[tuple[int, int]])
    return max(0, events - sum(high - low + 1 for low, high in done)), first
