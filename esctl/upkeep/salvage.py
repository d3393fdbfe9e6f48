"""Salvage a damaged log: what of it is whole, the events that are whole as a log to read, or a new log of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from esctl.errors import VerificationError
from esctl.events import system
from esctl.events.event import Head, ranges
from esctl.log import EventLog
from esctl.projections import admin
from esctl.store.carving import Carved
from esctl.store.drafts import complete
from esctl.store.files import draft_of
from esctl.store.format import check_there
from esctl.store.pages import Pages
from esctl.store.salvaged import Draft, Found
from esctl.store.salvaging import Damaged
from esctl.upkeep.verify import verify


class Survey(NamedTuple):
    """What is whole of a damaged log and what is not, with ranges of positions, both ends inclusive."""

    whole: list[list[int]]
    lost: list[dict[str, object]]
    segments: list[dict[str, object]]

    def record(self) -> dict[str, object]:
        """The survey as a record."""
        return self._asdict()


def survey(path: str) -> Survey:
    """Read everything that can be read of a damaged log, and say what is whole."""
    with _damaged(path) as damaged:
        found = Found()
        for _ in found.seen(damaged.events()):
            pass
        return Survey([[low, high] for low, high in found.whole], _losses(found), _segments(damaged))


@contextmanager
def readable(path: str) -> Iterator[tuple[EventLog, Found]]:
    """The whole events of a damaged log, at their positions in a temporary log; and what is not whole."""
    from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, to make a log

    with tempfile.TemporaryDirectory(prefix="esctl-") as folder:
        target = Path(folder) / "whole.db"
        with _damaged(path) as damaged:
            migrations.create(target)
            draft = Draft(target, damaged)
            draft.fill(rechained=False)
        with EventLog(target) as log:
            log.path = path  # for messages
            yield log, draft.found


def restore(path: str, target: Path) -> tuple[Head, Found]:
    """Write a new log of what is whole of a damaged one, with an event in the place of each lost one, and an event that
    says so; the damaged log stays as it is. The file appears complete or not at all.
    """
    from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, to make a log

    with draft_of(target) as empty, _damaged(path) as damaged:
        migrations.shape(empty, target)
        draft = Draft(empty, damaged)
        draft.fill(rechained=True)
        with EventLog(empty, write=True, bulk=True) as log:
            _record(log, draft)
            admin.settle(log)
            if spans := _spans(damaged, log.head().position):
                from esctl.archive import creation  # noqa: PLC0415 - zstandard, for logs that need it

                for _ in creation.create(log, spans):
                    pass
            report = verify(log, full=True)
            head = log.head()
        if not report.ok:
            raise VerificationError("the new log is damaged, and was not kept", why=str(report.findings[0]["problem"]))
        complete(empty, target, head.hash)
    return head, draft.found


@contextmanager
def _damaged(path: str) -> Iterator[Damaged]:
    check_there(path)
    with closing(Pages(path)) as pages:
        damaged = Damaged(Carved(pages), path)
        if not damaged.carved.events and not damaged.carved.frames and damaged.head is None:
            raise VerificationError(
                f"nothing of a log can be read from {path}",
                why="no page of it has rows of a log's tables; restore a backup",
            )
        yield damaged


def _record(log: EventLog, draft: Draft) -> None:
    """Append what was lost, and that the payloads of lost events are gone."""
    stated = draft.damaged.head
    old = f"{stated.position}:{stated.hash.hex()}" if stated else None
    data = {"from": old, "lost": _losses(draft.found)}
    with log.transaction():
        receipt = log.say(system.LOG_SALVAGED, data)
        if positions := draft.unsaid():
            reason = f"lost by damage; see {system.LOG_SALVAGED} at position {receipt.position}"
            erased = log.say(system.PAYLOAD_ERASED, {"positions": positions, "reason": reason})
            log.store.archiving().record_erased(draft.found.unsaid, erased.position)


def sentences(found: Found) -> Iterator[str]:
    """What is missing, in words."""
    for lost in found.lost:
        place = f"position {lost.first} is" if lost.first == lost.last else f"positions {lost.first} to {lost.last} are"
        yield f"{place} missing: {lost.why}"
    if found.unsalted:
        spans = ", ".join(f"{low}-{high}" for low, high in ranges(found.unsalted))
        yield f"the events at {spans} are whole, but their salts or hashes are lost"


def _losses(found: Found) -> list[dict[str, object]]:
    return [
        {
            "first": lost.first,
            "last": lost.last,
            "why": lost.why,
            "before": lost.before and lost.before.hex(),
            "after": lost.after and lost.after.hex(),
        }
        for lost in found.lost
    ]


def _segments(damaged: Damaged) -> list[dict[str, object]]:
    """The segments, and whether each is whole."""
    found: list[dict[str, object]] = []
    for segment in damaged.segments:
        why = [why for low, high, why in damaged.damaged_frames if segment.first <= low and high <= segment.last]
        found.append({"segment": segment.name, "whole": not why, "why": why[0] if why else None})
    return found


def _spans(damaged: Damaged, last: int) -> list[tuple[int, int]]:
    """The ranges of positions that are archived in the damaged log."""
    spans: list[tuple[int, int]] = []
    for segment in damaged.segments:
        low = max(segment.first, spans[-1][1] + 1 if spans else 1)
        if low <= min(segment.last, last):
            spans.append((low, min(segment.last, last)))
    return spans
