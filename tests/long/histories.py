"""Proves from the histories of several workers, and from the log that they left, that the log kept its promises.

Every worker notes what it asked for, when, and what it was told; times are of one monotonic clock. `violations` says
what cannot have been: a log whose events stand in the order of its commits, each of them in its command's window.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec


class Event(msgspec.Struct):
    """An event as `replay --system --raw-schema --hash` prints it."""

    position: int
    stream: str
    version: int
    id: str
    type: str
    data: msgspec.Raw
    hash: str
    erased: bool = False
    schema: int = 1

    def n(self) -> int:
        """The number in the payload of an event Added."""
        return int(json.loads(bytes(self.data))["n"])

    def text(self, *, erased: bool) -> bytes:
        """All of it that a reader sees, with its payload or, if it has been erased, without."""
        known = (self.position, self.stream, self.version, self.id, self.type, self.hash)
        return f"{known} {'null' if erased else bytes(self.data).decode()}\n".encode()


class Proposed(msgspec.Struct):
    """An event that somebody asked to be stored; the payload is the text. None is a payload that a decision makes: the
    version that it saw.
    """

    stream: str
    type: str
    id: str
    data: str | None


class Receipt(msgspec.Struct):
    """An acknowledgement, as `append --receipts` prints it."""

    position: int
    stream: str
    version: int
    id: str
    duplicate: bool


class Step(msgspec.Struct, tag=True, kw_only=True):
    """What a worker did between two moments; `code` is the exit code, negative for the signal that killed it."""

    began: float
    ended: float
    operation: str = ""
    kind: str = ""
    code: int = 0

    def __str__(self) -> str:
        return f"{self.operation} {self.kind}"


class Put(Step):
    """One transaction of events that was asked for. `expect` is the version that the stream was to have; with `unless`,
    a type and a position, no event of this type was to stand behind that position.
    """

    events: list[Proposed]
    receipts: list[Receipt] = []
    expect: int | None = None
    unless: tuple[str, int] | None = None


class Head(Step):
    """A position that was read as the newest one, and its hash, if that was read as well."""

    position: int
    hash: str | None = None


class Replay(Step):
    """The events from one position to another, the head unless it was a read up to a point: the digest of their texts,
    and whose payloads were gone.
    """

    first: int
    last: int
    digest: str
    erased: list[int]
    to_head: bool = True


class State(Step):
    """The state of a stream, and the version and the position at which it had it."""

    stream: str
    version: int
    position: int
    state: dict[str, int]


class Counted(Step):
    """How many events there are, the last position, and the sum of all n in events Added."""

    position: int
    count: int
    sum: int


class Totals(Step):
    """The rows of the projection: for each stream, how many events Added there are, and the sum of their n. It may be
    `behind` if the command said so.
    """

    rows: dict[str, tuple[int, int]]
    behind: bool = False


class Erase(Step):
    """An erasure of the payloads of events, by their ids."""

    ids: list[str]


class Done(Step):
    """A command whose own answer says whether all was well: `wrong`, if it was not."""

    wrong: str = ""


Steps = Put | Head | Replay | State | Counted | Totals | Erase | Done
DECODER: msgspec.json.Decoder[Steps] = msgspec.json.Decoder(Steps)
_IN_MODEL = r"'n' <= (\d+)", r"\[event\.Paid\]\nschema = (\d+)"
REFUSED = range(1, 100)  # exit codes of a command that stored nothing more than its receipts say


def digest_of(events: Iterable[Event], erased: Iterable[int]) -> str:
    """The digest of what a reader saw, to whom some payloads were gone."""
    gone = set(erased)
    return hashlib.sha256(b"".join(e.text(erased=e.position in gone) for e in events)).hexdigest()


def violations(log: Sequence[Event], steps: Sequence[Steps]) -> Iterator[str]:
    """What is wrong, a sentence each."""
    yield from _dense(log)
    yield from (f"{s}: {s.wrong}" for s in steps if isinstance(s, Done) and s.wrong)
    puts = [step for step in steps if isinstance(step, Put)]
    story = Story(log, steps, puts)
    yield from _invoked(log, story)
    for put in puts:
        yield from _acknowledged(put, story)
        yield from _stored_whole(put, story)
        yield from _ordered(put, story)
        yield from _as_expected(put, story)
        yield from _refused_with_reason(put, story)
    yield from _told_once(puts)
    yield from _accepted(log)
    yield from _erased(log, steps)
    for step in steps:
        if step.code == 0 and not isinstance(step, Put | Erase | Done):
            yield from _read(step, story)


def _accepted(log: Sequence[Event]) -> Iterator[str]:
    """Whether each event is one that the rules of the model in force accepted, with the schema version of that model;
    and whether models were applied one by one.
    """
    most, schema, models = 0, 1, 0
    sums: dict[str, int] = defaultdict(int)
    for event in log:
        if event.type == "ModelApplied":
            said = json.loads(bytes(event.data))
            most, schema = (int(found[1]) for name in _IN_MODEL if (found := re.search(name, said["text"])))
            models += 1
            if said["number"] != models:
                yield f"the model at #{event.position} is the {models}th, and says that it is the {said['number']}th"
        elif event.type in ("Paid", "Taken"):
            allowed = most if event.type == "Paid" else sums[event.stream]
            if event.n() > allowed:
                yield f"{event.id} at #{event.position} is against a rule: {event.n()} is more than {allowed}"
            if event.type == "Paid" and event.schema != schema:
                yield f"{event.id} at #{event.position} has schema {event.schema}, and the model's is {schema}"
            sums[event.stream] += event.n() if event.type == "Paid" else -event.n()


# When what was there


class Added(NamedTuple):
    """An event Added, and what all up to it add up to."""

    position: int
    stream: str
    n: int


class Story:
    """The log, and what is known of the moments at which its events came."""

    def __init__(self, log: Sequence[Event], steps: Sequence[Steps], puts: Sequence[Put]) -> None:
        self.log = log
        self.by_id = {event.id: event for event in log}
        self.askers: dict[str, list[Put]] = defaultdict(list)
        for put in puts:
            for asked in put.events:
                self.askers[asked.id].append(put)
        self.storers = {event.id: storer for event in log if (storer := self._storer(event)) is not None}
        self.streams: dict[str, list[Event]] = defaultdict(list)
        for event in log:
            self.streams[event.stream].append(event)
        self.added = [Added(e.position, e.stream, e.n()) for e in log if e.type == "Added"]
        self.sums = [0, *accumulate(added.n for added in self.added)]
        self.gone = {event.position for event in log if event.erased}
        self.erased_before = sorted((s.ended, i) for s in steps if isinstance(s, Erase) and s.code == 0 for i in s.ids)
        known = sorted((step.ended, position) for step in steps for position in _positions(step))
        self._known = [moment for moment, _ in known], list(accumulate((p for _, p in known), max))
        begun = sorted((put.began, self.by_id[id_].position) for id_, put in self.storers.items())
        self._begun = [moment for moment, _ in begun], list(accumulate((p for _, p in reversed(begun)), min))[::-1]

    def _storer(self, event: Event) -> Put | None:
        """The transaction that stored an event: the one that was told so, or the first that may have."""
        may = [put for put in self.askers[event.id] if any(_same(asked, event) for asked in put.events)]
        for put in may:
            if any(r.id == event.id and not r.duplicate for r in put.receipts):
                return put
        return min((put for put in may if put.code not in REFUSED), key=lambda put: put.began, default=None)

    def before_erasure(self, event: Event) -> Event:
        """The event with the payload that it had."""
        if not event.erased or event.id not in self.storers:
            return event
        data = next(asked.data for asked in self.storers[event.id].events if asked.id == event.id)
        return msgspec.structs.replace(event, data=msgspec.Raw((data or "null").encode()), erased=False)

    def lowest(self, moment: float) -> int:
        """The position that was known to be there before a moment."""
        found = bisect_left(self._known[0], moment)
        return self._known[1][found - 1] if found else 0

    def highest(self, moment: float) -> int:
        """The last position that may have been there by a moment: before all that was asked for later."""
        found = bisect_right(self._begun[0], moment)
        return self._begun[1][found] - 1 if found < len(self._begun[1]) else len(self.log)

    def versions(self, stream: str, step: Step) -> tuple[int, int]:
        """Between which versions a stream was in a step's window."""
        events = self.streams.get(stream, [])
        low, high = self.lowest(step.began), self.highest(step.ended)
        return (
            bisect_right(events, low, key=lambda event: event.position),
            bisect_right(events, high, key=lambda event: event.position),
        )


