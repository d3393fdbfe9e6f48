"""Find single events: by id, by version, by the time at which they were recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from esctl.events import chain
from esctl.store.errors import translating
from esctl.store.format import ARCHIVED, HOT
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.store import links

_VERSION_UNTIL = """select version from {table} where stream_id = ?1 and +position <= ?2 and version > ?3
order by version desc limit 1"""


@translating
class Places:
    """Positions and versions of single events, hot or archived; each answer is of one state of the file."""

    def __init__(self, reading: Reading, newest: Callable[[], int]) -> None:
        """`newest` gives the position of the newest event."""
        self.path, self._reading, self._newest = reading.path, reading, newest
        self._execute = reading.connection.execute

    def position_at(self, recorded: str) -> int:
        """The position of the newest event recorded at or before a time; 0 if there is none.

        `recorded` never decreases, so a bisection by position finds it without an index.
        """
        newest = self._newest()

        def ask(_: bool) -> int:
            low, high = 0, newest
            sql = self._reading.everywhere("select recorded from {events} where position = ?1")
            while low < high:
                middle = (low + high + 1) // 2
                moment = self._execute(sql, (middle,)).get
                if moment is None:  # only in what is whole of a damaged log
                    newest_by = "select ifnull(max(position), 0) from main.events where recorded <= ?"
                    return int(self._execute(newest_by, (recorded,)).get)
                low, high = (middle, high) if moment <= recorded else (low, middle - 1)
            return low

        return self._reading.steady(ask)

    def version_until(self, stream: str, position: int) -> int:
        """The version of a stream's newest event up to a position; 0 if it has none."""
        stream_id = self._stream_id(stream)

        def ask(archived: bool) -> int:
            found = 0
            for table in (HOT, ARCHIVED) if archived else (HOT,):
                parameters = (stream_id, position, found)  # older archived frames are not unpacked
                found = self._execute(_VERSION_UNTIL.format(table=table), parameters).get or found
            return found

        return self._reading.steady(ask)

    def event_at(self, stream: str, version: int) -> tuple[int, bytes] | None:
        """Position and hash of a stream's event; None if it has none of that version."""
        sql = "select position, hash from {events} where stream_id = ?1 and version = ?2"
        found: tuple[int, bytes] | None = self._anywhere(sql, (self._stream_id(stream), version))
        return found

    def hash_at(self, position: int) -> bytes:
        """The chain's hash of the event at a position; at 0, the genesis hash; empty where there is no event."""
        if not position:
            return chain.genesis(self._execute("select log_id from head").get)
        found: bytes | None = self._anywhere("select hash from {events} where position = ?1", (position,))
        return found or b""

    def find(self, event_id: str) -> int:
        """The position of the event with an id; 0 if there is none."""
        return self._anywhere("select position from {events} where id = ?1", (event_id,)) or 0

    def links(self) -> tuple[int, Iterator[links.Block]]:
        """The first position of which it is not known what links it to others, and the links of those before."""
        from esctl.store import links  # noqa: PLC0415 - only a trace needs it

        return links.blocks(self._reading)

    def _stream_id(self, stream: str) -> int:
        return self._execute("select stream_id from streams where name = ?", (stream,)).get or 0

    def _anywhere(self, sql: str, parameters: tuple[object, ...]) -> Any:
        """The row of a SELECT from `{events}` that finds at most one: a hot event, or else an archived one."""

        def ask(archived: bool) -> Any:
            found = self._execute(sql.format(events=self._reading.hot), parameters).get
            return self._execute(sql.format(events=ARCHIVED), parameters).get if found is None and archived else found

        return self._reading.steady(ask)
