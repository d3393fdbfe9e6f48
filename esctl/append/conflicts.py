"""Ids of input lines that another event has: which line that is, and which lines were passed over."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from esctl.errors import ConflictError, EsctlError
from esctl.events.event import NewEvent, Receipt


def explain(error: EsctlError) -> None:
    """Say in the error for a conflict between two lines which line was the first."""
    if first := error.details.get("first_line"):
        file = error.details.get("first_file")
        place = f"line {first} of {file}" if file else f"line {first}"
        error.why, error.again = f"{place} has it, too; {error.why}", "--on-conflict skip"


class Conflicts:
    """The conflicts of ids in one transaction.

    It knows the line of every event that the transaction stored, so that a conflict between two lines names both.
    """

    def __init__(self, before: int, *, skip: bool) -> None:
        """`before`: the head's position at the start. `skip`: keep the first event of an id, and go on."""
        self.skipped: list[ConflictError] = []
        self.keep = self.skipped.append if skip else None
        self._before = before
        self._lines = array("Q")  # by position, from `before` on

    def stored(self, numbers: Sequence[int], events: Sequence[NewEvent], receipts: Sequence[Receipt]) -> None:
        """Record the lines of a batch that was stored, and those of its conflicts."""
        for error in self.skipped:
            self.place(error, numbers, events)
        self._lines.extend([line for line, receipt in zip(numbers, receipts, strict=True) if not receipt.duplicate])

    def place(self, error: EsctlError, numbers: Sequence[int], events: Sequence[NewEvent]) -> None:
        """Replace an error's index in a batch by its line, and name the line that has its id, if one has."""
        index, earlier = error.details.pop("index", None), error.details.pop("earlier", None)
        if isinstance(index, int):
            error.details = {"line": numbers[index], **error.details}
        if isinstance(earlier, int):
            error.details["first_line"] = self._line_of(earlier, str(error.details["id"]), numbers, events)

    def _line_of(self, position: int, id_: str, numbers: Sequence[int], events: Sequence[NewEvent]) -> int:
        """The line of an event that the transaction stored, in an earlier batch or in this one."""
        if (stored := position - self._before - 1) < len(self._lines):
            return self._lines[stored]
        return next(line for line, event in zip(numbers, events, strict=True) if event.id == id_)
