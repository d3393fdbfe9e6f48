"""Follow the hash chain through a log: window by window, and event by event where a window does not pass.

A window passes if every event of it is as it should be. Only the check of single events says what is wrong, so that
there is one place that names it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

from esctl.errors import EsctlError, RefusedError
from esctl.events import chain
from esctl.events.event import MAX_SCHEMA, Event, Head, check_name, check_schema
from esctl.events.lines import CHUNK_LINES, are_plain
from esctl.events.query import Query
from esctl.events.record import Record
from esctl.events.repeats import Text, repeats, texts_of
from esctl.events.times import CANONICAL, canonical
from esctl.log import EventLog
from esctl.store.checks import Finding
from esctl.store.windows import MANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.store.segments import Frame, Line

_OF_VALUES = (ArithmeticError, AttributeError, TypeError, ValueError)  # what a value ends in that no esctl stores
MAX_NOTES = 1000  # the report lists no more
# Each as `check_name` and `canonical` want it, in one pass over many; 128 characters have at most 512 bytes.
_NAMES = re.compile(r"(?:(?!\s)[^\x00-\x1f\x7f-\x9f]{1,128}(?<!\s)\n)*").fullmatch
_TIMES = re.compile(rf"(?:{CANONICAL}\n)*", re.ASCII).fullmatch


class Stretch(Record):
    """Consecutive events that are whole in themselves: first and last position, the chain's hash before and behind
    them, and the recorded times of the first and the last; the first position of their segment (0: hot events); what is
    to be noted of them.
    """

    first: int
    last: int
    before: bytes
    after: bytes
    first_recorded: str
    last_recorded: str
    segment: int
    notes: list[Finding]


class Chain:
    """The chain of a log up to its head. `found` has the findings so far, `notes` what is only to be noted."""

    def __init__(self, log: EventLog, head: Head, notes: list[Finding]) -> None:
        self._log, self._head, self._notes = log, head, notes
        self.found: list[Finding] = []
        self._previous, self._expected, self._recorded = chain.genesis(log.log_id), 1, ""
        self._digests: dict[int, bytes] = {}
        self._stretches: dict[int, Stretch] = {}

    def passed(self, frame: Frame, lines: Sequence[Line], after: bytes) -> None:
        """A frame of the archive has no problem, so its links are right: check the rest of its events."""
        recorded = [line.recorded for line in lines]
        names = {line.stream for line in lines} | {line.type for line in lines}
        ids, times = [line.id for line in lines], [line.time for line in lines]
        if _are_formed([*names, *ids], {line.schema for line in lines}, times, recorded):
            data, meta = [bytes(line.data) for line in lines], [bytes(line.meta) for line in lines]
            notes = _notes(range(frame.first, frame.last + 1), data, meta)
            if notes is not None:
                ends = frame.first, frame.last, frame.before, after, recorded[0], recorded[-1]
                self._stretches[frame.first] = Stretch(*ends, frame.segment, notes)

    def doubt(self, segment: int | None) -> None:
        """Something is wrong with the segment that begins at a position: its frames do not count as passed."""
        self._stretches = {first: stretch for first, stretch in self._stretches.items() if stretch.segment != segment}

    def follow(self) -> Iterator[int]:
        """Check every event that is not in a frame that passed, and how all of them join; numbers of events.

        After an event with a wrong hash, continue from its stored hash, so that one altered event is one finding and
        not a finding for every later event.
        """
        self._digests = {position: digest for position, digest, _ in self._log.store.facts().erasures()}
        for low, high in self._windows():
            if not self._passes(low, high) and not self._singly(low, high):
                return
            yield high - low + 1
        if self._expected <= self._head.position:
            end = f"the log ends at position {self._expected - 1}, its head says {self._head.position}"
            self.found.append(("contiguity", self._expected, end))

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Ranges of positions up to the newest event: frames that passed, and others that are small enough to be read
        at once. None is partly archived.
        """
        size, newest, low = self._log.store.facts().window_size(), self._log.store.newest(), 1
        archive = self._log.store.archive()
        borders = {n for first, last in (archive.ranges() if archive else ()) for n in (first, last + 1)}
        starts = sorted(borders.union(self._stretches))
        while low <= newest:
            if (stretch := self._stretches.get(low)) is not None:
                high = stretch.last
            else:
                end = min([newest, *(start - 1 for start in starts[bisect_right(starts, low) :][:1])])
                first = self._next(low, end) if end - low > MANY else low
                high = min(first + size - 1, end)
            yield low, high
            low = high + 1

    def _next(self, low: int, high: int) -> int:
        """The position of the next event of a range in which a number may be altered; its end if there is none."""
        query = Query(since=low, until=high, system=True, raw_schema=True, limit=1)
        try:
            return next((event.position for event, _, _ in self._log.store.read(query)), high)
        except UnicodeDecodeError:
            return high

    def _passes(self, low: int, high: int) -> bool:
        """Whether a window joins the events before it, and is as it should be."""
        if self._expected != low:
            return False
        archive = self._log.store.archive()
        stretch = self._stretches.get(low)
        if stretch is None and (archive is None or archive.segment_of(low) is None):
            try:
                stretch = self._hot(low, high)
            except _OF_VALUES:
                return False
        if stretch is None or stretch.before != self._previous or stretch.first_recorded < self._recorded:
            return False
        self._previous, self._expected, self._recorded = stretch.after, stretch.last + 1, stretch.last_recorded
        self._note(stretch.notes)
        return True

    def _note(self, notes: list[Finding]) -> None:
        self._notes += notes[: MAX_NOTES - len(self._notes)]

    def _hot(self, low: int, high: int) -> Stretch | None:
        """A window of hot events, if each is as it should be."""
        rows = self._log.store.facts().window(low, high)
        if len(rows) != high - low + 1:
            return None
        columns = list(zip(*rows, strict=True))
        positions, streams, _, ids, types, schemas, times, recorded, data, meta, salts, stored = columns
        gone = [n for n, salt in enumerate(salts) if salt is None or data[n] is None or meta[n] is None]
        digests: list[bytes | None] = [None] * len(rows)
        for n in gone:
            digests[n] = self._digests.get(positions[n])
        if any(digests[n] is None for n in gone) or {*map(len, filter(None, salts))} - {chain.SALT_BYTES}:
            return None
        headers = map(chain.header, *columns[:8])
        links = chain.hashes(self._previous, zip(digests, salts, data, meta, headers, strict=True))
        if links != [*stored] or not _are_formed([*{*streams}, *{*types}, *ids], {*schemas}, times, recorded):
            return None
        if (notes := _notes(positions, data, meta)) is None:
            return None
        return Stretch(low, high, self._previous, stored[-1], recorded[0], recorded[-1], 0, notes)

    def _singly(self, low: int, high: int) -> bool:
        """Check a window event by event; whether it could be read."""
        try:
            for event, salt, stored in self._log.store.read(Query(since=low, until=high, system=True, raw_schema=True)):
                if event.position != self._expected:
                    self.found.append(("contiguity", event.position, f"position {self._expected} is missing"))
                self._expected = event.position + 1
                self.found += _linked(event, salt, self._previous, stored, self._digests.get(event.position))
                if event.recorded < self._recorded:
                    why = "its recorded time is earlier than that of the event before it"
                    self.found.append(("recorded", event.position, why))
                self._recorded = event.recorded
                self.found += _formed(event)
                self._note(_repeated(texts_of([event])))
                self._previous = stored
        except UnicodeDecodeError as error:
            position = _undecodable(self._log, self._expected, self._head.position)
            self.found.append(("text", position, f"a text of the event is not UTF-8: {error.reason}"))
            return False
        except EsctlError as error:
            if "segment" not in error.details:  # else the check of the archive has reported the segment
                raise
            return False
        return True


