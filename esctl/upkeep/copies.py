"""Copy a whole log: back it up, restore a backup, fork it at a position."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from esctl.errors import SegmentError, VerificationError, word
from esctl.events import system
from esctl.events.event import Head, ranges
from esctl.log import EventLog
from esctl.projections import admin
from esctl.store.drafts import complete
from esctl.store.files import draft_of
from esctl.upkeep.verify import DERIVED, verify


def backup(log: EventLog, target: Path, *, segments: bool = True) -> Head:
    """Copy a log into a new file, also while it is in use; return the copy's head. Segments in folders are copied into
    the new file, or, without `segments`, referred to.
    """

    def copied() -> Head:
        with draft_of(target) as draft, _naming(log):
            head = _copy(log, draft, segments=segments)
            _check(draft)
            complete(draft, target, head.hash)
        return head

    return _steady(log, copied)


def _steady(source: EventLog, copied: Callable[[], Head]) -> Head:
    """Copy a log, and copy it again if another process has moved a segment's file that the copy needs."""
    while True:
        try:
            return copied()
        except SegmentError:
            if not source.store.has_moved():
                raise


def _check(draft: Path) -> None:
    """Raise VerificationError if a copy is damaged, as it is if its source is.

    What can be built again is no reason: the events would be at risk for it.
    """
    with EventLog(draft) as copy:
        findings = [one for one in verify(copy, full=False).findings if one["check"] not in DERIVED]
    if findings:
        raise VerificationError(f"{draft} is damaged", why=str(findings[0]["problem"]))


@contextmanager
def _naming(source: EventLog) -> Iterator[None]:
    """A block in which a damaged copy is an error that names its source: the copy is not kept."""
    try:
        yield
    except VerificationError as error:
        if "segment" in error.details:
            raise
        raise VerificationError(
            f"{source.path} is damaged, so its copy would be, and was not kept",
            why=error.why or error.what,
            fix=f"esctl verify --log {word(source.path)}",
        ) from error


def restore(source: EventLog, target: Path) -> Head:
    """Restore a backup into a new file, with an event that records its source; return its head."""
    return _derived(source, target, system.LOG_RESTORED, None)


def fork(log: EventLog, target: Path, position: int) -> Head:
    """Copy a log up to a position into a new file, to try out another history from there; return its head.

    The fork keeps the log's id and chain, so a head saved before the position also verifies the fork.
    """
    return _derived(log, target, system.LOG_FORKED, position)


def _derived(source: EventLog, target: Path, type_: str, position: int | None) -> Head:
    """Copy a log, up to a position if given, and record the copy's source; the file appears complete or not at all."""

    def copied() -> Head:
        with draft_of(target) as draft, _naming(source):
            head = _copy(source, draft)
            with EventLog(draft, write=True) as copy:
                if position is not None:
                    _cut(copy, position)
                    copy.store.compact()
                else:
                    with copy.transaction():  # what they handled after this copy was made, they would handle again
                        copy.store.reactions().pause_all()
                data = {"from": str(head)} | ({} if position is None else {"until": position})
                copy.record(type_, data)
                admin.settle(copy)
                head = copy.head()
            _check(draft)
            complete(draft, target, head.hash)
        return head

    return _steady(source, copied)


def _copy(source: EventLog, draft: Path, *, segments: bool = True) -> Head:
    """Copy a log into an empty file; return the copy's head. Its segments are those of one state of the source."""
    with source.store.one_state():
        source.store.copy_to(draft)
        with EventLog(draft, write=True) as copy:
            with copy.transaction():  # before anything else: the files that are recorded there are the source's
                copy.store.archiving().disown()
            if copy.store.archive() is not None:
                from esctl.archive import moving  # noqa: PLC0415 - zstandard and msgspec, for logs that need them

                (moving.embed if segments else moving.refer)(copy, source)
            return copy.head()


def _cut(copy: EventLog, position: int) -> None:
    """Remove everything after a position from a copy."""
    later: dict[int, list[int]] = {}
    for erased, _, event in copy.store.facts().erasures():
        if erased <= position < event:
            later.setdefault(event, []).append(erased)
    erasures = {event.position: event for event in copy.system_events(system.PAYLOAD_ERASED)} if later else {}
    if copy.store.archive() is not None:  # from here on, archived events after the position are gone
        from esctl.archive import moving  # noqa: PLC0415

        moving.cut(copy, position)
    with copy.transaction():
        copy.store.cut(position)
        copy.store.reactions().clear()  # what they did outside of the log does not follow from the events of the copy
        admin.cut(copy, position)
        for number, positions in later.items():  # erased later: the payload is missing here too, so record its erasure
            erasure = erasures[number]
            data = {"positions": ranges(positions), "reason": json.loads(erasure.data).get("reason")}
            receipt = copy.say(system.PAYLOAD_ERASED, data, erasure.meta)
            copy.store.archiving().record_erased(positions, receipt.position)
