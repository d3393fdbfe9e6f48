"""Input that is not one event per line: read arrays of CloudEvents; recognise what another command has to convert."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from esctl.errors import EsctlError
from esctl.events.record import Record

Line = bytes | None
"""A line of input; None if it is too long."""

CUT_OFF = "cut-off"
"""The code of the error for JSON that ends in the middle of a value."""

LOOKED_AT = 20  # how many of the next lines help to recognise a format
_BEFORE_ARRAYS = {b"[", b" ", b"\t", b"\r"}  # what a line with an array begins with
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{},]')
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")  # not in text
_SPECVERSION = b'"specversion"'
_MAGIC = (
    (b"SQLite format 3\0", "the input is a database, not lines", "esctl replay --log"),
    (b"\xfd7zXZ\0", "the input is compressed with xz", "xz -dc"),
    (b"BZh", "the input is compressed with bzip2", "bzip2 -dc"),
    (b"\x04\x22\x4d\x18", "the input is compressed with lz4", "lz4 -dc"),
    (b"PK\3\4", "the input is a zip archive", "funzip"),
    (b"\xff\xfe\0\0", "the input is UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "the input is UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "the input is UTF-16", "iconv -f UTF-16 -t UTF-8"),
)


class Advice(Record):
    """What an input is, and how to make lines of it: by a command that reads it, or as `fix` or `again` say."""

    what: str
    why: str
    command: str = ""
    fix: str = ""
    again: str | None = None


def advice(error: EsctlError, line: bytes, following: Sequence[Line], *, first: bool) -> Advice | None:
    """What to do about a refused line if the input has another format. `first`: the line is the first of its file."""
    text = line.strip()
    if first and (found := _encoded(line)):
        return found
    if first and text[:1] == b"[" and text[1:].lstrip()[:1] in (b"", b"{", b"["):
        return _array(text, following)
    if text[:1] == b"{":
        return _pretty(error, text, following) if error.code == CUT_OFF else None
    return _table(error, text, following) if first and text[:1] != b"[" else None


def _array(text: bytes, following: Sequence[Line]) -> Advice:
    what, why = "the line is a JSON array, not an event", "an array of CloudEvents is a batch"
    if any(_SPECVERSION in (line or b"") for line in (text, *following)):
        return Advice(what, why, again="--input cloudevents")
    return Advice(what, "jq writes each of its elements on a line of its own", "jq -c '.[]'")


def _pretty(error: EsctlError, text: bytes, following: Sequence[Line]) -> Advice | None:
    """Advice for JSON over several lines; None where a line was cut off before another event."""
    rest = next((line.lstrip() for line in following if line and line.strip()), b"")
    if text != b"{" and rest[:1] in (b"", b"{"):
        return None
    return Advice(error.what, f"{error.why}; if each event takes several lines, jq writes each on one", "jq -c .")


def _encoded(line: bytes) -> Advice | None:
    """Advice for what its first bytes give away."""
    why = "an input is lines of JSON in UTF-8, plain, or in gzip or zstd"
    for magic, what, command in _MAGIC:
        if line.startswith(magic):
            return Advice(what, why, command)
    if len(line) > 1 and 0 in line[:2]:
        order = "BE" if line[0] == 0 else "LE"
        return Advice("the input is UTF-16", why, f"iconv -f UTF-16{order} -t UTF-8")
    return None


def _table(error: EsctlError, text: bytes, following: Sequence[Line]) -> Advice | None:
    """Advice for CSV: as many columns in the next line, if there is one."""
    rest = next((line for line in following if line and line.strip()), text)
    if _CONTROL.search(text):
        return None
    for separator in ",;\t":
        columns = [_columns(each, separator) for each in (text, rest)]
        if columns[0] > 1 and columns[0] == columns[1] and not rest.lstrip().startswith(b"{"):
            why = "it looks like CSV; the cookbook has a recipe that makes events of its rows"
            return Advice(error.what, why, fix="esctl help cookbook")
    return None


def _columns(line: bytes, separator: str) -> int:
    text = line.decode("utf-8", "replace").replace("\0", "")
    try:
        return len(next(csv.reader([text], delimiter=separator), []))
    except csv.Error:  # a CR in it, or a column of more than 128 KiB: then it is something else
        return 0


class Arrays:
    """Replaces arrays of CloudEvents, on one line or on many, by their elements; all other lines pass as they are.

    If the input is `cloudevents`, every array is a batch; with `auto`, one on a single line in which `specversion`
    occurs; with `ndjson`, none. An element of more than `limit` bytes is None, as a line is. `item` is the number of
    the last element in its array, 0 outside.
    """

    def __init__(self, limit: int, input_: Literal["auto", "ndjson", "cloudevents"]) -> None:
        self._limit, self._input = limit, input_
        self._depth = self._size = self.item = 0
        self._parts: list[bytes] = []
        self._number = 0  # of the line in which the element begins

    def over(
        self, batches: Iterable[tuple[int, Sequence[Line]]]
    ) -> Iterator[tuple[int, Sequence[Line], Iterable[tuple[int, Line]]]]:
        """Batches of lines (the number of the first, lines), each with its numbered lines and elements."""
        for first, batch in batches:
            if self._depth or not _BEFORE_ARRAYS.isdisjoint({line[:1] for line in batch if line}):
                yield first, batch, self._numbered(first, batch)
            else:
                yield first, batch, enumerate(batch, first)
        if self._depth:
            rest = b"".join(self._parts)
            yield self._number, [], [(self._number, rest if rest.strip() else b"[")]

    def _numbered(self, first: int, batch: Sequence[Line]) -> Iterator[tuple[int, Line]]:
        for number, line in enumerate(batch, first):
            if self._depth or self._is_batch(line):
                yield from self._elements(number, line)
                self.item = self.item if self._depth else 0
            else:
                yield number, line

    def _is_batch(self, line: Line) -> bool:
        if line is None or line.lstrip()[:1] != b"[":
            return False
        return self._input == "cloudevents" or (self._input == "auto" and _SPECVERSION in line)

    def _elements(self, number: int, line: Line) -> Iterator[tuple[int, Line]]:
        """The elements that end in a line of an array."""
        if line is None:
            self._size = self._limit + 1
            return
        start = 0
        for match in _TOKEN.finditer(line):
            token = match[0]
            if token in (b"[", b"{"):
                self._depth += 1
                if self._depth == 1:  # the array begins
                    start, self.item, self._number = match.end(), 0, number
            elif token in (b"]", b"}") or (token == b"," and self._depth == 1):
                if self._depth == 1:
                    self._add(number, line[start : match.start()])
                    start = match.end()
                    yield from self._element(number, last=token != b",")
                self._depth -= token != b","
                if not self._depth:
                    break
        self._finish(number, line[start:])
        if not self._depth and self._parts:  # something follows the array
            yield from self._element(number, last=False)

    def _finish(self, number: int, rest: bytes) -> None:
        """Add the rest of a line."""
        if rest.strip() or self._depth:
            self._add(number, rest + b" ")

    def _add(self, number: int, text: bytes) -> None:
        if not self._parts and self._size <= self._limit:
            text = text.lstrip()
            if not text:
                return
            self._number = number
        self._size += len(text)
        if self._size <= self._limit:
            self._parts.append(text)

    def _element(self, number: int, *, last: bool) -> Iterator[tuple[int, Line]]:
        """The element that ends here; nothing for an empty array, and a comma, which is no JSON, for a missing one."""
        text, size = b"".join(self._parts).strip(), self._size
        if not size:
            self._number = number
        self._parts, self._size = [], 0
        if text or size > self._limit or self.item or not last:
            self.item += 1
            yield self._number, None if size > self._limit else text or b","
