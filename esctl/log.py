"""A log: its store, and what is asked of it. The one place where store, archive and upcasts meet."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from esctl.errors import NotFoundError
from esctl.events import Expect, NewEvent
from esctl.query import Query
from esctl.stores.sqlite import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from esctl.stores.base import Finding, Form, Head, Receipt, SealedEvent, Store


class RunExpectation:
    """One expectation for every stream that a run touches, asked at the first new event of each.

    A number moves along with duplicates that follow it: when an append is retried, what its first try wrote is what
    the second may expect.
    """

    def __init__(self, expect: Expect) -> None:
        self._expect = 0 if expect == "none" else expect
        self._streams: dict[str, Expect | None] = {}

    def wanted(self, stream: str) -> Expect | None:
        """See Store."""
        return self._streams.get(stream, self._expect)

    def met(self, stream: str) -> None:
        """See Store."""
        self._streams[stream] = None

    def seen(self, stream: str, version: int) -> None:
        """See Store."""
        wanted = self.wanted(stream)
        if isinstance(wanted, int) and version == wanted + 1:
            self._streams[stream] = version


class EventLog:
    """An open log. Close it, or use it in a `with` block."""

    def __init__(self, path: Path, *, write: bool = False, bulk: bool = False, timeout: float = 5.0) -> None:
        """Open the log at `path` for reading, or for writing too; see `SqliteStore`."""
        self.path = path
        self.store: Store = SqliteStore(path, write=write, bulk=bulk, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def log_id(self) -> str:
        """The log's id, for ever the same."""
        return self.store.log_id

    def head(self) -> Head:
        """The newest event: position, hash, recorded."""
        return self.store.head()

    def transaction(self, *, keep: bool = True) -> AbstractContextManager[None]:
        """Appends within commit as one; see `Store.transaction`."""
        return self.store.transaction(keep=keep)

    def append(self, events: Sequence[NewEvent], run: RunExpectation | None = None) -> list[Receipt]:
        """Append within the open transaction; see `Store.append`."""
        return self.store.append(events, run)

    def read(self, query: Query) -> Iterator[SealedEvent]:
        """The events of a query."""
        self._known(query)
        return self.store.read(query)

    def lines(self, query: Query, form: Form = "line") -> Iterator[bytes]:
        """The events of a query as chunks of NDJSON."""
        self._known(query)
        return self.store.lines(query, form)

    def is_json(self, text: str) -> bool:
        """Whether a text is strict JSON, asked of the store."""
        return self.store.is_json(text)

    def check(self, *, full: bool) -> Iterator[Finding]:
        """What the store finds wrong with itself."""
        return self.store.check(full=full)

    def backup(self, target: Path) -> None:
        """Copy the log into a new file while it is in use."""
        self.store.backup(target)

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()

    def _known(self, query: Query) -> None:
        """Refuse a stream that the log does not have, naming what comes near."""
        if query.stream is not None and not self.store.stream_version(query.stream):
            near = difflib.get_close_matches(query.stream, self.store.names("stream"), 3, 0.75)
            raise NotFoundError(
                f"there is no stream {query.stream} in {self.path}",
                why=f"did you mean {' or '.join(near)}?" if near else "no event names it",
                fix=f"esctl replay {near[0]}" if near else "esctl replay --limit 5   (shows what the log has)",
                stream=query.stream,
            )
