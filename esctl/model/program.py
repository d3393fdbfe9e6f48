"""What an aggregate is once it is compiled. Light: a cold run loads it."""

from __future__ import annotations

from esctl.events.record import Record


class Program(Record):
    """How one aggregate folds: the state before any event (JSON text), the SQL expressions of the state after an event
    (JSONB) and of whether it is accepted, which columns of the event they name, and the fingerprint of the fold.
    """

    aggregate: str
    initial: str
    state: str
    accepts: str | None
    columns: tuple[str, ...]
    fold: str
