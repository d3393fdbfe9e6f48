"""Payloads removed for good: data, meta and salt go, wherever the log keeps them; the proof that they were there stays.

Each transaction takes some payloads away, notes the digests that stand for them in the chain, and appends the event
that says which, why and by whom. So a run that is killed has erased what it said that it has, and is run again.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from esctl.archive import checking, content, folders, listing, tidying
from esctl.errors import ConflictError, HandlerError, RefusedError, UsageError
from esctl.events import chain, system
from esctl.events.event import Event, ranges
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.model.applied import Definitions
from esctl.model.compiled import BUILDING, DROPPED, LIVE, Version
from esctl.projections import runs, versions
from esctl.store import segments
from esctl.store.archive import Archive
from esctl.store.segments import Facts, Frame, Line, Packed, Segment

TRACES = ""  # stands among the files to remove, for what the log's own file may still hold of erased payloads
PAYLOADS_PER_TRANSACTION = 10_000  # payloads that are erased in one transaction
_GONE = b',"data":null,"meta":null,"erased":true}\n'


Kind = tuple[str, str, int]
"""Of a payload that goes: its stream, its type and schema version as they are stored."""


class Plan(NamedTuple):
    """Positions whose payloads are to be erased, how many of each type, and of which types some are left as they are
    because the model does not say that they may be erased.
    """

    positions: list[int]
    types: Counter[str]
    left: Counter[str]
    streams: int


def named(log: EventLog, references: Sequence[str], *, force: bool) -> Plan:
    """Events by position or id. Raises NotFoundError, RefusedError for one that may not be erased."""
    found = [log.event(reference).event for reference in references]
    plan = _plan(log.definitions, found, force=force)
    if plan.left:
        kept = ", ".join(plan.left)
        raise RefusedError(
            f"events of the type {kept} are not erased",
            why="the log's model does not say that it is erasable (erasable = true); --force erases them all the same",
            again="--force",
        )
    return plan


def of_stream(log: EventLog, stream: str, types: Sequence[str], *, force: bool) -> Plan:
    """The events of a stream, or those of some types in it."""
    return _plan(log.definitions, _both(log, Query(stream=stream, types=tuple(types))), force=force)


def of_subject(log: EventLog, subject: str, *, force: bool) -> Plan:
    """The events whose payload has a value in a field (`customer_id=C-7`), as it is stored or as it is read."""
    field, equals, value = subject.partition("=")
    if not field or not equals or "" in field.split(".") or "\0" in subject:
        raise UsageError(
            f"--subject {subject[:80]!r}", why="it is FIELD=VALUE, such as customer_id=C-7", fix="esctl erase --help"
        )
    path = "$" + "".join(f".{json.dumps(key, ensure_ascii=False)}" for key in field.split("."))
    # Texts by their value; numbers, true and false also by how they are written.
    there = f"(cast(data ->> {_quoted(path)} as text) = {_quoted(value)} or data -> {_quoted(path)} = {_quoted(value)})"
    where = f"data is not null and {there}"
    return _plan(log.definitions, _both(log, Query(where=where)), force=force)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _both(log: EventLog, query: Query) -> Iterator[Event]:
    """Events that a query finds as they are stored, or as they are read; both ways have to be gone."""
    seen: set[int] = set()
    for raw in (True, False):
        asked = Query(stream=query.stream, types=query.types, where=query.where, raw_schema=raw)
        if not raw and not asked.types and asked.where is None:
            continue  # as they are stored is all of them
        log.require(asked)
        # What cannot be upcast is found as it is stored, or not at all.
        for event, _, _ in log.store.read(asked, log.upcasting(asked), _nothing):
            if event.position not in seen:
                seen.add(event.position)
                yield event


def _nothing(*_: object) -> None:
    """What is done about an event that cannot be upcast."""


def _plan(definitions: Definitions, events: Iterator[Event] | list[Event], *, force: bool) -> Plan:
    positions, streams = set[int](), set[str]()
    types, left = Counter[str](), Counter[str]()
    for event in events:
        if event.stream.startswith(system.PREFIX):
            raise RefusedError(
                f"the event at position {event.position} is the log's own", why="it says what was done to it"
            )
        if event.data is None or event.position in positions:
            continue
        if not force and not erasable(definitions, event.type, event.schema):
            left[event.type] += 1
            continue
        positions.add(event.position)
        streams.add(event.stream)
        types[event.type] += 1
    return Plan(sorted(positions), types, left, len(streams))


def erasable(definitions: Definitions, type_: str, schema: int) -> bool:
    """Whether the model says that events of a stored type hold personal data, under the name it has or had."""
    names = {type_} | {shape.type for shape in definitions.upcasting.get(type_, {}).get(schema, ())}
    return any(name in definitions.model.events and definitions.model.events[name].erasable for name in names)


def erase(log: EventLog, positions: Sequence[int], reason: str) -> Iterator[int]:
    """Erase payloads; numbers of events, for progress. Afterwards `scrub` takes what SQLite still holds of them."""
    tidying.tidy(log)
    spans = [(segment.first, segment.last) for segment in listing.archived(log)]
    for span, group in groupby(positions, key=lambda position: _span_of(spans, position)):
        wanted = list(group)
        if span is None:
            for start in range(0, len(wanted), PAYLOADS_PER_TRANSACTION):
                yield _hot(log, wanted[start : start + PAYLOADS_PER_TRANSACTION], reason)
        else:
            yield _archived(log, listing.named(log, f"{span[0]}-{span[1]}"), wanted, reason)


def _span_of(spans: Sequence[tuple[int, int]], position: int) -> tuple[int, int] | None:
    at = bisect_right(spans, position, key=lambda span: span[0]) - 1
    return spans[at] if at >= 0 and position <= spans[at][1] else None


def scrub(log: EventLog) -> bool:
    """Take the last traces out of files that nothing needs, of projections (which are rebuilt), of unused bytes in
    pages, and of the WAL; whether they are gone (else somebody still reads them).

    What SQLite leaves in the gap of a page when it moves cells to another, only writing all pages anew takes away.
    """
    tidying.tidy(log)
    _renew(log)
    _, _, finished = log.store.compact(full=True)
    if finished:
        with log.transaction():
            log.store.archiving().removed(TRACES)
    return finished


def unfinished(log: EventLog) -> bool:
    """Whether an erasure was stopped before it was scrubbed."""
    return TRACES in log.store.archiving().leftovers()


def _hot(log: EventLog, positions: Sequence[int], reason: str) -> int:
    """Erase payloads of the hot part."""
    with log.transaction():
        found: list[int] = []
        digests: list[bytes] = []
        kinds: set[Kind] = set()
        for event, salt, _ in _each(log, positions):
            if event.data is not None:  # somebody may have been faster
                found.append(event.position)
                digests.append(chain.payload_digest(salt, event.data.encode(), event.meta.encode()))
                kinds.add((event.stream, event.type, event.schema))
        if found and _note(log, found, digests, kinds, reason) != len(found):
            raise ConflictError("some of the events were archived just now", again="")
    return len(positions)


def _each(log: EventLog, positions: Sequence[int]) -> Iterator[tuple[Event, bytes, bytes]]:
    """The events at positions, as they are stored."""
    for low, high in ranges(positions):
        yield from log.store.read(Query(since=low, until=high, system=True, raw_schema=True))


def _note(log: EventLog, positions: Sequence[int], digests: Sequence[bytes], kinds: set[Kind], reason: str) -> int:
    """Append the event that says what is gone, and take it away; how many of these were hot."""
    event = log.say(system.PAYLOAD_ERASED, {"positions": ranges(positions), "reason": reason}).position
    archiving = log.store.archiving()
    archiving.leave(TRACES)
    for stream in {stream for stream, _, _ in kinds}:
        archiving.drop_snapshots(stream)
    _spoil(log, set(positions), {(type_, schema) for _, type_, schema in kinds})
    return archiving.erase(positions, digests, event)


# Projections


def _spoil(log: EventLog, positions: Collection[int], kinds: set[tuple[str, int]]) -> None:
    """Within the transaction that erases payloads at positions, of these stored types and schema versions: note which
    versions may hold something of them. What is not live goes at once, and so does what only a function could build
    again; `_renew` sees to the rest. A message that may quote a payload goes, too.
    """
    store, position = log.store.projections(), min(positions)
    for version in store.versions():
        if version.failed in positions:
            version.failed = version.handler = version.error = version.failed_at = None
            store.save(version)
        if version.state == DROPPED or version.position < position or not _sees(version, kinds):
            continue
        if version.state != LIVE or not version.compiled.on:
            store.drop(version, keep=version.state == LIVE)
        else:
            version.fingerprint, version.model, version.held = "", 0, 0
            store.save(version)


def _sees(version: Version, kinds: set[tuple[str, int]]) -> bool:
    """Whether a handler, or a function, was given events of any of these kinds."""
    types = version.compiled.types
    return not types or any(
        type_ in types
        or any(shape.type in types for shape in version.compiled.upcasting.get(type_, {}).get(schema, ()))
        for type_, schema in kinds
    )


def _renew(log: EventLog) -> None:
    """Rebuild what may hold something of erased payloads; the old rows are read until then, and gone afterwards.

    Where a handler fails on the way, what was built takes its place as it is.
    """
    store = log.store.projections()
    spoiled = [version.name for version in store.versions() if version.state == LIVE and not version.fingerprint]
    if not spoiled:
        return
    for version in versions.synced(log):
        if version.name in spoiled and version.state == BUILDING:
            try:
                for _ in runs.catch_up(log, version.version):
                    pass
            except HandlerError:
                with log.transaction():
                    stopped = store.version(version.version)
                    if stopped is not None:
                        store.switch(stopped)


# Archived payloads


class _Rewritten(NamedTuple):
    """A segment without some payloads: its frames, what it holds, and the digests of all that is erased in it."""

    segment: Segment
    frames: list[Packed]
    trailer: bytes
    facts: Facts
    digests: dict[int, bytes]
    kinds: set[Kind]


def _archived(log: EventLog, segment: Segment, positions: Sequence[int], reason: str) -> int:
    """Erase payloads of a segment: it is written again without them, checked, and takes the place of the old one."""
    checking.check(log, segment)
    found = log.store.archive()
    assert found is not None
    new = _rewritten(log, found, segment, set(positions))
    if not new.digests:  # somebody was faster
        return len(positions)
    path = found.place(segment)
    if path is not None:
        folders.write(log, path.parent / new.segment.file, (*(f.packed for f in new.frames), new.trailer), new.segment)
    with log.transaction():
        found, _ = listing.again(log, segment)
        gone = sorted(new.digests)
        _note(log, gone, [new.digests[position] for position in gone], new.kinds, reason)
        folders.leave(log, found, segment)
        log.store.archiving().place(new.segment, new.frames, new.facts)
        if path is not None:
            folders.kept(log, path.parent / new.segment.file, new.segment)
        checking.check(log, new.segment)
    tidying.tidy(log)
    return len(positions)


def _rewritten(log: EventLog, found: Archive, segment: Segment, positions: set[int]) -> _Rewritten:
    frames: list[Packed] = []
    facts, kinds, digests = Facts(), set[Kind](), dict[int, bytes]()
    compress, offset = segments.compressor(segments.LEVEL), 0
    for frame in found.frames(segment):
        packed, salts = found.packed(frame, segment), found.salts(frame, segment)
        text = segments.decompress(frame, packed, segment.name)
        lines = segments.decoded(text, segment.name)
        gone = [line for line in lines if line.position in positions and not line.erased]
        if gone:
            kinds |= {(line.stream, line.type, line.schema) for line in gone}
            digests |= {line.position: _digest(line, salts, frame) for line in gone}
            text = _without(text, frame, gone)
            salts = _without_salts(salts, frame, gone)
            packed, lines = compress(text), segments.decoded(text, segment.name)
        facts.add(lines, frame.number)
        made = frame._replace(
            offset=offset, size=len(packed), raw_size=len(text), sha256=hashlib.sha256(packed).digest()
        )
        frames.append(Packed(made, packed, salts))
        offset += len(packed)
    erased = dict(sorted((found.digests(segment.first, segment.last) | digests).items()))
    trailer = segments.trailer(log.log_id, [f.frame for f in frames], segment.after, erased, (f.salts for f in frames))
    whole = content.digest_of((*(f.packed for f in frames), trailer))
    raw = sum(f.frame.raw_size for f in frames)
    new = segment._replace(shared=0, size=offset + len(trailer), raw_size=raw, sha256=whole)
    return _Rewritten(new, frames, trailer, facts, digests, kinds)


def _salt_at(frame: Frame, position: int) -> slice:
    at = (position - frame.first) * chain.SALT_BYTES
    return slice(at, at + chain.SALT_BYTES)


def _digest(line: Line, salts: bytes, frame: Frame) -> bytes:
    salt = salts[_salt_at(frame, line.position)]
    return chain.payload_digest(salt, bytes(line.data), bytes(line.meta))


def _without(text: bytes, frame: Frame, gone: Sequence[Line]) -> bytes:
    """Lines, some of them without their payload. In no name can what begins a payload stand: quotes are escaped."""
    each = text.splitlines(keepends=True)
    for line in gone:
        at = line.position - frame.first
        each[at] = each[at][: each[at].index(b',"data":')] + _GONE
    return b"".join(each)


def _without_salts(salts: bytes, frame: Frame, gone: Sequence[Line]) -> bytes:
    left = bytearray(salts)
    for line in gone:
        left[_salt_at(frame, line.position)] = bytes(chain.SALT_BYTES)
    return bytes(left)
