"""Compare a new model with the one in force, find what each change costs, and apply the new one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from esctl.errors import ConflictError, HandlerError, MisfitError, NotFoundError, RefusedError, UnavailableError
from esctl.events.event import Receipt, max_event_bytes
from esctl.events.query import Query
from esctl.evolution import conformance
from esctl.evolution.stamps import Risk, risks
from esctl.log import EventLog
from esctl.model import json_schemas, upcasts, world
from esctl.model.applied import Applied, Definitions, record
from esctl.model.checks import checked, shared
from esctl.model.declared import ANY, Aggregate, Model, Problem, Rule, Upcast, fingerprint, refusal
from esctl.model.projections import mark, seen
from esctl.model.toml import parse
from esctl.model.world import Doubt
from esctl.projections import versions
from esctl.states import folding

MAX_FILE_BYTES = 1024 * 1024
FEW = 8  # events that are less than this part of the log are few: their streams are looked up, and only they are folded
_READING = {"upcast", "json schema", "schema"}  # the definitions by which stored events are read and checked


class Draft(NamedTuple):
    """A model file: its text, the JSON texts of the files that it names, and the decoded model."""

    text: str
    files: Mapping[str, str]
    model: Model

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the text and the files."""
        return fingerprint(self.text, dict(self.files))


class Change(NamedTuple):
    """A difference from the model in force: what happens (new, changed, gone, same) to a definition, its kind and name;
    the numbers of stored events affected, of snapshots and projections made stale, of events that do not fit; details.
    """

    change: str
    kind: str
    name: str
    events: int = 0
    snapshots: int = 0
    projections: int = 0
    misfits: int = 0
    detail: str = ""


def read(path: Path) -> tuple[Draft, list[Problem]]:
    """Read a model file and the files that it names, and find everything that is wrong with it.

    The named files have to be in its folder or below, since a model may come from a stranger. Raises NotFoundError,
    UnavailableError, RefusedError.
    """
    text = _text(path, max_event_bytes())
    files: dict[str, str] = {}

    def named(name: str) -> str:
        if name not in files:
            folder = path.parent.resolve()
            place = (folder / name).resolve()
            if not place.is_relative_to(folder):
                raise RefusedError(f"{name} lies outside the model's folder", why="a model names files beside it only")
            if not place.is_file():
                raise NotFoundError(f"there is no file {name} beside the model")
            try:
                files[name] = json.dumps(json.loads(_text(place, MAX_FILE_BYTES)), ensure_ascii=False)
            except RecursionError as error:
                raise RefusedError(f"{name} is nested too deeply") from error
        return files[name]

    model, problems = parse(text, named)
    wrong = {problem.place for problem in problems}
    _, more = checked(text, files)
    more += shared(model)
    problems += [problem for problem in more if problem.place not in wrong]
    if not problems:
        problems += json_schemas.problems(model)
    return Draft(text, files, model), problems


def _text(path: Path, limit: int) -> str:
    try:
        if path.stat().st_size > limit:
            raise RefusedError(f"{path} is larger than {limit} bytes")
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise UnavailableError(f"cannot read {path}", why=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path} is not valid UTF-8", why=error.reason) from error


def sound(path: Path) -> Draft:
    """Read a model file; raises RefusedError if anything is wrong with it."""
    draft, problems = read(path)
    if problems:
        raise refusal(problems, path)
    return draft


