"""Parse the lines of a run of `append` into events, chunk by chunk, and ahead in a second process where that pays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from esctl.append.inputs import Inputs
from esctl.append.worker import PARTS_AHEAD, Worker, cut, is_worthwhile
from esctl.errors import EsctlError, RefusedError
from esctl.events.event import SYSTEM_STREAM, NewEvent, Prepared, max_event_bytes, new_ids
from esctl.events.formats import LOOKED_AT, Arrays, Line
from esctl.events.lines import CHUNK_LINES, Defaults, Parser, too_large

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.append.ingest import Options, Tally

    Part = tuple[Sequence[int], Prepared]  # numbers of lines, and their events


class Batch:
    """The events of a batch with the numbers of their lines; `more` gives the parts that are still to come, which it
    adds to both.
    """

    __slots__ = ("events", "more", "numbers")

    def __init__(self, numbers: list[int], events: list[NewEvent], more: Iterable[Prepared] = ()) -> None:
        self.numbers, self.events, self.more = numbers, events, more


class Parsing:
    """Parses batches of lines. Errors have `line`, the number of the line; those of lines that the options pass over
    are counted, and go to `skipped`. `close` it at the end.

    If several full parts of a batch have come, and more may come, a second process parses parts ahead.
    """

    def __init__(
        self,
        inputs: Inputs,
        defaults: Defaults,
        options: Options,
        tally: Tally,
        skipped: Callable[[EsctlError], None],
        waiting: Callable[[], None],
        *,
        ahead: Callable[[], bool] = is_worthwhile,
    ) -> None:
        """`ahead`: whether there may be a second process; `waiting`: see `Worker`."""
        self._inputs, self._options, self._tally, self._skipped = inputs, options, tally, skipped
        self._limit = max_event_bytes()
        self._defaults, self._ids = defaults, new_ids()
        self._parser = Parser(defaults, self._ids)
        self._arrays = Arrays(self._limit, "ndjson" if defaults.payload else defaults.input)
        self._waiting = waiting
        self._worker: Worker | None = None
        self._ahead = ahead

    def batches(self, lines: Iterable[tuple[int, Sequence[Line]]]) -> Iterator[Batch]:
        """Batches of events; blank lines are counted, but yield no event."""
        for first, batch, numbered in self._arrays.over(lines):
            parts = self._parts(first, batch, numbered)
            found = Batch([], [])
            for _ in self._added(found, parts):
                if self._worker is not None and found.events:
                    break
            if found.events:
                found.more = self._added(found, parts)
                yield found

    def close(self) -> None:
        """End the second process, if there is one."""
        if self._worker is not None:
            self._worker.close()

    def _added(self, batch: Batch, parts: Iterator[Part]) -> Iterator[Prepared]:
        """Parts, each added to a batch as it comes."""
        for numbers, part in parts:
            batch.numbers += numbers
            batch.events += part.events
            yield part

    def _parts(self, first: int, batch: Sequence[Line], numbered: Iterable[tuple[int, Line]]) -> Iterator[Part]:
        """The events of a batch whose first line has the number `first`."""
        if not isinstance(numbered, enumerate):  # some are elements of arrays
            yield self._singly(numbered, first, batch)
            return
        cuts = list(cut(batch))
        if self._worker is None and len(cuts) > PARTS_AHEAD and not self._inputs.ended and self._ahead():
            with suppress(OSError):  # one process is enough
                self._worker = Worker(self._defaults, self._waiting)
        if self._worker is None:
            yield from self._chunks(first, batch, 0, len(batch))
            return
        for start, end in cuts[1 : 1 + PARTS_AHEAD]:
            self._worker.send(batch[start:end])
        for number, (start, end) in enumerate(cuts):
            part = self._worker.receive() if number else None  # the first part is parsed here meanwhile
            if number:
                for next_start, next_end in cuts[number + PARTS_AHEAD : number + PARTS_AHEAD + 1]:
                    self._worker.send(batch[next_start:next_end])
            if part is None:
                yield from self._chunks(first, batch, start, end)
            else:
                yield range(first + start, first + end), self._with_ids(part)

    def _with_ids(self, part: Prepared) -> Prepared:
        """Events of the second process, which gives no ids, with ids in the order of all others."""
        if all(event.id for event in part.events):
            return part
        ids, made = self._ids, NewEvent._make
        return part._replace(events=[made((s, t, id_ or next(ids), *rest)) for s, t, id_, *rest in part.events])

    def _chunks(self, first: int, batch: Sequence[Line], start: int, end: int) -> Iterator[Part]:
        """The events of the lines `start` to `end` of a batch."""
        for at in range(start, end, CHUNK_LINES):
            lines = batch[at : min(at + CHUNK_LINES, end)]
            number = first + at
            events = self._parser.chunk(lines)
            if events is None:
                yield self._singly(enumerate(lines, number), first, batch)
            else:
                yield range(number, number + len(events)), Prepared(events)

    def _singly(self, numbered: Iterable[tuple[int, Line]], first: int, batch: Sequence[Line]) -> Part:
        """The events of lines, or of elements of arrays, parsed one by one."""
        numbers, events = [], []
        for number, line in numbered:
            if line is not None and not line.strip():
                self._inputs.pass_blank(number)
                continue
            try:
                if line is None:
                    raise too_large(self._limit)
                events.append(self._parser.line(line))
                numbers.append(number)
            except RefusedError as error:
                self._refuse(error, number, line, batch[(at := number - first + 1) : at + LOOKED_AT])
        return numbers, Prepared(events)

    def _refuse(self, error: RefusedError, number: int, line: Line, following: Sequence[Line]) -> None:
        """Pass over a line that is no event, or raise its error."""
        options, item = self._options, self._arrays.item
        if options.skip_system and error.code == SYSTEM_STREAM:
            self._tally.system += 1
            return
        error.details = {"line": number, **({"item": item} if item else {}), **error.details}
        self._inputs.advise(error, line, following)
        if not options.skip_invalid:
            if not error.fix and error.again is None:
                error.again = "--skip-system" if error.code == SYSTEM_STREAM else "--skip-invalid"
            raise error
        self._tally.invalid += 1
        self._skipped(error)
