"""Take, list, verify and prune the snapshots of a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from esctl.errors import EsctlError, MisfitError
from esctl.events.json import Json
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.declared import Aggregate
from esctl.model.program import Program
from esctl.sql.paths import readable
from esctl.states.snapshots import DAMAGED, problem, save, usable
from esctl.store.folds import Fold
from esctl.store.misfits import in_fold
from esctl.store.snapshots import Snapshot, State

SNAPSHOTS_PER_TRANSACTION = 500
SNAPSHOTS_AT_ONCE = 500  # that are compared together


def record(snapshot: Snapshot, wrong: str = "") -> dict[str, object]:
    """A snapshot as a record; `problem` is the reason why it cannot be used."""
    return {
        "stream": snapshot.stream,
        "aggregate": snapshot.aggregate or None,
        "version": snapshot.version,
        "position": snapshot.position,
        "time": snapshot.time,
        "bytes": len(snapshot.state.encode()),
        "taken": snapshot.taken,
        "problem": wrong or None,
    }


def take(log: EventLog, stream: str, aggregate: str | None = None) -> Snapshot | None:
    """Save the present state of a stream; None if it has no event."""
    log.require(Query(stream=stream))
    with log.transaction():  # so that the model cannot change between the fold and the save
        definitions = log.definitions
        chosen = definitions.aggregate(aggregate) if aggregate else definitions.of_stream(stream)
        program = definitions.program(chosen)
        fold = log.store.fold(program, definitions.upcasting)
        try:
            snapshot = _saved(log, fold, program, stream)
        except MisfitError as error:
            raise in_fold(log.store, definitions.model, chosen, fold, stream, error, raw=False) from error
    fold.close()
    return snapshot


def take_many(log: EventLog, aggregate: str | None, *, due: bool) -> Iterator[Snapshot]:
    """Save the states of all streams of an aggregate (None: of all aggregates), or only those due by its policy.

    Raises MisfitError at the end if some streams cannot be folded.
    """
    definitions, unfit = log.definitions, list[MisfitError]()
    for name in [aggregate] if aggregate else list(definitions.model.aggregates):
        streams = [stream for stream, _ in log.store.facts().matching(definitions.aggregate(name).streams)]
        for start in range(0, len(streams), SNAPSHOTS_PER_TRANSACTION):
            yield from _portion(log, name, streams[start : start + SNAPSHOTS_PER_TRANSACTION], unfit, due=due)
    if unfit:
        unfit[0].what = f"{len(unfit)} streams cannot be folded; the first one: {unfit[0].what}"
        raise unfit[0]


def _portion(log: EventLog, name: str, streams: list[str], unfit: list[MisfitError], *, due: bool) -> list[Snapshot]:
    """Save the states of some streams of an aggregate in one transaction, folded by the model in force then.

    Streams that cannot be folded are skipped; their errors are added to `unfit`.
    """
    with log.transaction():
        aggregate = log.definitions.aggregate(name)
        program = log.definitions.program(aggregate)
        fold = log.store.fold(program, log.definitions.upcasting)
        selected = [stream for stream in streams if not due or _due(log, aggregate, program, stream)]
        saved: list[Snapshot | None] = []
        if _pays(log):
            try:
                saved, selected = _saved_together(log, fold, program, selected), []
            except MisfitError:
                fold.clear()
        for stream in selected:
            try:
                saved.append(_saved(log, fold, program, stream))
            except MisfitError as error:
                model = log.definitions.model
                unfit.append(in_fold(log.store, model, aggregate, fold, stream, error, raw=False))
    fold.close()
    return [snapshot for snapshot in saved if snapshot is not None]


def _saved(log: EventLog, fold: Fold, program: Program, stream: str) -> Snapshot | None:
    """Fold a stream from its newest usable snapshot, and save its state, within a transaction."""
    definitions = log.definitions
    newest = next(usable(log.store, stream, program, definitions.upcasts), None)
    fold.begin(stream, newest.values if newest else None)
    query = Query(stream=stream, since_version=newest.version + 1 if newest else 1)
    for _ in fold.feed(query):
        pass
    state, _ = fold.state(stream)
    if newest is not None and state[0] == newest.version:
        return newest  # there are no new events, or upcasts hide them
    return save(log.store, stream, program, definitions.upcasts, state)


def _pays(log: EventLog) -> bool:
    """Whether it pays to fold a portion of streams together: of an archive, each portion would unpack every frame."""
    return log.store.archive() is None


def _saved_together(log: EventLog, fold: Fold, program: Program, streams: Sequence[str]) -> list[Snapshot | None]:
    """What `_saved` does for each stream. Raises MisfitError, and saves nothing, if one cannot be folded."""
    newest, upcasts = dict[str, Snapshot](), log.definitions.upcasts
    for stream in streams if log.store.snapshots().exist(program.aggregate) else ():
        newest |= {found.stream: found for found in islice(usable(log.store, stream, program, upcasts), 1)}
    fold.begin_all([stream for stream in streams if stream not in newest])
    for stream, snapshot in newest.items():
        fold.begin(stream, snapshot.values)
    fold.feed_all(Query())
    states = fold.all_states()
    fold.clear()
    return [
        newest[stream]
        if stream in newest and states[stream][0] == newest[stream].version
        else save(log.store, stream, program, upcasts, states[stream])
        for stream in streams
    ]


def _due(log: EventLog, aggregate: Aggregate, program: Program, stream: str) -> bool:
    """Whether a new snapshot of a stream is due by the aggregate's policy."""
    if aggregate.every is None and not aggregate.when_types:
        return False
    newest = next(usable(log.store, stream, program, log.definitions.upcasts), None)
    since, version = newest.version if newest else 0, log.store.stream_version(stream)
    if aggregate.every is not None and version - since >= aggregate.every:
        return True
    if not aggregate.when_types or since >= version:
        return False
    query = Query(stream=stream, since_version=since + 1, types=aggregate.when_types, limit=1)
    return any(True for _ in log.read(query))