def _positions(step: Steps) -> list[int]:
    """Positions that a step showed to be there."""
    if isinstance(step, Put):
        return [receipt.position for receipt in step.receipts]
    if step.code == 0 and isinstance(step, Head | State | Counted):
        return [step.position]
    return [step.last] if step.code == 0 and isinstance(step, Replay) else []


def _same(asked: Proposed, event: Event) -> bool:
    """Whether an event is what was asked for."""
    if (asked.id, asked.stream, asked.type) != (event.id, event.stream, event.type):
        return False
    data = f'{{"seen":{event.version - 1}}}' if asked.data is None else asked.data
    return event.erased or bytes(event.data).decode() == data


# What has to hold


def _dense(log: Sequence[Event]) -> Iterator[str]:
    versions, ids = defaultdict[str, int](int), set[str]()
    for number, event in enumerate(log, 1):
        if event.position != number:
            yield f"position {event.position} is the {number}th of the log"
        versions[event.stream] += 1
        if event.version != versions[event.stream]:
            yield f"#{event.position}: version {event.version} is the {versions[event.stream]}th of {event.stream}"
        if event.id in ids:
            yield f"#{event.position}: the id {event.id} is there twice"
        ids.add(event.id)


def _invoked(log: Sequence[Event], story: Story) -> Iterator[str]:
    for event in log:
        if event.id not in story.storers and not event.stream.startswith("$"):
            why = "was refused" if story.askers[event.id] else "asked for by nobody"
            yield f"#{event.position}: the event {event.id} is there and {why}: {event.text(erased=event.erased)!r}"


