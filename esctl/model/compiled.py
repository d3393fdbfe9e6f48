"""What a projection is once it is compiled, and the versions of it that a log keeps. Light: a cold run loads it."""

from __future__ import annotations

from esctl.events.query import Upcasting

ANY = "*"  # the handler of every type that has none
LIVE, BUILDING, PREVIOUS, DROPPED = "live", "building", "previous", "dropped"
SCRATCH = "scratch"  # of one that is in no log, but in temporary tables


class Compiled:
    """A projection as SQL that is ready to run.

    `tables` and `indexes` are the statements that make them, by name; `on` the handlers, by event type; `columns` what
    these are given of an event, by name, as expressions over it; `upcasting` what stored events are read as, of those
    that a handler may see.
    """

    __slots__ = ("columns", "indexes", "on", "tables", "upcasting")

    def __init__(
        self,
        tables: dict[str, str],
        indexes: dict[str, str],
        on: dict[str, str],
        columns: dict[str, str],
        upcasting: Upcasting,
    ) -> None:
        self.tables, self.indexes, self.on, self.columns, self.upcasting = tables, indexes, on, columns, upcasting

    @property
    def types(self) -> tuple[str, ...]:
        """The types that are fed to the handlers; nothing stands for all."""
        return () if ANY in self.on else tuple(self.on)


class Version:
    """A projection's tables in a log, and how far they are.

    One version is `live`: its tables have the names that the model says. Beside it one may be `building`, which takes
    its place when it has caught up, and one `previous`, which was live before; names of their tables end in
    `__<version>`. A `dropped` one has no tables, and comes back only when it is asked for.

    `fingerprint` is that of the definition and of the upcasts that it sees; `model` the model that it was last compared
    with; `held` the model in spite of which it was brought back. `position` is the checkpoint: the last event that the
    rows hold. `failed` is the event that a handler could not take, `handler` and `error` say which and why.
    """

    __slots__ = (
        "compiled", "error", "failed", "failed_at", "fingerprint", "handler", "held", "inline", "made", "model", "name",
        "position", "reducer", "state", "version"
    )  # fmt: skip

    def __init__(
        self,
        version: int,
        name: str,
        state: str,
        inline: bool,
        model: int,
        held: int,
        fingerprint: str,
        compiled: Compiled,
        reducer: str | None,
        position: int,
        made: str,
        failed: int | None = None,
        handler: str | None = None,
        error: str | None = None,
        failed_at: str | None = None,
    ) -> None:
        self.version, self.name, self.state, self.inline, self.model, self.held = (
            version, name, state, inline, model, held
        )  # fmt: skip
        self.fingerprint, self.compiled, self.reducer = fingerprint, compiled, reducer
        self.position, self.made = position, made
        self.failed, self.handler, self.error, self.failed_at = failed, handler, error, failed_at

    def actual(self, table: str) -> str:
        """What a table of the model is called in the file."""
        return table if self.state == LIVE else f"{table}__{self.version}"


class HandlerFailed(Exception):  # noqa: N818 - whoever knows the event reports the failure
    """A handler could not take an event, or ran too long; `reason` is SQLite's message.

    `position` is that of the event, where it is known, and `type` what it is read as; `undone`: nothing is left of what
    was fed, and the transaction goes on.
    """

    def __init__(self, reason: str, position: int | None = None, type_: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.position, self.type, self.undone = reason, position, type_, False
