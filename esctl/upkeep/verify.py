"""Verify a log: run every check and report what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from esctl.errors import EsctlError, UsageError, VerificationError
from esctl.events import system
from esctl.events.chain import for_many, genesis
from esctl.events.event import Event, Head, whole_number
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.projections import status
from esctl.states.snapshots import digest
from esctl.store.checks import Finding, guarded
from esctl.store.errors import OverrunError
from esctl.store.store import Store
from esctl.store.twin import Twin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.upkeep.chained import Chain

MAX_FINDINGS = 1000  # the report lists no more
DERIVED = {"projection", "snapshot", "index"}  # checks of parts that are derived from events
INTERRUPT_SECONDS = 0.01  # between two interrupts of a thread
EVENTS_FOR_TWO = 10_000  # from so many on, two threads check; fewer take less time than a second connection


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


Watch = Callable[[Iterator[int], int], Iterator[int]]
"""Passes numbers of checked events through to report progress; gets them and the number of all events."""


def verify(
    log: EventLog, *, full: bool, expect_head: str | None = None, watch: Watch = lambda numbers, _: numbers
) -> Report:
    """Check the store, and with `full` every event: its hash, names and times; and that a head saved elsewhere
    (`expect_head`, `<position>:<hash>`) is still in the log. All of it is of one state of the file.
    """
    if full:
        for_many()
    notes: list[Finding] = []
    parts: list[Part] = []
    try:
        with Twin(log.store, wanted=full and log.head().position >= EVENTS_FOR_TWO) as twin:
            head, erased = log.head(), sum(1 for _ in log.store.facts().erasures())
            first = _heads(log, head, expect_head)
            rest = _rest(log, head, watch, notes, parts, full=full)
            if twin is None:
                found = list(islice(chain(first, log.check(full=full), rest), MAX_FINDINGS))
            else:
                found = [*first, *_side_by_side(twin, rest)][:MAX_FINDINGS]
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
        parts=list(dict.fromkeys([*_indexes(found), *parts])),
    )


def _records(found: list[Finding]) -> list[dict[str, object]]:
    return [{"check": check, "position": position, "problem": problem} for check, position, problem in found]


def _heads(log: EventLog, head: Head, expect_head: str | None) -> Iterator[Finding]:
    """What is wrong with the head of the log, or with one that was saved elsewhere."""
    if expect_head is not None:
        yield from _expected(log, expect_head)
    if head.position == 0 and head.hash != genesis(log.log_id):
        yield ("head", None, "the log is empty, and its hash is not the genesis hash of its id")


def _indexes(found: list[Finding]) -> Iterator[Part]:
    return (Part("index", problem.rpartition(" ")[2]) for check, _, problem in found if check == "index")


def _side_by_side(twin: Store, rest: Iterator[Finding]) -> list[Finding]:
    """The findings of the store's own checks, and the others. SQLite runs the first without the interpreter's lock."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - it loads logging, for large logs only

    with ThreadPoolExecutor(1) as pool:
        own = pool.submit(lambda: list(islice(twin.check(full=True), MAX_FINDINGS)))
        try:
            found = list(islice(rest, MAX_FINDINGS))
            return own.result() + found
        except Exception:
            own.result()  # if it has failed, too, its error comes first
            raise
        finally:
            while not own.done():  # Ctrl-C, perhaps between two of its statements
                twin.statements.interrupt()
                time.sleep(INTERRUPT_SECONDS)


def _rest(
    log: EventLog, head: Head, watch: Watch, notes: list[Finding], parts: list[Part], *, full: bool
) -> Iterator[Finding]:
    """What the store's own checks do not find."""
    events = None
    if full:
        from esctl.upkeep.chained import Chain  # noqa: PLC0415 - msgspec, which --quick does without

        events = Chain(log, head, notes)
    if log.store.archive() is not None:
        yield from guarded("archive", log.path, _archived(log, events))
    yield from guarded("erased", log.path, _erasures(log))
    yield from guarded("projection", log.path, _projections(log, parts, full=full))
    yield from guarded("reaction", log.path, _reactions(log, head))
    if events is not None:
        yield from guarded("chain", log.path, _events(events, watch, head.position))
        yield from guarded("snapshot", log.path, _snapshots(log, parts))


def _archived(log: EventLog, events: Chain | None) -> Iterator[Finding]:
    """What is wrong with segments; frames with which nothing is wrong go to the check of the chain."""
    from esctl.archive import checking  # noqa: PLC0415 - zstandard, for logs that need it

    if events is None:
        yield from checking.findings(log, full=False)
        return
    for finding in checking.findings(log, full=True, passed=events.passed):
        events.doubt(finding[1])
        yield finding


def _events(events: Chain, watch: Watch, total: int) -> Iterator[Finding]:
    """What the chain does not hold together."""
    try:
        for _ in watch(events.follow(), total):
            yield from events.found
            events.found.clear()
    except Exception:
        yield from events.found
        raise
    yield from events.found


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
    def in_time(numbers: Iterator[int], _: int) -> Iterator[int]:
        for number in numbers:
            if time.monotonic() > deadline:
                raise OverrunError("takes too long", subject="the check of the events")
            yield number

    with EventLog(path) as log:
        log.store.statements.stop_at(deadline)
        with log.store.one_state():
            for full in (False, True):
                head = log.head()
                yield from _heads(log, head, None)
                yield from log.check(full=full)
                yield from _rest(log, head, in_time, [], [], full=full)


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


def _reactions(log: EventLog, head: Head) -> Iterator[Finding]:
    """Reactions that have handled events which are not in this log, and letters of other events."""
    store, places = log.store.reactions(), log.store.places()
    for one in store.all():
        if one.log_id != log.log_id or not 0 <= one.position <= head.position:
            yield ("reaction", None, f"the reaction {one.name} is at position {one.position} of another log")
        elif places.hash_at(one.position) != one.hash:
            yield ("reaction", one.position, f"the reaction {one.name} handled another event at its position")
        for what, text in (("definition", one.definition), ("list of what is done", one.done)):
            if not log.is_json(text):
                yield ("reaction", None, f"the {what} of the reaction {one.name} is no JSON")
    names = {one.name for one in store.all()}
    for letter in store.letters():
        query = Query(since=letter.position, until=letter.position, raw_schema=True)
        streams = [event.stream for event, _, _ in log.store.read(query)]
        if letter.name not in names or streams != [letter.stream]:
            problem = f"a dead letter of {letter.name} is of an event in {letter.stream} that is not there"
            yield ("reaction", letter.position, problem)


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
        stored = [genesis(log.log_id)]
    else:
        stored = [
            sealed.hash for sealed in log.store.read(Query(since=number, until=number, system=True, raw_schema=True))
        ]
    if not stored:
        yield ("expect-head", number, f"the log ends at position {log.head().position}")
    elif stored[0].hex() != hash_:
        yield ("expect-head", number, f"the hash is {stored[0].hex()}, expected {hash_}")
