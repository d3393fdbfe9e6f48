"""An index of what links events: for each summarized block the hashes of causes, correlations and original ids.

It has short hashes, so nothing of a payload is in it, and who reads it compares the events that it finds. One row for
each block costs an append little, whereas an index by hash would scatter an entry for each link over the whole file.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator

from esctl.store import format as storage
from esctl.store.errors import damaged
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import apsw

    from esctl.store.checks import Finding

# No projection can have this name, in whatever log: names that begin so are reserved.
TABLES = (
    # A block's links, in the order of positions. `hashes`: 4 bytes each; `offsets`: 2 bytes each, how far the position
    # is behind the block's start. The least byte is first. Blocks without links have no row.
    "create table esctl_links (block integer primary key, hashes blob not null, offsets blob not null) strict",
)
# Names may be written with escapes.
_LINKED = """select position, id, meta from {events} where position between ?1 and ?2
and (instr(meta, '_id"') or instr(meta, 'source"') or instr(meta, '\\'))"""
_WHOLE = "substr(hashes, 1, 12001), substr(offsets, 1, 6001)"  # a block has at most three links for each position
_BLOCKS = f"select block, {_WHOLE} from esctl_links where block >= ? and block < ? order by block limit 100"
_ROW = f"select {_WHOLE} from esctl_links where block = ?"
_REPLACE = "insert or replace into esctl_links values (?, ?, ?)"
_BEHIND = "select exists(select 1 from esctl_links where block >= ? or block < 0)"
_HASH_BYTES = 4
_FEW = 8  # hashes, for each of which the bytes are searched


class Block:
    """The links of a block."""

    def __init__(self, path: str, number: int, hashes: bytes, offsets: bytes) -> None:
        """Raises VerificationError if they do not fit together."""
        if len(hashes) % _HASH_BYTES or 2 * len(offsets) != len(hashes):
            raise damaged(path, f"the index of causes and correlations has no whole links in block {number}")
        self._start, self._hashes, self._offsets = number * storage.POSITIONS_PER_BLOCK, hashes, offsets

    def positions(self, hashes: set[int]) -> list[int]:
        """The positions of the events that have one of these hashes."""
        if len(hashes) <= _FEW and not any(number.to_bytes(_HASH_BYTES, "little") in self._hashes for number in hashes):
            return []
        return sorted({self._start + offset for offset, number in self.links() if number in hashes})

    def links(self) -> Iterator[tuple[int, int]]:
        """Offset and hash of each link."""
        return zip(_numbers("H", self._offsets), _numbers("I", self._hashes), strict=True)


def extend(reading: Reading, block: int, after: int) -> None:
    """Within a transaction: index the events of the blocks from a number on that end before another."""
    for number in range(block, after):
        _write(reading, number, _found(reading, number))


def _found(reading: Reading, block: int) -> list[tuple[int, int]]:
    """Offset and hash of each link of a block, by its events."""
    from esctl.events import links  # noqa: PLC0415 - most commands do without

    start = block * storage.POSITIONS_PER_BLOCK
    sql, span = reading.everywhere(_LINKED), (start + 1, start + storage.POSITIONS_PER_BLOCK)
    rows: list[Any] = sorted(reading.connection.execute(sql, span))
    return [(position - start, number) for position, id_, meta in rows for number in links.hashes(id_, meta)]


def _write(reading: Reading, block: int, found: list[tuple[int, int]]) -> None:
    if found:
        offsets, numbers = _bytes("H", (one for one, _ in found)), _bytes("I", (number for _, number in found))
        reading.connection.execute(_REPLACE, (block, numbers, offsets))
    else:
        reading.connection.execute("delete from esctl_links where block = ?", (block,))


def cut(connection: apsw.Connection, block: int) -> None:
    """Within a transaction: no block from this number on is indexed any more."""
    connection.execute("delete from esctl_links where block >= ?", (block,))


def erase(reading: Reading, positions: Iterable[int]) -> None:
    """Within a transaction: remove the links of events whose payloads are erased."""
    of: dict[int, set[int]] = {}
    for position in positions:
        block = (position - 1) // storage.POSITIONS_PER_BLOCK
        of.setdefault(block, set()).add(position - block * storage.POSITIONS_PER_BLOCK)
    for block, gone in of.items():
        row: Any = reading.connection.execute(_ROW, (block,)).get
        if row is not None:
            links = Block(reading.path, block, row[0], row[1]).links()
            _write(reading, block, [link for link in links if link[0] not in gone])


def blocks(reading: Reading) -> tuple[int, Iterator[Block]]:
    """The first position that is not indexed, and the blocks before it."""
    after: int = reading.connection.execute(storage.NEXT_BLOCK).get
    return after * storage.POSITIONS_PER_BLOCK + 1, _blocks(reading, after)


def _blocks(reading: Reading, after: int) -> Iterator[Block]:
    ask: Any = reading.connection.execute
    rows: list[Any] = [(-1,)]
    while rows := ask(_BLOCKS, (rows[-1][0] + 1, after)).fetchall():
        yield from (Block(reading.path, *row) for row in rows)


def findings(reading: Reading, after: int) -> Iterator[Finding]:
    """Where the index differs from the events of the blocks before a number."""
    for block in range(after):
        row: Any = reading.connection.execute(_ROW, (block,)).get or (b"", b"")
        found = _found(reading, block)
        if row != (_bytes("I", (number for _, number in found)), _bytes("H", (offset for offset, _ in found))):
            first = block * storage.POSITIONS_PER_BLOCK + 1
            last = first + storage.POSITIONS_PER_BLOCK - 1
            problem = f"the index of causes and correlations of positions {first} to {last} is not that of its events"
            yield ("summaries", first, problem)
    if reading.connection.execute(_BEHIND, (after,)).get:
        yield ("summaries", None, "the index of causes and correlations has blocks that are not full")


def _bytes(type_code: str, numbers: Iterable[int]) -> bytes:
    return _swapped(array(type_code, numbers)).tobytes()


def _numbers(type_code: str, content: bytes) -> array[int]:
    return _swapped(array(type_code, content))


def _swapped(numbers: array[int]) -> array[int]:
    """In the file, the least byte is first."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