def listed(log: EventLog, stream: str | None = None) -> Iterator[dict[str, object]]:
    """Every snapshot as a record, with the reason why it cannot be used, if there is one."""
    for snapshot in _all(log, None if stream is None else [stream]):
        yield record(snapshot, _problem(log, snapshot))


def _all(log: EventLog, streams: Sequence[str] | None) -> Iterator[Snapshot]:
    for stream in streams or (None,):
        if stream is not None:
            log.require(Query(stream=stream))
        yield from log.store.snapshots().of(stream)


def _program(log: EventLog, snapshot: Snapshot) -> Program | None:
    """The present fold of a snapshot's aggregate; None if the model no longer has the aggregate."""
    definitions = log.definitions
    if not snapshot.aggregate:
        return definitions.program(None)
    aggregate = definitions.model.aggregates.get(snapshot.aggregate)
    return definitions.program(aggregate) if aggregate else None


def _problem(log: EventLog, snapshot: Snapshot) -> str:
    program = _program(log, snapshot)
    if program is None:
        return f"the model has no aggregate {snapshot.aggregate}"
    return problem(log.store, snapshot, program, log.definitions.upcasts)


class Report(NamedTuple):
    """The result of `verify`: how many snapshots were compared, how many were skipped as stale, how many are wrong, and
    the differences by path (`before`: in the snapshot, `after`: folded from the beginning).
    """

    checked: int
    stale: int
    wrong: int
    differences: list[dict[str, object]]


def verify(log: EventLog, streams: Sequence[str] | None = None, sample: int | None = None) -> Report:
    """Compare snapshots (with `sample`, about so many) with folds of their streams from the beginning."""
    with log.store.one_state():
        return _verified(log, streams, sample)


class _Chosen(NamedTuple):
    """A snapshot to be compared, the fold that it is compared with, and why it cannot be used (empty: it can)."""

    snapshot: Snapshot
    program: Program
    why: str


