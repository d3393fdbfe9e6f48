"""Check new events against their aggregate's rules, which see the stream's state, in the appending transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esctl.errors import MisfitError, RefusedError, word
from esctl.events.event import index_at
from esctl.events.query import MAX_POSITION, Query
from esctl.model.applied import Definitions
from esctl.model.declared import ANY, Aggregate
from esctl.states import snapshots
from esctl.store.folds import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.event import Receipt
    from esctl.store.folds import Fold
    from esctl.store.store import Store

MAX_STATE_BYTES = 16 * 1024 * 1024  # of states cached from one batch to the next
STATES_PER_SIZE_CHECK = 1000  # new states before the size of the cache is measured again
MAX_FED_SINGLY = 8  # streams that are caught up one by one; feeding all at once goes over every cached state
EVENTS_PER_FEED = 20_000


class Rules:
    """The rules of a log's model, with a cache of the states of recently checked streams."""

    def __init__(self, store: Store, definitions: Definitions) -> None:
        self._store, self._definitions = store, definitions
        judged = [a for a in definitions.model.aggregates.values() if a.accept]
        self._aggregates = [_AggregateRules(store, definitions, aggregate) for aggregate in judged]

    def forget(self) -> None:
        """Clear the cache: states folded in a transaction that was rolled back are wrong."""
        for rules in self._aggregates:
            rules.forget()

    def judge(self, receipts: Sequence[Receipt], before: int) -> None:
        """Check every event appended after the position `before`, in order, against the state before it.

        Raises RefusedError with the event's `index` (its place in the receipts), the rule, and the state that it saw;
        the transaction must then be rolled back. Saves the snapshots that a policy requires.
        """
        for rules in self._aggregates:
            rules.judge(receipts, before)


