"""Verify a log: run every check and report what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from esctl.errors import EsctlError, RefusedError, UsageError, VerificationError
from esctl.events import chain, system
from esctl.events.event import Event, Head, SealedEvent, check_name, check_schema, whole_number
from esctl.events.query import Query
from esctl.events.times import canonical
from esctl.log import EventLog
from esctl.projections import status
from esctl.states.snapshots import digest
from esctl.store.checks import Finding, guarded
from esctl.store.errors import OverrunError

MAX_FINDINGS = 1000  # the report lists no more
EVENTS_AT_ONCE = 64
DERIVED = {"projection", "snapshot", "index"}  # checks of parts that are derived from events
LARGE = 64 * 1024  # characters of a payload that is looked at without waiting for others


class Part(NamedTuple):
    """A damaged part that is derived from events: its kind, `projection`, `snapshot` or `index`, and its name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Report(NamedTuple):
    """The result of a verification; `head` is `<position>:<hash>`. `notes` are about events that are as they were
    appended, but that programs may read differently.
    """

    ok: bool
    mode: str
    events: int
    erased: int
    head: str
    findings: list[dict[str, object]]
    notes: list[dict[str, object]]
    parts: list[Part]

    def record(self) -> dict[str, object]:
        """The report as a record; `rebuildable` names the damaged parts that are derived from events."""
        record = self._asdict()
        parts = record.pop("parts")
        return record | ({"rebuildable": [str(part) for part in parts]} if parts else {})


Watch = Callable[[Iterator[SealedEvent], int], Iterator[SealedEvent]]
"""Passes events through to report progress; gets the events and their number."""


def verify(
    log: EventLog, *, full: bool, expect_head: str | None = None, watch: Watch = lambda events, _: events
) -> Report:
    """Check the store, and with `full` every event: its hash, names and times; and that a head saved elsewhere
    (`expect_head`, `<position>:<hash>`) is still in the log. All of it is of one state of the file.
    """
    if full:
        chain.for_many()
    notes: list[Finding] = []
    parts: list[Part] = []
    try:
        with log.store.one_state():
            head, erased = log.head(), sum(1 for _ in log.store.facts().erasures())
            found = list(
                islice(_findings(log, head, watch, notes, parts, full=full, expect_head=expect_head), MAX_FINDINGS)
            )
    except VerificationError as error:
        error.fix = ""  # it may be `esctl verify` itself
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:  # damaged rows can contain anything
        raise VerificationError(f"{log.path} is damaged", why=f"{error}; restore a backup") from error
    return Report(
        ok=not found,
        mode="full" if full else "quick",
        events=head.position,
        erased=erased,
        head=str(head),
        findings=_records(found),
        notes=_records(notes),
        parts=list(dict.fromkeys(parts)),
    )


def _records(found: list[Finding]) -> list[dict[str, object]]:
    return [{"check": check, "position": position, "problem": problem} for check, position, problem in found]


def _findings(
    log: EventLog,
    head: Head,
    watch: Watch,
    notes: list[Finding],
    parts: list[Part],
    *,
    full: bool,
    expect_head: str | None,
) -> Iterator[Finding]:
    if expect_head is not None:
        yield from _expected(log, expect_head)
    if head.position == 0 and head.hash != chain.genesis(log.log_id):
        yield ("head", None, "the log is empty, and its hash is not the genesis hash of its id")
    for finding in log.check(full=full):
        if finding[0] == "index":
            parts.append(Part("index", finding[2].rpartition(" ")[2]))
        yield finding
    if log.store.archive() is not None:
        from esctl.archive import checking  # noqa: PLC0415 - zstandard, for logs that need it

        yield from guarded("archive", log.path, checking.findings(log, full=full))
    yield from guarded("erased", log.path, _erasures(log))
    yield from guarded("projection", log.path, _projections(log, parts, full=full))
    if full:
        yield from guarded("chain", log.path, _events(log, head, watch, notes))
        yield from guarded("snapshot", log.path, _snapshots(log, parts))


def damage(path: str, seconds: float) -> Finding | None:
    """The first finding of the quick checks of a log, then of all others; None if there is none, or none was found in
    so many seconds, or the log cannot be opened.
    """
    try:
        return next(guarded("log", path, _all(path, time.monotonic() + seconds)), None)
    except VerificationError as error:
        return ("sqlite", None, error.why or error.what)
    except EsctlError:
        return None


def _all(path: str, deadline: float) -> Iterator[Finding]:
    def in_time(events: Iterator[SealedEvent], _: int) -> Iterator[SealedEvent]:
        for sealed in events:
            if time.monotonic() > deadline:
                raise OverrunError("takes too long", subject="the check of the events")
            yield sealed

    with EventLog(path) as log:
        log.store.stop_at(deadline)
        with log.store.one_state():
            for full in (False, True):
                yield from _findings(log, log.head(), in_time, [], [], full=full, expect_head=None)


def _projections(log: EventLog, parts: list[Part], *, full: bool) -> Iterator[Finding]:
    for name, problem in status.problems(log, full=full):
        if name:
            parts.append(Part("projection", name))
        yield ("projection", None, problem)


def _snapshots(log: EventLog, parts: list[Part]) -> Iterator[Finding]:
    """Snapshots that do not match their hash; `esctl snapshot verify` also checks whether their states are right."""
    for snapshot in log.store.snapshots().of():
        if digest(snapshot) != snapshot.hash:
            parts.append(Part("snapshot", f"{snapshot.stream} v{snapshot.version}"))
            yield ("snapshot", None, f"the snapshot of {snapshot.stream} at version {snapshot.version} is damaged")


