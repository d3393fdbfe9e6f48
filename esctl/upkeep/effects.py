"""What an erasure will change and what it will leave: states and projection rows that differ afterwards, and names and
files that still hold the subject's value.

Nothing is written: folds and projections are run with the payloads, and as if these were erased.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

from esctl.archive import folders, listing
from esctl.errors import HandlerError, MisfitError, UsageError
from esctl.events import system
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.marks import marks
from esctl.projections import differences
from esctl.projections.reading import scratch
from esctl.sql.paths import readable
from esctl.store.folds import Fold
from esctl.store.imagined import Imagined
from esctl.store.json import values
from esctl.upkeep.erasure import Plan, sees

FIRST = 20  # of states, of rows, and of what remains are listed; all are counted


class StateChange(NamedTuple):
    """A stream whose state will differ, its aggregate (None: all payloads merged), and the paths that differ; none if
    the stream cannot be folded before or after.
    """

    stream: str
    aggregate: str | None
    paths: list[str]


class RowChange(NamedTuple):
    """A row of a projection's table that will be gone, added or changed; `key` identifies it."""

    projection: str
    table: str
    change: str
    key: dict[str, Any]


class Remains(NamedTuple):
    """Something beside the payloads that holds the subject's value, or a file that may hold the payloads: `kind`, its
    name, and the position of the event that has it, if any.
    """

    kind: str
    name: str
    position: int | None


class Effects:
    """Numbers of states and rows that will differ, and of what remains, with the first of each; and projections that
    cannot be compared, with the reasons.
    """

    def __init__(self) -> None:
        self.compared = False  # states and rows, with `compare`
        self.states = self.rows = self.remains = 0
        self.first_states: list[StateChange] = []
        self.first_rows: list[RowChange] = []
        self.first_remains: list[Remains] = []
        self.unknown: dict[str, str] = {}

    def record(self) -> dict[str, object]:
        """As fields of a record."""
        found: dict[str, object] = {}
        if self.compared:
            found |= {"states": self.states, "first_states": [change._asdict() for change in self.first_states]}
            found |= {"rows": self.rows, "first_rows": [_plain(change) for change in self.first_rows]}
            found["not_compared"] = list(self.unknown)
        return found | {"remains": self.remains, "first_remains": [one._asdict() for one in self.first_remains]}


def _plain(change: RowChange) -> dict[str, object]:
    """A row as a record; blobs are in hexadecimal."""
    key = {name: value.hex() if isinstance(value, bytes) else value for name, value in change.key.items()}
    return change._replace(key=key)._asdict()


def compare(log: EventLog, plan: Plan, effects: Effects) -> Iterator[int]:
    """Find the states and rows that will differ; yields numbers of streams and of positions, for progress."""
    effects.compared = True
    with log.store.projections().imagined(plan.positions) as imagined:
        for change in _states(log, plan.streams, imagined):
            yield 1
            if change is not None:
                effects.states += 1
                effects.first_states += [change][: FIRST - len(effects.first_states)]
        for item in _rows(log, plan, imagined, effects.unknown):
            if isinstance(item, int):
                yield item
            else:
                effects.rows += 1
                effects.first_rows += [item][: FIRST - len(effects.first_rows)]


def look(log: EventLog, sought: Sequence[str], reason: str, effects: Effects, positions: Sequence[int] = ()) -> None:
    """Find what the erasure leaves: files that may hold the payloads at positions, and streams, ids, marks and reasons
    that hold one of the texts as a word, in any case. `reason` is that of this erasure.
    """
    for found in chain(_segment_files(log, positions), _remains(log, sought, reason)):
        effects.remains += 1
        effects.first_remains += [found][: FIRST - len(effects.first_remains)]


# States


def _states(log: EventLog, streams: list[str], imagined: Imagined) -> Iterator[StateChange | None]:
    """For each stream, how its state will differ; None if it will not."""
    definitions = log.definitions

    def aggregate(stream: str) -> str:
        chosen = definitions.of_stream(stream)
        return chosen.name if chosen else ""

    for name, group in groupby(sorted(streams, key=aggregate), key=aggregate):
        fold = log.store.fold(definitions.program(definitions.aggregate(name) if name else None), definitions.upcasting)
        for stream in group:
            before = _folded(fold, stream)
            with imagined.erased():
                after = _folded(fold, stream)
            paths: list[str] = []
            if before != after and before is not None and after is not None:
                paths = [readable(path) for path, _, _ in log.store.facts().differences(before, after)]
            differs = bool(paths) or (before is None) != (after is None)
            yield StateChange(stream, name or None, paths) if differs else None
        fold.close()


