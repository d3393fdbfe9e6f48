"""Every check of a log, as one report."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from esctl import chain
from esctl.errors import RefusedError, UsageError
from esctl.events import check_name, check_schema, whole_number
from esctl.log import EventLog
from esctl.query import Query
from esctl.stores.base import Finding, Head
from esctl.times import canonical

MAX_FINDINGS = 1000  # a log that is wrong in more places is told so, and is not listed whole


class Report(msgspec.Struct, frozen=True):
    """What a verification found; `head` is `<position>:<hash>`."""

    ok: bool
    mode: str
    events: int
    head: str
    findings: list[dict[str, object]]

    def record(self) -> dict[str, object]:
        """The report as a record."""
        return msgspec.structs.asdict(self)


def verify(log: EventLog, *, full: bool, expect_head: str | None = None) -> Report:
    """Check the store, and with `full` every event: its hash, its names, its times; and that a head known from
    elsewhere (`<position>:<hash>`) is still in the log.
    """
    head = log.head()
    found = list(islice(_findings(log, head, full=full, expect_head=expect_head), MAX_FINDINGS))
    return Report(
        ok=not found,
        mode="full" if full else "quick",
        events=head[0],
        head=f"{head[0]}:{head[1].hex()}",
        findings=[{"check": check, "position": position, "problem": problem} for check, position, problem in found],
    )


def _findings(log: EventLog, head: Head, *, full: bool, expect_head: str | None) -> Iterator[Finding]:
    if expect_head is not None:
        yield from _expected(log, expect_head)
    yield from log.check(full=full)
    if full:
        yield from _events(log, head)


def _expected(log: EventLog, expect_head: str) -> Iterator[Finding]:
    """Whether the event at a position known from elsewhere still has the hash it had."""
    position, _, hash_ = expect_head.partition(":")
    number = whole_number(position)
    if number is None or len(hash_) != 64 or not set(hash_) <= set("0123456789abcdef"):
        raise UsageError(f"{expect_head!r} is not a head", why="a head is POSITION:HASH", fix="esctl head")
    if number == 0:
        there = [chain.genesis(log.log_id)]
    else:
        there = [sealed[2] for sealed in log.read(Query(since=number, until=number, system=True))]
    if not there:
        yield ("expect-head", number, f"the log ends at position {log.head()[0]}")
    elif there[0].hex() != hash_:
        yield ("expect-head", number, f"the hash is {there[0].hex()}, expected {hash_}")


def _events(log: EventLog, head: Head) -> Iterator[Finding]:
    """Walk the chain from its genesis to the head.

    After an event whose hash does not follow, the walk goes on from the hash that is stored, so that one altered
    event is one finding and not all that come after it.
    """
    previous = chain.genesis(log.log_id)
    expected = 1
    for event, salt, stored in log.read(Query(until=head[0], system=True)):
        position, stream, version, event_id, type_, schema, time, recorded, data, meta = event
        if position != expected:
            yield ("contiguity", position, f"position {expected} is missing")
        expected = position + 1
        header = chain.header(position, stream, version, event_id, type_, schema, time, recorded)
        computed = chain.event_hash(previous, chain.payload_digest(salt, data.encode(), meta.encode()), header)
        if computed != stored:
            yield ("chain", position, f"the hash of the event is {computed.hex()}, stored is {stored.hex()}")
        previous = stored
        try:
            for kind, name in (("stream", stream), ("type", type_), ("id", event_id)):
                check_name(kind, name)
            check_schema(schema)
            for moment in (time, recorded):
                if canonical(moment) != moment:
                    yield ("time", position, f"the time {moment} is not in the log's form")
        except RefusedError as error:
            yield ("names", position, error.what)
    if expected <= head[0]:
        yield ("contiguity", expected, f"the log ends at position {expected - 1}, its head says {head[0]}")
