"""A second connection that sees the same state of the file, so that two threads can check it."""

from __future__ import annotations

from contextlib import ExitStack, closing

from esctl.errors import EsctlError
from esctl.store.format import Memory
from esctl.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

TRIES = 20  # beside busy writers


class Twin:
    """A block in which everything that a store reads is of one state of the file. If `wanted`, it gives a second store
    that sees the same state; None if there can be none: within a transaction, in memory, or beside a writer that never
    pauses.
    """

    def __init__(self, store: Store, *, wanted: bool) -> None:
        self._store, self._stack = store, ExitStack()
        self._tries = TRIES if wanted and not store.in_transaction() and not isinstance(store.path, Memory) else 0

    def __enter__(self) -> Store | None:
        for _ in range(self._tries):
            with ExitStack() as stack:
                try:
                    twin = stack.enter_context(closing(Store(self._store.path, timeout=self._store.timeout)))
                except EsctlError:  # the file was moved meanwhile
                    break
                twin.changed()
                stack.enter_context(self._store.one_state())
                stack.enter_context(twin.one_state())
                if not twin.changed() and twin.head() == self._store.head():  # nothing was committed in between
                    self._stack = stack.pop_all()
                    return twin
        self._stack.enter_context(self._store.one_state())
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, where)