def _notes(positions: Sequence[int], *columns: Sequence[bytes | None]) -> list[Finding] | None:
    """Notes on the keys that occur twice in data and meta of events; None if a text is not UTF-8."""
    texts = [text for column in columns for text in column if text is not None and text != b"{}"]
    try:
        b"\n".join(texts).decode()
    except UnicodeDecodeError:
        return None
    if all(are_plain(b"\n".join(texts[n : n + CHUNK_LINES])) for n in range(0, len(texts), CHUNK_LINES)):
        return []
    named = (zip(positions, repeat(what), column) for what, column in zip(("data", "meta"), columns, strict=True))
    pairs = zip(*named, strict=True)
    return _repeated((n, what, text) for pair in pairs for n, what, text in pair if text is not None)


def _repeated(texts: Iterable[Text]) -> list[Finding]:
    return [("keys", position, f"{error.what}; {error.why}") for position, error in repeats(texts)]


def _are_formed(names: Sequence[str], schemas: set[int], times: Sequence[str], recorded: Sequence[str]) -> bool:
    """Whether names, schemas and times of consecutive events surely have the log's form, and come in order."""
    return (
        _all(_NAMES, names)
        and all(1 <= schema <= MAX_SCHEMA for schema in schemas)
        and _all(_TIMES, [*times, *{*recorded}])
        and [*recorded] == sorted(recorded)
    )


def _all(form: Callable[[str], object], texts: Sequence[str]) -> bool:
    lines = "".join([f"{text}\n" for text in texts])
    return lines.count("\n") == len(texts) and form(lines) is not None


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
