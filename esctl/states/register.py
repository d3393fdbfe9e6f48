"""A register of a number in a stream's state: what each event added to it or took from it, and its value then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation

from esctl.errors import NotFoundError, UsageError, word
from esctl.events.event import Event
from esctl.events.fields import inner
from esctl.events.json import Json
from esctl.events.paths import HINT, PathError, parts
from esctl.events.record import Record
from esctl.states.story import Entry

_EXACT = Context(prec=700, Emax=MAX_EMAX, Emin=MIN_EMIN)  # enough for a sum of any two floats


class Line(Record):
    """An event that changed the number; by how much, and the number after it (JSON texts; null: there is none)."""

    event: Event
    amount: Json
    value: Json


def lines(entries: Iterable[Entry], field: str) -> Iterator[Line]:
    """The lines of a register; a field that is absent or null counts as 0.

    Raises UsageError for what is not a path or not a number, NotFoundError if no state has the field.
    """
    try:
        path = parts(field)
    except PathError as error:
        raise UsageError(f"--register {field!r}: {error}", why=f"a field is {HINT}") from error
    found, event = False, None
    for entry in entries:
        event = entry.event
        texts = [inner(text, path) for text in (entry.before, entry.state)]
        found = found or texts != [None, None]
        before, after = (_number(text, field, event) for text in texts)
        if before != after:
            amount = str(_EXACT.subtract(after, before))
            yield Line(event, Json(amount), Json(texts[1] or "null"))
    if event is not None and not found:
        raise NotFoundError(
            f"no state of {event.stream} has a field {field}",
            why="--register takes a field of the state",
            fix=f"esctl state {word(event.stream)}",
        )


def _number(text: str | None, field: str, event: Event) -> Decimal:
    if text is None or text == "null":
        return Decimal(0)
    try:
        if text[:1] in "-0123456789":
            return Decimal(text)
    except InvalidOperation:
        pass
    raise UsageError(
        f"--register {field!r}: it is not a number at #{event.position}",
        why=f"it is {text[:60]}",
        fix=f"esctl log {word(event.stream)}",
    )