def _erasures(log: EventLog) -> Iterator[Finding]:
    """Missing payloads that no erasure event names, and payloads that an erasure event names but that exist."""
    recorded = {event.position: _ranges(event) for event in log.system_events(system.PAYLOAD_ERASED)}
    unmatched = {number: sum(high - low + 1 for low, high in ranges) for number, ranges in recorded.items()}
    for position, _, number in log.store.facts().erasures():
        if not any(low <= position <= high for low, high in recorded.get(number, ())):
            yield ("erased", position, f"the payload is gone, and no event at position {number} says so")
        else:
            unmatched[number] -= 1
    for number, count in unmatched.items():
        if count:
            yield ("erased", number, f"{count} of the payloads that this event names are not recorded as erased")


def _ranges(event: Event) -> list[tuple[int, int]]:
    try:
        import msgspec  # noqa: PLC0415 - a log without erasures does without

        return [(int(low), int(high)) for low, high in msgspec.json.decode(event.data)["positions"]]
    except (ValueError, TypeError, KeyError):
        return []


def _expected(log: EventLog, expect_head: str) -> Iterator[Finding]:
    """Whether the event at the position of a saved head still has the saved hash."""
    position, _, hash_ = expect_head.partition(":")
    number = whole_number(position)
    if number is None or len(hash_) != 64 or not set(hash_) <= set("0123456789abcdef"):
        raise UsageError(f"{expect_head!r} is not a head", why="a head is POSITION:HASH", fix="esctl head")
    if number == 0:
        stored = [chain.genesis(log.log_id)]
    else:
        stored = [
            sealed.hash for sealed in log.store.read(Query(since=number, until=number, system=True, raw_schema=True))
        ]
    if not stored:
        yield ("expect-head", number, f"the log ends at position {log.head().position}")
    elif stored[0].hex() != hash_:
        yield ("expect-head", number, f"the hash is {stored[0].hex()}, expected {hash_}")


def _events(log: EventLog, head: Head, watch: Watch, notes: list[Finding]) -> Iterator[Finding]:
    """Follow the chain from the genesis hash to the head; what is only to be noted goes to `notes`.

    After an event with a wrong hash, continue from its stored hash, so that one altered event is one finding and not a
    finding for every later event.
    """
    previous, expected, last_recorded = chain.genesis(log.log_id), 1, ""
    digests = {position: digest for position, digest, _ in log.store.facts().erasures()}
    unnoted: list[Event] = []
    try:
        for event, salt, stored in watch(
            log.store.read(Query(until=head.position, system=True, raw_schema=True)), head.position
        ):
            if event.position != expected:
                yield ("contiguity", event.position, f"position {expected} is missing")
            expected = event.position + 1
            yield from _linked(event, salt, previous, stored, digests.get(event.position))
            if event.recorded < last_recorded:
                yield ("recorded", event.position, "its recorded time is earlier than that of the event before it")
            last_recorded = event.recorded
            yield from _formed(event)
            unnoted.append(event)
            if len(unnoted) == EVENTS_AT_ONCE or len(event.data or "") > LARGE:
                _note(unnoted, notes)
            previous = stored
        _note(unnoted, notes)
    except UnicodeDecodeError as error:
        yield ("text", _undecodable(log, expected, head.position), f"a text of the event is not UTF-8: {error.reason}")
        return
    except EsctlError as error:
        if "segment" not in error.details:  # else the check of the archive has reported the segment
            raise
        return
    if expected <= head.position:
        yield ("contiguity", expected, f"the log ends at position {expected - 1}, its head says {head.position}")


def _undecodable(log: EventLog, since: int, until: int) -> int | None:
    """The first position, from `since` on, of an event that is not valid UTF-8."""
    for position in range(since, min(until, log.store.newest()) + 1):
        try:
            list(log.store.read(Query(since=position, until=position, system=True, raw_schema=True)))
        except UnicodeDecodeError:
            return position
    return None


def _linked(
    event: Event, salt: bytes | None, previous: bytes, stored: bytes, erased: bytes | None
) -> Iterator[Finding]:
    """Whether an event's hash follows from the previous one; `erased` is the digest of an erased payload."""
    position, stream, version, event_id, type_, schema, time, recorded, data, meta = event
    if data is None or meta is None or salt is None:
        if erased is None:
            return  # `_erasures` or the store's checks report it
        digest = erased
    else:
        if len(salt) != chain.SALT_BYTES:  # with another length, salt and data could be divided differently
            yield ("chain", position, f"the salt has {len(salt)} bytes")
        digest = chain.payload_digest(salt, data.encode(), meta.encode())
    header = chain.header(position, stream, version, event_id, type_, schema, time, recorded)
    computed = chain.event_hash(previous, digest, header)
    if computed != stored:
        yield ("chain", event.position, f"the hash of the event is {computed.hex()}, stored is {stored.hex()}")


def _note(events: list[Event], notes: list[Finding]) -> None:
    """Note keys that occur twice in some events, and empty the list."""
    from esctl.events.repeats import repeats  # noqa: PLC0415 - msgspec, which --quick does without

    if len(notes) < MAX_FINDINGS:
        notes += (("keys", position, f"{error.what}; {error.why}") for position, error in repeats(events))
    events.clear()


def _formed(event: Event) -> Iterator[Finding]:
    """Whether names, schema and times have the log's form."""
    position, stream, _, event_id, type_, schema, time, recorded, _, _ = event
    try:
        for kind, name in (("stream", stream), ("type", type_), ("id", event_id)):
            check_name(kind, name)
        check_schema(schema)
        for moment in (time, recorded):
            if canonical(moment) != moment:
                yield ("time", position, f"the time {moment} is not in the log's form")
    except RefusedError as error:
        yield ("names", position, error.what)
