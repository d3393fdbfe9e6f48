"""Read the pages of a log's file one by one: SQLite gives up a whole table for one damaged page.

Source: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

import apsw

from esctl.errors import UnavailableError
from esctl.store.format import uri_of

PAGE_SIZES = frozenset(2**n for n in range(9, 17))
USUAL_PAGE_SIZE = 8192  # of a log, if its first page does not say
TABLE_LEAF, TABLE_INNER, INDEX_LEAF, INDEX_INNER = 0x0D, 0x05, 0x0A, 0x02
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_WAL_HEADER, _FRAME_HEADER = 32, 24  # bytes
_NUMBER_SIZES = (0, 1, 2, 3, 4, 6, 8)  # bytes of an integer, by serial type
MAX_CELL_BYTES = 1024 * 1024 * 1024  # SQLite's own limit

Value = int | bytes | str | None


class Cell(NamedTuple):
    """A record: the number of its row (None in an index), and its place: page * page size + offset."""

    rowid: int | None
    values: list[Value]
    place: int


class BrokenError(ValueError):
    """Bytes that are no record."""


class Pages:
    """The pages of a file as of its last commit: those in its WAL replace those in the file. Nothing is written."""

    def __init__(self, path: str) -> None:
        """Raises UnavailableError if the file cannot be read."""
        self._reader = _held(path)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(self._file).st_size
            try:
                with open(f"{path}-wal", "rb") as wal:
                    self._wal = wal.read()
            except FileNotFoundError:
                self._wal = b""
        except OSError as error:
            raise UnavailableError(f"cannot read {path}", why=error.strerror or str(error)) from error
        self._latest = 0, b""
        self.size = self._page_size(os.pread(self._file, 100, 0))
        self._newer, count = self._of_wal()
        self.count = count or size // self.size
        reserved = self.page(1)[20] if size > 100 else 0
        self.usable = self.size - (reserved if reserved < 64 else 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        if self._reader is not None:
            self._reader.close()

    def _page_size(self, header: bytes) -> int:
        stated = int.from_bytes(header[16:18], "big")
        if self._wal[:4] and int.from_bytes(self._wal[:4], "big") in _WAL_MAGIC:
            stated = int.from_bytes(self._wal[8:12], "big")
        stated = 65536 if stated == 1 else stated
        # A log always has this size. Another one is believed only if the rest of the header is SQLite's.
        return stated if stated in PAGE_SIZES and header[:16] == b"SQLite format 3\0" else USUAL_PAGE_SIZE

    def _of_wal(self) -> tuple[dict[int, int], int]:
        """Where the WAL has the newest committed version of each page, and the number of pages after that commit."""
        newest: dict[int, int] = {}
        pending: dict[int, int] = {}
        count, at, step = 0, _WAL_HEADER, _FRAME_HEADER + self.size
        if int.from_bytes(self._wal[:4], "big") not in _WAL_MAGIC:
            return newest, 0
        order = "big" if self._wal[3] & 1 else "little"
        sums = _checksum(self._wal[:24], (0, 0), order)
        while at + step <= len(self._wal):
            head = self._wal[at : at + _FRAME_HEADER]
            sums = _checksum(self._wal[at + _FRAME_HEADER : at + step], _checksum(head[:8], sums, order), order)
            if head[8:16] != self._wal[16:24] or head[16:24] != b"".join(s.to_bytes(4, "big") for s in sums):
                break  # of an earlier use of the WAL, or damaged: SQLite ends here, too
            pending[int.from_bytes(head[:4], "big")] = at + _FRAME_HEADER
            if commit := int.from_bytes(head[4:8], "big"):
                newest.update(pending)
                pending.clear()
                count = commit
            at += step
        return newest, count

    def page(self, number: int) -> bytes:
        """The bytes of a page (1, 2 …), fewer if the file ends before."""
        if self._latest[0] != number:
            at = self._newer.get(number)
            content = (
                os.pread(self._file, self.size, (number - 1) * self.size)
                if at is None
                else self._wal[at : at + self.size]
            )
            self._latest = number, content
        return self._latest[1]

    def cells(self, number: int) -> Iterator[int]:
        """The places of the cells of a page: of as many as its pointers reach, whatever their stated number is."""
        page = self.page(number)
        start = 100 if number == 1 else 0
        at = start + (12 if page[start : start + 1] in (b"\x05", b"\x02") else 8)
        least, seen = len(page), set[int]()
        while at + 2 <= least:
            pointer = int.from_bytes(page[at : at + 2], "big")
            at += 2
            if start + 8 < pointer < self.usable and pointer not in seen:
                seen.add(pointer)
                if pointer >= at:
                    least = min(least, pointer)
                yield number * self.size + pointer

    def table_cell(self, place: int) -> Cell:
        """The row at a place in a leaf of a table. Raises BrokenError."""
        page, at = self._at(place)
        length, at = varint(page, at)
        rowid, at = varint(page, at)
        rowid = rowid - 2**64 if rowid >= 2**63 else rowid
        return Cell(rowid, _record(self._payload(page, at, length, self.usable - 35)), place)

    def index_cell(self, place: int, *, inner: bool) -> Cell:
        """The entry at a place in a page of an index. Raises BrokenError."""
        page, at = self._at(place)
        length, at = varint(page, at + 4 * inner)
        most = (self.usable - 12) * 64 // 255 - 23
        return Cell(None, _record(self._payload(page, at, length, most)), place)

    def children(self, number: int) -> Iterator[int]:
        """The numbers of the pages below an inner page."""
        page, start = self.page(number), 100 if number == 1 else 0
        for place in self.cells(number):
            at = place % self.size
            yield int.from_bytes(page[at : at + 4], "big")
        yield int.from_bytes(page[start + 8 : start + 12], "big")

    def kind(self, number: int) -> int:
        """The kind of a page, its first byte; -1 if there is none."""
        start = 100 if number == 1 else 0
        return (self.page(number)[start : start + 1] or b"\xff")[0] if number <= self.count else -1

    def _at(self, place: int) -> tuple[bytes, int]:
        return self.page(place // self.size), place % self.size

    def _payload(self, page: bytes, at: int, length: int, most: int) -> bytes:
        """The payload of a cell, with the rest of a long one from its overflow pages."""
        if length <= most:
            if at + length > self.usable:
                raise BrokenError
            return page[at : at + length]
        if length > min(MAX_CELL_BYTES, self.count * self.size):
            raise BrokenError
        local = local_bytes(length, self.usable, most)
        parts, remaining = [page[at : at + local]], length - local
        following, seen = int.from_bytes(page[at + local : at + local + 4], "big"), set[int]()
        while remaining > 0:
            if following in seen or not 1 < following <= self.count:
                raise BrokenError
            seen.add(following)
            more = self.page(following)
            parts.append(more[4 : 4 + min(remaining, self.usable - 4)])
            following, remaining = int.from_bytes(more[:4], "big"), remaining - len(parts[-1])
            if not parts[-1]:
                raise BrokenError
        return b"".join(parts)


def _held(path: str) -> apsw.Connection | None:
    """A read transaction, if others may have the file open: until it ends, they move no newer pages into the file."""
    if not (os.path.exists(f"{path}-wal") and os.path.exists(f"{path}-shm")):
        return None
    try:
        connection = apsw.Connection(uri_of(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("begin; select count(*) from sqlite_schema").fetchall()
    except apsw.Error:  # as damaged as it may be, its pages can be read
        return None
    return connection


def _checksum(content: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = sums
    numbers = struct.unpack(f"{'>' if order == 'big' else '<'}{len(content) // 4}I", content)
    for first, second in zip(numbers[::2], numbers[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def local_bytes(length: int, usable: int, most: int) -> int:
    """How many bytes of a payload that is longer than `most` are in its cell; the others are in overflow pages."""
    least = (usable - 12) * 32 // 255 - 23
    local = least + (length - least) % (usable - 4)
    return local if local <= most else least


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for n in range(9):
        if at >= len(content):
            raise BrokenError
        byte = content[at]
        at += 1
        if n == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    raise AssertionError


def _record(payload: bytes) -> list[Value]:
    """The values of a record. Raises BrokenError unless it is one, to the last byte."""
    end, at = varint(payload, 0)
    if not at <= end <= len(payload):
        raise BrokenError
    kinds = []
    while at < end:
        kind, at = varint(payload, at)
        kinds.append(kind)
    if at != end:
        raise BrokenError
    values: list[Value] = []
    for kind in kinds:
        size = _NUMBER_SIZES[kind] if kind < 7 else 8 if kind == 7 else 0 if kind < 12 else (kind - 12) // 2
        part = payload[at : at + size]
        at += size
        if at > len(payload) or kind in (7, 10, 11):  # no table of a log has floating-point numbers
            raise BrokenError
        if kind == 0:
            values.append(None)
        elif kind < 7:
            values.append(int.from_bytes(part, "big", signed=True))
        elif kind < 10:
            values.append(kind - 8)
        elif kind % 2:
            try:
                values.append(part.decode())
            except UnicodeDecodeError as error:
                raise BrokenError from error
        else:
            values.append(part)
    if at != len(payload):
        raise BrokenError
    return values