def _acknowledged(put: Put, story: Story) -> Iterator[str]:
    """Every receipt is true."""
    asked = {proposed.id: proposed for proposed in put.events}
    for told in put.receipts:
        event = story.by_id.get(told.id)
        if event is None:
            yield f"{put}: {told.id} was acknowledged and is lost"
        elif (event.position, event.stream, event.version) != (told.position, told.stream, told.version):
            yield f"{put}: {told.id} was acknowledged as {told} and is #{event.position} of the log"
        elif told.id not in asked or not _same(asked[told.id], event):
            yield f"{put}: {told.id} has another content than was acknowledged"
    if put.code == 0 and {told.id for told in put.receipts} != set(asked):
        yield f"{put}: ended well and did not acknowledge all"


def _told_once(puts: Sequence[Put]) -> Iterator[str]:
    first = dict[str, Put]()
    for put in puts:
        for told in put.receipts:
            if not told.duplicate and first.setdefault(told.id, put) is not put:
                yield f"{put} and {first[told.id]}: both were told to have stored {told.id}"


def _stored_whole(put: Put, story: Story) -> Iterator[str]:
    """All of its events are there and stand together, or none is."""
    own = [asked.id for asked in put.events if len(story.askers[asked.id]) == 1]
    there = [story.by_id[id_].position for id_ in own if id_ in story.by_id]
    if 0 < len(there) < len(own):
        yield f"{put}: {len(there)} of the {len(own)} events of a transaction are there"
    places = sorted(story.by_id[a.id].position for a in put.events if story.storers.get(a.id) is put)
    if places and places[-1] - places[0] != len(places) - 1:
        yield f"{put}: others stand between the events of a transaction: {places}"


def _ordered(put: Put, story: Story) -> Iterator[str]:
    """Events stand behind all that was known before they were asked for."""
    before = story.lowest(put.began)
    for asked in put.events:
        if story.storers.get(asked.id) is put and (position := story.by_id[asked.id].position) <= before:
            yield f"{put}: {asked.id} is #{position}, and #{before} was there before it was asked for"


def _as_expected(put: Put, story: Story) -> Iterator[str]:
    """What was stored met its condition."""
    first = next((story.by_id[a.id] for a in put.events if story.storers.get(a.id) is put), None)
    if first is None:
        return
    if put.expect is not None and first.version != put.expect + 1:
        yield f"{put}: version {put.expect} of {first.stream} was expected, and {first.id} has version {first.version}"
    if put.unless is not None:
        type_, after = put.unless
        if any(event.type == type_ for event in story.log[after : first.position - 1]):
            yield f"{put}: {first.id} is stored, though an event {type_} stands between #{after} and it"


