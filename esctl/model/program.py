"""A compiled aggregate. A cold start loads this module, so it imports little."""

from __future__ import annotations

from esctl.events.record import Record


class Program(Record):
    """A compiled aggregate: `initial`, the state before any event (JSON text); the SQL expressions `state`, the state
    after an event (JSONB), and `accepts`, whether the event is accepted; `columns`, the columns of the event that the
    expressions use; `fold`, the fingerprint of the fold.
    """

    aggregate: str
    initial: str
    state: str
    accepts: str | None
    columns: tuple[str, ...]
    fold: str