def _folded(fold: Fold, stream: str) -> str | None:
    """The state of a stream after all its events; None if one of them cannot be folded."""
    fold.clear()
    fold.begin(stream)
    try:
        for _ in fold.feed(Query(stream=stream)):
            pass
    except (MisfitError, HandlerError):  # a step fails, or runs too long
        return None
    return fold.state(stream)[0][4]


# Rows of projections


def _rows(log: EventLog, plan: Plan, imagined: Imagined, unknown: dict[str, str]) -> Iterator[int | RowChange]:
    """The rows that will differ, of each projection that has seen such events, and numbers of positions."""
    definitions = log.definitions
    kinds = {(type_, schema) for _, type_, schema in plan.kinds}
    for name, projection in definitions.model.projections.items():
        version = scratch(projection, definitions)
        if not version.compiled.on:
            unknown[name] = "a Python function makes its rows"
            continue
        if not sees(version, kinds):
            continue
        try:
            yield from _changed(name, differences.without(log, projection, imagined, plan.streams))
        except (HandlerError, UsageError) as error:
            unknown[name] = error.why or error.what


def _changed(name: str, found: Iterator[int | differences.Cell]) -> Iterator[int | RowChange]:
    """The rows of cells, which come row by row."""
    last: tuple[object, ...] | None = None
    for cell in found:
        if isinstance(cell, int):
            yield cell
            continue
        row = (cell.table, cell.change, cell.key)
        if cell.column is None or row != last:  # rows without a key may occur several times
            yield RowChange(name, *row)
        last = row


# What is not a payload, and stays


def _remains(log: EventLog, sought: Sequence[str], reason: str) -> Iterator[Remains]:
    yield from _files(Path(log.path))
    texts = list(dict.fromkeys(filter(None, sought)))
    if not texts:
        return
    holds = _words(texts)
    for text in texts:
        earlier = _words(texts[: texts.index(text)])
        for kind, name, position in log.store.facts().naming(text):
            if holds(name) and not earlier(name):
                yield Remains(kind, name, position or None)
    for mark in marks(log).values():
        if holds(mark.name):
            yield Remains("mark", mark.name, mark.position)
    for event in log.system_events(system.PAYLOAD_ERASED):
        (given,) = values(event.data or "{}", "reason")
        if holds(str(given)):
            yield Remains("reason", str(given), event.position)
    if holds(reason):
        yield Remains("reason", reason, None)


def sought_in(stream: str) -> list[str]:
    """The texts by which a stream's subject may be named elsewhere: the stream's name, and what follows its category.
    A number that follows it is not sought: streams of other categories have the same ones.
    """
    entity = stream.partition("-")[2]
    return [stream, entity] if len(entity) > 2 and any(map(str.isalpha, entity)) else [stream]


def _words(texts: Sequence[str]) -> Callable[[str], object]:
    """A function that says whether a name holds one of the texts, not as a part of a longer word or number."""
    if not texts:
        return lambda _: None
    either = "|".join(map(re.escape, texts))
    return re.compile(rf"(?<![^\W_])(?:{either})(?![^\W_])", re.IGNORECASE).search


def _files(path: Path) -> Iterator[Remains]:
    """Copies of the log that esctl itself makes beside it: that of a migration, and drafts of killed runs."""
    own = re.escape(path.name)
    ours = re.compile(rf"{own}\.v\d+(\.\d+)?\.bak|\..+\.[0-9a-f]{{12}}\.new|\.\d{{12,}}-\d{{12,}}-.*\.new").fullmatch
    with suppress(OSError):
        for file in sorted(path.resolve().parent.iterdir()):
            if ours(file.name):
                yield Remains("file", file.name, None)


def _segment_files(log: EventLog, positions: Sequence[int]) -> Iterator[Remains]:
    """Files of segments that hold payloads at positions and stay, since another log may use them."""
    foreign = log.store.archiving().of_original()
    names: dict[str, None] = {}
    for segment in listing.archived(log):
        if segment.location is None or not any(segment.first <= position <= segment.last for position in positions):
            continue
        path = folders.path_of(log, segment)
        if segment.shared or segment.location in foreign:
            names[folders.recorded_path(log, path)] = None
        links = path.parent if path.parent.name == folders.KEPT else path.parent / folders.KEPT
        with suppress(OSError):
            for link in sorted(links.iterdir()):
                if any(_holds(link.name, position) for position in positions):
                    names[folders.recorded_path(log, link)] = None
    yield from (Remains("segment", name, None) for name in names)


_SPAN = re.compile(r"(\d{12,})-(\d{12,})-[0-9a-f]{16}\.ndjson\.zst").fullmatch


def _holds(name: str, position: int) -> bool:
    """Whether a file's name is that of a segment with a position."""
    span = _SPAN(name)
    return span is not None and int(span[1]) <= position <= int(span[2])
