"""The bytes of a table's pages that are in no row.

SQLite clears the place of a row that is deleted or gets shorter (`secure_delete`). But when it shares out rows among
neighbouring pages anew, it leaves copies of rows in the space between a page's pointers and its rows; and an overflow
page that was not cleared before keeps what stood behind the end of its new row.
Source: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class

import apsw

from esctl.store.pages import BrokenError, local_bytes, varint

INNER, LEAF = 0x05, 0x0D
OVERFLOW = 3  # in a pointer map: the first overflow page of a row
LOCK_BYTE = 0x40000000  # the page that has it is never used
PAGES_PER_READ = 8  # 64 KiB: larger buffers are new memory each time, which is slower than the reads
MAX_HOLE = 4  # pages of other tables that are read along: two reads cost more
MAX_PAGE_BYTES = 65536
MAX_PAGES = 2**32
MAX_DEPTH = 20  # SQLite's own limit
_ZEROS = bytes(MAX_PAGE_BYTES)
_header = Struct(">BHHH").unpack_from  # kind, first free block, number of cells, where they start
_block = Struct(">HH").unpack_from  # the next free block, the bytes of this one
_number = Struct(">I").unpack_from
_pointer = Struct(">H").unpack_from
_pointers = Struct(">H").iter_unpack
_entries = Struct(">BI").iter_unpack  # of a pointer map: kind, page above


def leftover_bytes(connection: apsw.Connection, tables: Iterable[str]) -> Iterator[bytes]:
    """The bytes outside of rows, where they are not all zero, in the pages of tables that have row numbers.

    It reads the file itself: within a transaction that has the write lock, and with an empty WAL. Raises
    apsw.CorruptError.
    """
    size: int = connection.execute("pragma page_size").get
    long = _with_long_rows(connection, size)
    for table in tables:
        root = connection.execute("select rootpage from sqlite_schema where name = ?", (table,)).get
        for first, pages in _runs(sorted(_leaves(connection, size, root))):
            _, chunk = connection.read("main", 0, (first - 1) * size, (pages[-1] - first + 1) * size)
            for page in pages:  # the loop avoids calls: it runs for each page of the log
                at = (page - first) * size
                kind, free, cells, start = _header(chunk, at)
                low, high = at + 8 + 2 * cells, at + (start or MAX_PAGE_BYTES)
                if kind != LEAF or not low <= high <= at + size:
                    raise apsw.CorruptError("a page of a table is of another kind")
                if (gap := chunk[low:high]) != _ZEROS[: high - low] and (rest := _without_pointers(gap, size)):
                    yield rest
                if free:
                    yield from _in_blocks(chunk[at : at + size], free)
                if long is None or page in long:
                    yield from _behind_rows(connection, chunk[at : at + size], size)


def _leaves(connection: apsw.Connection, size: int, root: int) -> list[int]:
    """The numbers of a table's leaf pages, which are all at one depth."""
    level = [root]
    for _ in range(MAX_DEPTH):
        below: list[int] = []
        for number in level:
            _, page = connection.read("main", 0, (number - 1) * size, size)
            if page[0] == LEAF and number == level[0]:
                return level
            below += _children(page)
        level = below
    raise apsw.CorruptError("a table's pages are in a circle")


def _children(page: bytes) -> Iterator[int]:
    """The numbers of the pages below an inner page."""
    kind, _, cells, _ = _header(page)
    if kind != INNER or 12 + 2 * cells > len(page):
        raise apsw.CorruptError("a page of a table is of another kind")
    for at in range(12, 12 + 2 * cells, 2):
        (cell,) = _pointer(page, at)
        if cell + 4 > len(page):
            raise apsw.CorruptError("a cell is outside of its page")
        yield _number(page, cell)[0]
    yield _number(page, 8)[0]


def _runs(pages: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Pages that are read at once, with the first of them."""
    start = 0
    for at, (page, following) in enumerate(pairwise([*pages, MAX_PAGES]), 1):
        if following - page > MAX_HOLE or following - pages[start] >= PAGES_PER_READ:
            yield pages[start], pages[start:at]
            start = at


def _without_pointers(gap: bytes, size: int) -> bytes:
    """The bytes behind a page's pointers without those to cells that are gone, unless all are zero."""
    at = 0
    while at + 2 <= len(gap) and 0 < _pointer(gap, at)[0] < size:
        at += 2
    return gap[at:].strip(b"\0")


def _in_blocks(page: bytes, block: int) -> Iterator[bytes]:
    """What is not zero in the free blocks of a page, which are linked in order; the first is at `block`."""
    while block:
        if block + 4 > len(page):
            raise apsw.CorruptError("a free block is outside of its page")
        following, length = _block(page, block)
        if any(content := page[block + 4 : block + length]):
            yield content
        if 0 < following <= block:
            raise apsw.CorruptError("the free blocks of a page are in a circle")
        block = following


def _with_long_rows(connection: apsw.Connection, size: int) -> set[int] | None:
    """The pages with rows that go on in overflow pages, as the file's pointer map says; None if it has none."""
    if not connection.execute("pragma auto_vacuum").get:
        return None
    count, entries, found = connection.execute("pragma page_count").get, size // 5, set[int]()
    for first in range(2, count + 1, entries + 1):
        number = first + (first == LOCK_BYTE // size + 1)
        _, page = connection.read("main", 0, (number - 1) * size, size)
        if OVERFLOW in page[: 5 * entries : 5]:
            found.update(parent for kind, parent in _entries(page[: 5 * entries]) if kind == OVERFLOW)
    return found


def _behind_rows(connection: apsw.Connection, page: bytes, size: int) -> Iterator[bytes]:
    """What is not zero behind the ends of a leaf's long rows, in their last overflow pages."""
    most = size - 35
    try:
        for (cell,) in _pointers(page[8 : 8 + 2 * _header(page, 0)[2]]):
            length, at = varint(page, cell)
            _, at = varint(page, at)
            if length > most:
                local = local_bytes(length, size, most)
                (number,), remaining = _number(page, at + local), length - local
                while remaining > size - 4:
                    _, following = connection.read("main", 0, (number - 1) * size, 4)
                    (number,), remaining = _number(following, 0), remaining - (size - 4)
                _, last = connection.read("main", 0, (number - 1) * size, size)
                if rest := last[4 + remaining :].strip(b"\0"):
                    yield rest
    except (BrokenError, ValueError, StructError) as error:
        raise apsw.CorruptError("a row goes on in a page that does not exist") from error