def _refused_with_reason(put: Put, story: Story) -> Iterator[str]:
    """A conflict was one, at some moment in the window."""
    if put.code != 4:
        return
    if put.expect is not None:
        low, high = story.versions(put.events[0].stream, put)
        if low == high == put.expect:
            yield f"{put}: refused, though {put.events[0].stream} was at version {low} all the time"
    elif put.unless is not None:
        type_, after = put.unless
        if not any(event.type == type_ for event in story.log[after : story.highest(put.ended)]):
            yield f"{put}: refused, though no event {type_} stood behind #{after}"
    elif not any(a.id in story.by_id and not _same(a, story.by_id[a.id]) for a in put.events):
        yield f"{put}: refused, and no other event has one of its ids"


def _erased(log: Sequence[Event], steps: Sequence[Steps]) -> Iterator[str]:
    erasures = [step for step in steps if isinstance(step, Erase)]
    asked = {id_ for step in erasures for id_ in step.ids}
    acknowledged = {id_ for step in erasures if step.code == 0 for id_ in step.ids}
    for event in log:
        if event.erased and event.id not in asked:
            yield f"#{event.position}: the payload is gone, and nobody erased it"
        if not event.erased and event.id in acknowledged:
            yield f"#{event.position}: the payload was erased, and is there"


# What was read


def _read(step: Steps, story: Story) -> Iterator[str]:
    """A read is of a state that the log had in its window."""
    low, high = story.lowest(step.began), story.highest(step.ended)
    if isinstance(step, State):
        yield from _state(step, story)
    elif isinstance(step, Totals):
        yield from _totals(step, story, 0 if step.behind else low, high)
    else:
        (position,) = _positions(step)
        if isinstance(step, Replay) and not step.to_head:
            low = 0
        if not low <= position <= high:
            yield f"{step}: read up to #{position}; the log was between #{low} and #{high}"
        elif isinstance(step, Head) and step.hash not in (
            None,
            story.log[position - 1].hash if position else step.hash,
        ):
            yield f"{step}: read the hash {step.hash} at #{position}, and the log has another"
        elif isinstance(step, Replay):
            yield from _replay(step, story)
        elif isinstance(step, Counted):
            total = story.sums[bisect_right(story.added, position, key=lambda added: added.position)]
            if (step.count, step.sum) != (position, total):
                yield f"{step}: read {step.count} events up to #{position}, sum {step.sum}; it is {total}"


def _replay(step: Replay, story: Story) -> Iterator[str]:
    if not story.gone.issuperset(step.erased):
        yield f"{step}: payloads were gone that are there: {sorted(set(step.erased) - story.gone)}"
    elif step.digest != digest_of(map(story.before_erasure, story.log[step.first - 1 : step.last]), step.erased):
        yield f"{step}: read #{step.first} to #{step.last} as the log does not have them"
    before = story.erased_before[: bisect_left(story.erased_before, (step.began,))]
    must = {story.by_id[id_].position for _, id_ in before if id_ in story.by_id}
    if late := {p for p in must if step.first <= p <= step.last} - set(step.erased):
        yield f"{step}: read payloads that had been erased: {sorted(late)}"


def _state(step: State, story: Story) -> Iterator[str]:
    low, high = story.versions(step.stream, step)
    events = story.streams.get(step.stream, [])[: step.version]
    if not low <= step.version <= high:
        yield f"{step}: read {step.stream} at version {step.version}; it was between {low} and {high}"
        return
    expected = {"n": step.version}
    if step.stream.startswith("count-"):
        expected["sum"] = sum(event.n() for event in events)
    if step.state != expected or events[-1].position != step.position:
        yield f"{step}: read {step.state} at #{step.position}; version {step.version} has {expected}"


def _totals(step: Totals, story: Story, low: int, high: int) -> Iterator[str]:
    count = sum(n for n, _ in step.rows.values())
    least, most = (bisect_right(story.added, at, key=lambda added: added.position) for at in (low, high))
    if not least <= count <= most:
        yield f"{step}: the projection has {count} events; there were between {least} and {most}"
        return
    expected = defaultdict[str, list[int]](lambda: [0, 0])
    for added in story.added[:count]:
        expected[added.stream][0] += 1
        expected[added.stream][1] += added.n
    if {k: tuple(v) for k, v in expected.items()} != step.rows:
        yield f"{step}: the projection has {step.rows}; after {count} events it is {dict(expected)}"
