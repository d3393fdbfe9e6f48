"""A compiled projection, and its versions in a log. A cold start loads this module, so it imports little."""

from __future__ import annotations

from esctl.events.query import Upcasting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

ANY = "*"  # the handler for every type without its own
ERASED = "erased."  # the name of a handler for erased events of a type begins so
LIVE, BUILDING, PREVIOUS, DROPPED = "live", "building", "previous", "dropped"
COMPILER = 2  # raise it when the same projection compiles to other SQL that gives the same rows
SCRATCH = "scratch"  # a version outside the log, in temporary tables


class Compiled:
    """A projection as SQL that is ready to run.

    `tables` and `indexes` are the CREATE statements by name; `on` the handlers by event type; `columns` the expressions
    over an event, by column name, that are passed to the handlers; `upcasting` the upcasts of the events that handlers
    can see; `engine` is the COMPILER that made it.
    """

    __slots__ = ("columns", "engine", "indexes", "on", "tables", "upcasting")

    def __init__(
        self,
        tables: dict[str, str],
        indexes: dict[str, str],
        on: dict[str, str],
        columns: dict[str, str],
        upcasting: Upcasting,
        engine: int = COMPILER,
    ) -> None:
        self.engine = engine
        self.tables, self.indexes, self.on, self.columns, self.upcasting = tables, indexes, on, columns, upcasting

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that are fed to the handlers; empty for all types."""
        types = types_of(self.on)
        return () if ANY in types else types


def types_of(handlers: Collection[str]) -> tuple[str, ...]:
    """The event types that handlers are for: a name such as `erased.Placed` is for erased events of the type Placed,
    and for a type of that whole name, too.
    """
    erased = (name.removeprefix(ERASED) for name in handlers if name.startswith(ERASED))
    return tuple(dict.fromkeys((*handlers, *filter(None, erased))))


class Version:
    """One version of a projection's tables in a log, with its checkpoint.

    One version is `live`: its tables have the names from the model. Beside it, one may be `building`, which becomes
    live when it has caught up, and one `previous`, which was live before; the names of their tables end in
    `__<version>`. A `dropped` version has no tables; it is rebuilt only on request.

    `fingerprint` covers the definition and the upcasts that it sees. `model` is the position of the model that the
    version was last compared with, `held` that of the model in spite of which a user brought the version back.
    `position` is the checkpoint: the last event that the rows include. `failed` is the position of the event on which
    the handler for the type `handler` failed with the message `error`.
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
        """The name in the file of a table of the model."""
        return table if self.state == LIVE else f"{table}__{self.version}"


class HandlerFailed(Exception):  # noqa: N818 - internal: the caller that knows the event raises HandlerError
    """A handler failed on an event, or ran too long; `reason` is SQLite's message.

    `position` is the event's, if known, and `type` its type after upcasting; `undone`: everything that was fed has been
    rolled back, and the transaction goes on.
    """

    def __init__(self, reason: str, position: int | None = None, type_: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.position, self.type, self.undone = reason, position, type_, False