def _verified(log: EventLog, streams: Sequence[str] | None, sample: int | None) -> Report:
    step = 1 if sample is None else max(1, sum(1 for _ in _all(log, streams)) // sample)
    checked = stale = wrong = 0
    differences: list[dict[str, object]] = []
    folds: dict[str, Fold] = {}
    snapshots = islice(_all(log, streams), 0, None, step)
    while some := list(islice(snapshots, SNAPSHOTS_AT_ONCE)):
        chosen = []
        for snapshot in some:
            program, why = _program(log, snapshot), _problem(log, snapshot)
            if program is not None and why in ("", DAMAGED):
                chosen.append(_Chosen(snapshot, program, why))
        checked, stale = checked + len(chosen), stale + len(some) - len(chosen)
        for found in _compared(log, chosen, folds):
            wrong += bool(found)
            differences += found
    return Report(checked, stale, wrong, differences)


def _compared(log: EventLog, chosen: Sequence[_Chosen], folds: dict[str, Fold]) -> Iterator[list[dict[str, object]]]:
    """The differences between each snapshot and the state folded from the beginning."""
    states: dict[str, dict[tuple[str, int], State]] = {}
    together: dict[str, list[Snapshot]] = {}
    for snapshot, program, _ in chosen:
        folds[program.fold] = folds.get(program.fold) or log.store.fold(program, log.definitions.upcasting)
        together.setdefault(program.fold, []).append(snapshot)
    for key, snapshots in together.items() if _pays(log) else ():
        with suppress(MisfitError):  # the first of them that cannot be folded is named below
            states[key] = _folded(folds[key], snapshots)
    for snapshot, program, why in chosen:
        state = states.get(program.fold, {}).get((snapshot.stream, snapshot.version))
        yield _differences(log, snapshot, state or _state_at(log, folds[program.fold], snapshot), why)


def _folded(fold: Fold, snapshots: Iterable[Snapshot]) -> dict[tuple[str, int], State]:
    """The states of streams at the versions of snapshots. Each event is folded once."""
    versions: dict[str, list[int]] = {}
    for snapshot in snapshots:
        versions.setdefault(snapshot.stream, []).append(snapshot.version)
    for waiting in versions.values():
        waiting.sort(reverse=True)
    fold.clear()
    fold.begin_all(list(versions))
    states: dict[tuple[str, int], State] = {}
    while versions:
        fold.end_at({stream: waiting[-1] for stream, waiting in versions.items()})
        fold.feed_all(Query())
        states |= {(stream, waiting.pop()): fold.state(stream)[0] for stream, waiting in versions.items()}
        versions = {stream: waiting for stream, waiting in versions.items() if waiting}
    return states


def _state_at(log: EventLog, fold: Fold, snapshot: Snapshot) -> State:
    """The state at a snapshot, folded from the beginning."""
    fold.clear()
    fold.begin(snapshot.stream)
    query = Query(stream=snapshot.stream, until_version=snapshot.version)
    log.require(query)
    for _ in fold.feed(query):
        pass
    return fold.state(snapshot.stream)[0]


def _differences(log: EventLog, snapshot: Snapshot, folded: State, why: str) -> list[dict[str, object]]:
    names: dict[str, object] = {
        "stream": snapshot.stream,
        "aggregate": snapshot.aggregate or None,
        "version": snapshot.version,
    }
    version, position, time, latest, state = folded
    saved = (snapshot.version, snapshot.position, snapshot.time, snapshot.latest)
    found: list[dict[str, object]] = []
    try:
        is_same = snapshot.state == state  # nearly always, and seen at once
        for path, before, after in () if is_same else log.store.facts().differences(snapshot.state, state):
            values = {"before": before and Json(before), "after": after and Json(after)}
            found.append({**names, "path": readable(path), **values})
    except EsctlError as error:
        found.append({**names, "path": "", "before": None, "after": error.why or error.what})
    if not found and (saved != (version, position, time, latest) or why):
        found.append({**names, "path": "", "before": str(saved), "after": str((version, position, time, latest))})
    return found


def prune(log: EventLog, streams: Sequence[str] | None, keep: int) -> int:
    """Delete all but the newest `keep` usable snapshots of each stream and aggregate; return how many were deleted."""
    kept: dict[tuple[str, str], int] = {}
    with log.transaction():
        pruned = []
        for snapshot in _all(log, streams):
            key = snapshot.stream, snapshot.aggregate
            if _problem(log, snapshot) or kept.get(key, 0) >= keep:
                pruned.append(snapshot)
            else:
                kept[key] = kept.get(key, 0) + 1
        for snapshot in pruned:
            log.store.snapshots().delete(snapshot.stream, snapshot.aggregate, snapshot.version)
    return len(pruned)