class Plan(NamedTuple):
    """The effects of applying a draft to a log, the position of the model that it was compared with, how many more
    stored events could not be read, the types whose writers it would stamp with a version that they may not know, and
    the declarations of types that look misspelt.
    """

    changes: list[Change]
    position: int
    unreadable: int
    risks: tuple[Risk, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def dropped(self) -> list[str]:
        """The projections that would be dropped."""
        return [change.name for change in self.changes if (change.change, change.kind) == ("gone", "projection")]


def plan(log: EventLog, draft: Draft) -> Plan:
    """Compare a draft with the model in force, and read the affected stored events as the draft would; all of it is of
    one state of the log.
    """
    with log.store.one_state():
        return _planned(log, draft)


def _planned(log: EventLog, draft: Draft) -> Plan:
    current = log.definitions
    applied = _next(log, current, draft)
    drafted = Definitions(applied)
    before, after = _pieces(current.model), _pieces(drafted.model)
    differing = [
        k for k in dict.fromkeys((*before, *after)) if _fingerprint_of(before.get(k)) != _fingerprint_of(after.get(k))
    ]
    costs = _Costs(log, drafted, differing)
    changes = []
    for kind, name in differing:
        key = kind, name
        change = "new" if key not in before else "gone" if key not in after else "changed"
        changes.append(costs.of(Change(change, kind, name, detail=_summary(after.get(key, before.get(key))))))
    changes += costs.unfoldable({name for kind, name in differing if kind == "aggregate"}) if differing else []
    stored = world.stored(log.store.facts().names("type"))
    doubtful = [doubt for doubt in world.doubts(draft.model, stored) if doubt.misspelt] if differing else []
    return Plan(changes, current.position, costs.unreadable, tuple(risks(current, drafted)), tuple(doubtful))


def _fingerprint_of(piece: object) -> str | None:
    return None if piece is None else fingerprint(piece)


def _pieces(model: Model) -> dict[tuple[str, str], object]:
    """The definitions of a model as comparable values, by kind and name."""
    pieces: dict[tuple[str, str], object] = {("strict model", "types and streams"): True} if model.strict else {}
    for name, event in model.events.items():
        pieces["schema", name] = event.schema
        if event.json_schema is not None:
            pieces["json schema", name] = json.loads(event.json_schema)
        if event.erasable:
            pieces["erasable", name] = True
        for upcast in event.upcasts:
            pieces["upcast", f"{name} {upcast.start}"] = upcast
    for name, aggregate in model.aggregates.items():
        pieces["aggregate", name] = aggregate._replace(every=None, when_types=(), accept={})
        if aggregate.every or aggregate.when_types:
            pieces["snapshot policy", name] = (aggregate.every, aggregate.when_types)
        for type_, rule in aggregate.accept.items():
            pieces["rule", f"{name}: {type_}"] = rule
    for name, projection in model.projections.items():
        pieces["projection", name] = projection
    return pieces


def _summary(piece: object) -> str:
    """A definition in a few words."""
    if isinstance(piece, Upcast):
        return upcasts.summary(piece)
    if isinstance(piece, Rule):
        return piece.sql
    if isinstance(piece, Aggregate):
        return f"streams {piece.streams}; folds {', '.join(piece.on) or 'nothing'}"
    if isinstance(piece, int):
        return "" if isinstance(piece, bool) else f"schema {piece}"
    if isinstance(piece, tuple) and len(piece) == 2:
        every, types = piece
        return " and ".join([f"every {every}"] * bool(every) + [f"on {', '.join(types)}"] * bool(types))
    return ""


def touched(
    current: Model, drafted: Model, differing: list[tuple[str, str]], stored: Iterable[tuple[str, int]]
) -> set[str]:
    """The stored types (of types and schemas) of events that pass through a definition that differs."""
    changed = {name.rpartition(" ")[0] if kind == "upcast" else name for kind, name in differing if kind in _READING}
    return {
        type_
        for type_, schema in stored
        if changed
        and any(n in changed for model in (current, drafted) for n, _ in upcasts.passed(model, type_, schema))
    }


class _Costs:
    """Counts what changes cost on a log; slow checks run only for the kinds of change that need them."""

    def __init__(self, log: EventLog, drafted: Definitions, differing: list[tuple[str, str]]) -> None:
        self._log, self._drafted = log, drafted
        self._counts = {(type_, schema): events for type_, schema, events in log.store.facts().schemas()}
        self._failed: Counter[tuple[str, str]] = Counter()
        self.unreadable = 0
        self._touched = touched(log.definitions.model, drafted.model, differing, self._counts)
        if self._touched:
            for row in conformance.check(log, drafted, only=self._touched):
                self._count(row)
        if self.unreadable:  # count only events that the draft makes unreadable
            rows = conformance.check(log, log.definitions, only=self._touched)
            self.unreadable = max(0, self.unreadable - sum(row.unreadable for row in rows))
        self._saved = list(log.store.snapshots().of())

    def _count(self, row: conformance.Row) -> None:
        """Attribute events that do not fit to every definition that they pass through."""
        self.unreadable += row.unreadable
        passed = upcasts.passed(self._drafted.model, row.type, row.schema)
        for type_, schema in passed:
            self._failed["upcast", f"{type_} {schema}"] += row.unreadable
        for type_ in {type_ for type_, _ in passed}:
            self._failed["json schema", type_] += row.kinds.get(conformance.SCHEMA, 0)

    def of(self, change: Change) -> Change:
        """A change with its costs."""
        kind, name = change.kind, change.name
        misfits = self._failed[kind, name]
        if kind in ("schema", "json schema", "erasable"):
            return change._replace(
                events=sum(n for (type_, _), n in self._counts.items() if type_ == name), misfits=misfits
            )
        if kind == "upcast":
            type_, _, schema = name.rpartition(" ")
            stale = sum(saved.upcasts != self._drafted.upcasts for saved in self._saved)
            events = self._counts.get((type_, int(schema)), 0)
            return change._replace(events=events, snapshots=stale, projections=self._seeing(type_), misfits=misfits)
        if kind == "strict model" and change.change != "gone":
            unnamed = Counter[str]()
            for (type_, _), events in self._counts.items():
                if type_ not in self._drafted.types:
                    unnamed[type_] += events
            detail = f"it names no {', '.join(sorted(unnamed))}" if unnamed else ""
            return change._replace(misfits=unnamed.total(), detail=detail)
        if kind == "aggregate":
            return self._aggregate(change)
        if kind == "rule":
            return self._rule(change)
        return change._replace(projections=int(change.change != "new")) if kind == "projection" else change

    def _seeing(self, type_: str) -> int:
        """The number of projections that do not change themselves, but are rebuilt since a type's upcasts change."""
        current, drafted = self._log.definitions, self._drafted
        same = (p for name, p in drafted.model.projections.items() if current.model.projections.get(name) == p)
        return sum(
            mark(projection, current.upcasting) != mark(projection, drafted.upcasting)
            for projection in same
            if type_ in {**seen(projection, current.upcasting), **seen(projection, drafted.upcasting)}
        )

    def unfoldable(self, but: set[str]) -> Iterator[Change]:
        """The unchanged aggregates of which other changes make a stream impossible to fold.

        Nothing if the draft makes events unreadable: the plan reports that already.
        """
        if self.unreadable or not self._touched:
            return
        streams = self._touched_streams()
        for name, aggregate in self._drafted.model.aggregates.items():
            if name in but or not self._sees_touched(aggregate):
                continue
            if failed := self._count_of(folding.misfits(self._log, aggregate, self._drafted, streams)):
                yield Change("same", "aggregate", name, misfits=failed, detail="streams that cannot be folded any more")

    def _sees_touched(self, aggregate: Aggregate) -> bool:
        """Whether an aggregate folds events whose reading changes, before or after."""
        read_as = set(self._touched)
        for upcasting in (self._log.definitions.upcasting, self._drafted.upcasting):
            read_as |= {
                s.type for type_ in self._touched for shapes in upcasting.get(type_, {}).values() for s in shapes
            }
        return not read_as.isdisjoint(aggregate.on)

    def _touched_streams(self) -> set[str] | None:
        """The streams that have events whose reading changes; None if these are many."""
        events = sum(number for (type_, _), number in self._counts.items() if type_ in self._touched)
        if events > self._log.head().position // FEW:
            return None
        query = Query(types=tuple(self._touched), raw_schema=True)
        return {event.stream for event, _, _ in self._log.read(query)}

    def _aggregate(self, change: Change) -> Change:
        aggregate = self._drafted.model.aggregates.get(change.name)
        own = [saved for saved in self._saved if saved.aggregate == change.name]
        if aggregate is None:
            return change._replace(snapshots=len(own))
        fold = self._drafted.program(aggregate).fold
        events = sum(version for _, version in self._log.store.facts().matching(aggregate.streams))
        misfits = self._count_of(folding.misfits(self._log, aggregate, self._drafted))
        return change._replace(events=events, snapshots=sum(saved.fold != fold for saved in own), misfits=misfits)

    def _count_of(self, found: Iterator[tuple[int, str]]) -> int:
        """The number of items; where SQLite itself fails on one, it counts too, and the rest is not counted."""
        count = 0
        try:
            for _ in found:
                count += 1
        except (MisfitError, HandlerError):
            count += 1
        return count

    def _read_as(self, type_: str) -> int:
        """The number of stored events that are read as a type; `*`: as any type."""
        shapes = self._drafted.upcasting
        return sum(
            events * sum(type_ in (shape.type, ANY) for shape in shapes.get(stored, {}).get(schema, ()))
            if schema in shapes.get(stored, {})
            else events * (type_ in (stored, ANY))
            for (stored, schema), events in self._counts.items()
        )

    def _rule(self, change: Change) -> Change:
        name, _, type_ = change.name.partition(": ")
        aggregate = self._drafted.model.aggregates.get(name)
        if aggregate is None or type_ not in aggregate.accept:
            return change
        only = aggregate._replace(accept={type_: aggregate.accept[type_]})
        doubted = self._count_of(folding.doubts(self._log, only, self._drafted))
        return change._replace(events=self._read_as(type_), misfits=doubted)


def _next(log: EventLog, current: Definitions, draft: Draft) -> Applied:
    """A draft as it would be applied; it keeps the JSON Schemas of earlier schema versions."""
    schemas: dict[str, dict[int, str]] = {}
    for name, event in draft.model.events.items():
        known = dict(current.schemas.get(name, {}))
        known.pop(event.schema, None)
        if event.json_schema is not None:
            known[event.schema] = event.json_schema
        if known:
            schemas[name] = known
    number = current.applied.number + 1 if current.applied else 1
    return Applied(number, draft.fingerprint, log.head().position + 1, "", None, draft.text, draft.files, schemas)


def drafted(log: EventLog, draft: Draft) -> Applied:
    """The model that applying a draft to a log now would store."""
    return _next(log, log.definitions, draft)


def apply(log: EventLog, draft: Draft, compared_with: int) -> Receipt | None:
    """Put a draft in force; None if the same model, byte for byte, is in force already.

    `compared_with` is the position of the model that the plan was made against. Raises ConflictError if another model
    is in force by now.
    """
    with log.transaction():
        current = log.definitions
        if current.position != compared_with:
            raise ConflictError(
                "another model was applied meanwhile",
                why="the plan was made against the previous one",
                again="",
            )
        if current.applied is not None and current.applied.fingerprint == draft.fingerprint:
            return None
        receipt = log.apply(record(_next(log, current, draft)))
        versions.sync(log)
        return receipt
