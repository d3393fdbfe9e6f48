"""What summaries need to know of events, noted as they are appended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Noted:
    """Events in position order, as columns: position, number of the stream and of the type, schema, bytes of payload,
    time. A tuple for each would cost a bulk append 4 %.
    """

    __slots__ = ("positions", "schemas", "sizes", "streams", "times", "types")

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        columns: Any = list(zip(*rows, strict=True)) or [()] * 6
        self.positions: Sequence[int] = columns[0]
        self.streams: list[int] = list(columns[1])
        self.types: list[int] = list(columns[2])
        self.schemas: list[int] = list(columns[3])
        self.sizes: list[int] = list(columns[4])
        self.times: list[str] = list(columns[5])

    def notes(self) -> tuple[Callable[[Any], None], ...]:
        """How to add to each column but positions."""
        return tuple(column.append for column in (self.streams, self.types, self.schemas, self.sizes, self.times))

    def between(self, first: int, last: int) -> Noted:
        """Those between two positions; they have no gaps."""
        found, start = Noted(), self.positions[0]
        part = slice(max(0, first - start), max(0, last + 1 - start))
        for name in self.__slots__:
            setattr(found, name, getattr(self, name)[part])
        return found
