"""Append events as the log's model requires: default schema versions, JSON Schemas, rules, inline projections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from esctl.append.expectations import RunExpectation
    from esctl.append.rules import Rules
    from esctl.events.event import NewEvent, Prepared, Receipt
    from esctl.log import EventLog
    from esctl.model.applied import Definitions
    from esctl.store.appends import Kept


class Writer:
    """Appends to one log. It caches the states that rules need, so use one writer for many appends."""

    def __init__(self, log: EventLog, *, rules: bool = True) -> None:
        """Without `rules`, the model's rules are not checked; its JSON Schemas still are."""
        self.log = log
        self.asks_rules = rules
        self._stamped: Definitions | None = None  # the model whose default schema versions the store has
        self._judged: Definitions | None = None  # the model of `_rules`
        self._rules: Rules | None = None
        self._pinned: Definitions | None = None  # the model that the log's pins were checked against
        self._undone = 0  # the log's number of rolled back transactions when rules were last checked

    def transaction(self, *, keep: bool = True, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """A block of many appends that commit together; see `Store.transaction`.

        Only the rows of inline projections may refer to others that are not there.
        """
        log = self.log
        model = log.store.model()
        interned = None if model and log.definitions.keeps_inline else model
        return log.transaction(keep=keep, waiting=waiting, interned=interned)

    def append(
        self,
        events: Sequence[NewEvent],
        run: RunExpectation | None = None,
        kept: Kept | None = None,
        more: Iterable[Prepared] = (),
    ) -> list[Receipt]:
        """Append within the open transaction of the log; see `Store.append`.

        Raises RefusedError for an event that the log's model does not accept, by its JSON Schema or its stream's state.
        A duplicate is not checked again: it was accepted the first time.
        """
        log, store = self.log, self.log.store
        if log.pins:
            events = self._with_pins(events)
            more = (part._replace(events=self._with_pins(part.events)) for part in more)
        if not store.model():
            if self._stamped is not None:  # the transaction that applied the model was rolled back
                store.stamp({})
                self._stamped = None
            receipts = store.append(events, run, kept=kept, more=more)
            self._note_names()
            return receipts
        definitions, before = log.definitions, log.head().position
        if self._stamped is not definitions:
            store.stamp(definitions.newest)
            self._stamped = definitions
        events = list(events)
        receipts = store.append(events[:], run, kept=kept, more=_added(events, more))
        from esctl.append import admission  # noqa: PLC0415 - only a model needs it

        admission.check(store, definitions, events, receipts, before)
        if self.asks_rules:
            self._rules_of(definitions).judge(receipts, before)
        if definitions.keeps_inline and log.head().position > before:
            from esctl.projections import inline  # noqa: PLC0415 - only a model with inline projections needs it

            inline.keep(store, receipts, before)
        self._note_names()
        return receipts

    def _note_names(self) -> None:
        """Note names that are new to the log and look misspelt."""
        categories, types = self.log.store.new_names()
        if categories or types:
            from esctl.append import spelling  # noqa: PLC0415 - only a new name needs it

            self.log.notes += spelling.doubts(self.log, categories, types)

    def _with_pins(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        """The events with the schema versions that the log's pins give. Raises RefusedError for an impossible pin."""
        from esctl.append import pins  # noqa: PLC0415 - most writers have no pins

        if self.log.store.model() and self._pinned is not self.log.definitions:
            pins.check(self.log.definitions, self.log.pins)
            self._pinned = self.log.definitions
        return pins.pinned(events, self.log.pins)

    def _rules_of(self, definitions: Definitions) -> Rules:
        """The model's rules; their cache is cleared if a transaction was rolled back since the last call."""
        if self._rules is None or self._judged is not definitions:
            from esctl.append.rules import Rules  # noqa: PLC0415 - only a model needs it

            self._rules, self._judged = Rules(self.log.store, definitions), definitions
        elif self._undone != self.log.undone:
            self._rules.forget()
        self._undone = self.log.undone
        return self._rules


def _added(events: list[NewEvent], parts: Iterable[Prepared]) -> Iterator[Prepared]:
    """Parts of events, each added to others as it comes."""
    for part in parts:
        events += part.events
        yield part