class _AggregateRules:
    """One aggregate's rules."""

    def __init__(self, store: Store, definitions: Definitions, aggregate: Aggregate) -> None:
        self._store, self._definitions, self._aggregate = store, definitions, aggregate
        self._program = definitions.program(aggregate)
        self._fold: Fold | None = None
        self._upto: dict[str, int] = {}  # stream -> the version up to which its state is folded
        self._measured = 0  # the number of states when their size was last measured
        self._saved: dict[str, int] = {}  # stream -> the version of its newest snapshot

    def forget(self) -> None:
        """Clear the cache of states."""
        self._upto.clear()
        self._saved.clear()
        self._measured = 0
        if self._fold is not None and not self._fold.survive():
            self._fold = None

    def judge(self, receipts: Sequence[Receipt], before: int) -> None:
        touched = self._touched(receipts)
        if not touched:
            return
        fold = self._fold = self._fold or self._store.fold(self._program, self._definitions.upcasting)
        if len(self._upto) > self._measured + STATES_PER_SIZE_CHECK:
            self._measured = len(self._upto)
            if fold.size() > MAX_STATE_BYTES:
                self.forget()
        self._catch_up(fold, touched, before)
        try:
            self._ask(fold, before + 1)
        except Refused as refused:
            raise self._refusal(receipts, refused) from refused
        except MisfitError as misfit:
            raise self._unfit(fold, receipts, touched, before, misfit) from misfit
        for stream, (_, last) in touched.items():
            self._upto[stream] = last
        self._snapshots(fold, touched, before)

    def _ask(self, fold: Fold, since: int, until: int = MAX_POSITION) -> None:
        fold.judge(Query(since=since, until=until), self._aggregate.streams)

    def _unfit(
        self,
        fold: Fold,
        receipts: Sequence[Receipt],
        touched: dict[str, tuple[int, int]],
        before: int,
        misfit: MisfitError,
    ) -> RefusedError:
        """The error for an event that cannot be folded or checked, with the place in the model that fails. If SQLite
        did not report the position, search for it.
        """
        known = position = misfit.details.get("position")
        self.forget()
        self._catch_up(fold, touched, before)
        if isinstance(known, int):
            self._ask(fold, before + 1, known - 1)
        else:
            for position, _, _, _, duplicate in receipts:
                try:
                    if not duplicate:
                        self._ask(fold, position, position)
                except (MisfitError, Refused):
                    break
        index = index_at(receipts, position)
        assert index is not None
        stream = receipts[index].stream
        error = RefusedError(
            f"the event in {stream} is refused: {misfit.details.get('reason', misfit.what)}",
            why=f"aggregate.{self._aggregate.name} could not fold it",
            index=index,
            stream=stream,
        )
        if field := self._field(fold, stream, receipts[index].position, misfit):
            error.why = f"{field} fails on it"
            error.details["field"] = field
        return error

    def _field(self, fold: Fold, stream: str, position: int, misfit: MisfitError) -> str:
        """The place in the model that fails on the event at a position, before which the fold's state is."""
        from esctl.store.misfits import in_fold  # noqa: PLC0415 - only a failure needs it

        model = self._definitions.model
        is_reported = "position" in misfit.details  # SQLite reports it for steps, not for rules
        misfit.details["position"] = position
        named = in_fold(self._store, model, self._aggregate, fold, stream, misfit, raw=False)
        if "field" in named.details:
            return str(named.details["field"])
        if is_reported:
            return ""
        for event, _, _ in self._store.read(Query(since=position, until=position), self._definitions.upcasting):
            rule = self._aggregate.accept.get(event.type) or self._aggregate.accept.get(ANY)
            return rule.place if rule else ""  # the steps do not fail, so the rule did
        return ""

    def _touched(self, receipts: Sequence[Receipt]) -> dict[str, tuple[int, int]]:
        """The aggregate's streams with new events, and the first and last version of these."""
        touched: dict[str, tuple[int, int]] = {}
        others: set[str] = set()
        for _, stream, version, _, duplicate in receipts:
            if duplicate or stream in others:
                continue
            if stream in touched:
                touched[stream] = touched[stream][0], version
            elif self._definitions.of_stream(stream) is self._aggregate:
                touched[stream] = version, version
            else:
                others.add(stream)
        return touched

    def _catch_up(self, fold: Fold, touched: dict[str, tuple[int, int]], before: int) -> None:
        """Fold every touched stream up to its last event at or before the position `before`, some streams at a time."""
        query = Query(until=before)
        saved = self._store.snapshots().exist(self._aggregate.name)
        new: list[str] = []
        behind: dict[str, tuple[int, int]] = {}
        for stream, (first, _) in touched.items():
            known = self._upto.get(stream)
            if known is None and saved and first > 1:
                known = self._begin(fold, stream, first - 1)
            if known is None:
                new.append(stream)
            if (known or 0) < first - 1:
                behind[stream] = (known or 0) + 1, first - 1
            if sum(last - since for since, last in behind.values()) > EVENTS_PER_FEED and len(behind) > MAX_FED_SINGLY:
                fold.begin_all(new)
                fold.feed_all(query)
                new, behind = [], {}
        fold.begin_all(new)
        if len(behind) > MAX_FED_SINGLY:
            fold.feed_all(query)
            return
        for stream, (since, last) in behind.items():
            one = Query(stream=stream, since_version=since, until_version=last)
            for _ in fold.feed(one):
                pass

    def _begin(self, fold: Fold, stream: str, version: int) -> int | None:
        """Start a stream's fold at its newest usable snapshot; return the version, or None without a snapshot."""
        bounds = snapshots.Bounds(version=version)
        found = snapshots.usable(self._store, stream, self._program, self._definitions.upcasts, bounds)
        snapshot = next(found, None)
        if snapshot is None:
            return None
        fold.begin(stream, snapshot.values)
        self._saved[stream] = snapshot.version
        return snapshot.version

    def _snapshots(self, fold: Fold, touched: dict[str, tuple[int, int]], before: int) -> None:
        """Save the snapshots that the aggregate's policy requires."""
        every = self._aggregate.every
        due = set(self._streams_with_due_types(before)) if self._aggregate.when_types else set()
        if every is not None:
            due.update(s for s, (_, last) in touched.items() if last - self._saved.get(s, 0) >= every)
        for stream in touched.keys() & due:
            state, _ = fold.state(stream)
            snapshots.save(self._store, stream, self._program, self._definitions.upcasts, state)
            self._saved[stream] = state[0]

    def _streams_with_due_types(self, before: int) -> Iterator[str]:
        """The streams with an event after a position whose type the policy names."""
        query = Query(since=before + 1, types=self._aggregate.when_types)
        return (event.stream for event, _, _ in self._store.read(query, self._definitions.upcasting))

    def _refusal(self, receipts: Sequence[Receipt], refused: Refused) -> RefusedError:
        index = index_at(receipts, refused.position)
        assert index is not None
        type_, state, stream = refused.type, refused.state, receipts[index].stream
        rule = self._aggregate.accept.get(type_) or self._aggregate.accept[ANY]
        exists = next(receipt.duplicate or receipt.version > 1 for receipt in receipts if receipt.stream == stream)
        result = "is NULL: a value that it uses is missing" if refused.unsure else "is false"
        return RefusedError(
            f"{type_} in {stream} is refused: {rule.message}",
            why=f"{rule.place} = {rule.sql} {result}; the state is {state}",
            fix=f"esctl state {word(stream)}" if exists else "esctl model show",
            index=index,
            stream=stream,
            type=type_,
            id=receipts[index].id,
            aggregate=self._aggregate.name,
            rule=rule.sql,
            message=rule.message,
            state=state,
        )
