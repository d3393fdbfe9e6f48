"""Parse the lines of a run of `append` into events, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from esctl.append.inputs import Inputs
from esctl.errors import EsctlError, RefusedError
from esctl.events.event import SYSTEM_STREAM, NewEvent, max_event_bytes
from esctl.events.formats import LOOKED_AT, Arrays, Line
from esctl.events.lines import CHUNK_LINES, Defaults, Parser, too_large

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.append.ingest import Options, Tally

    Part = tuple[Sequence[int], Sequence[NewEvent]]  # numbers of lines, and their events


class Parsing:
    """Parses batches of lines. Errors have `line`, the number of the line; those of lines that the options pass over
    are counted, and go to `skipped`.
    """

    def __init__(
        self,
        inputs: Inputs,
        defaults: Defaults,
        options: Options,
        tally: Tally,
        skipped: Callable[[EsctlError], None],
    ) -> None:
        self._inputs, self._options, self._tally, self._skipped = inputs, options, tally, skipped
        self._limit = max_event_bytes()
        self._parser = Parser(defaults)
        self._arrays = Arrays(self._limit, "ndjson" if defaults.payload else defaults.input)

    def batches(self, lines: Iterable[tuple[int, Sequence[Line]]]) -> Iterator[tuple[list[int], list[NewEvent]]]:
        """Batches of line numbers and events; blank lines are counted, but yield no event."""
        for first, batch, numbered in self._arrays.over(lines):
            numbers: list[int] = []
            events: list[NewEvent] = []
            for of_part, part in self._parts(first, batch, numbered):
                numbers += of_part
                events += part
            if events:
                yield numbers, events

    def _parts(self, first: int, batch: Sequence[Line], numbered: Iterable[tuple[int, Line]]) -> Iterator[Part]:
        """The events of a batch whose first line has the number `first`."""
        if not isinstance(numbered, enumerate):  # some are elements of arrays
            yield self._singly(numbered, first, batch)
            return
        for start in range(0, len(batch), CHUNK_LINES):
            lines = batch[start : start + CHUNK_LINES]
            number = first + start
            events = None if None in lines else self._parser.chunk(lines)  # type: ignore[arg-type]
            if events is None:
                yield self._singly(enumerate(lines, number), first, batch)
            else:
                yield range(number, number + len(events)), events

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
        return numbers, events

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
