"""Change the archived part of a log; each change within a transaction of the caller."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import apsw

from esctl.errors import ConflictError
from esctl.events import chain
from esctl.store import links, reads, summaries, unallocated
from esctl.store.errors import translating
from esctl.store.files import hold
from esctl.store.windows import NOT_ARCHIVED, Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from esctl.store.segments import Facts, Frame, Packed, Segment

CACHE_KIB = 16 * 1024  # writes are mostly sequential: 24 MiB were measured to be no faster
_FRAMES = "insert or replace into frames values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SEGMENTS = "insert or replace into segments values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STREAMS = """insert into archived_streams
select ?1, stream_id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 from streams where name = ?2"""
_REACHED = """update streams as s set archived = max(archived, a.first_version + a.versions_on) from archived_streams a
where a.segment = ? and a.stream_id = s.stream_id"""
_UNREACHED = """update streams set archived = 0
where stream_id in (select stream_id from archived_streams where segment = ?)"""
_REACHED_ANEW = """update streams as s set archived = r.reached
from (select stream_id, max(first_version + versions_on) as reached from archived_streams group by stream_id) r
where r.stream_id = s.stream_id and s.archived <> r.reached"""
_TYPES = """insert into archived_types
select ?1, ?2, type_id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14 from types where name = ?3"""
_SMALLER_STREAM = """update archived_streams set bytes = bytes - ?
where segment = ? and stream_id = (select stream_id from streams where name = ?)"""
_SMALLER_TYPE = """update archived_types set bytes = bytes - ?
where segment = ? and own = 0 and type_id = (select type_id from types where name = ?) and schema = ?"""
_GAPS = """select low, high from (
  select lag(last, 1, 0) over (order by first) + 1 as low, first - 1 as high from segments
  union all select ifnull(max(last), 0) + 1, 9223372036854775807 from segments
) where low <= high"""
_DEFINITIONS = (
    """update head set archived = archived + 1, definitions = iif(model between ?1 and ?2, ({text}), definitions)"""
)


@translating
class Archiving:
    """Changes to the archive, on a writing connection."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self._connection, self.path = reading, reading.connection, reading.path
        self._execute = self._connection.execute
        self._held: list[int] = []
        self._execute(f"pragma cache_size = -{CACHE_KIB}")

    # Pending frames: of no segment yet

    def pend(self, frames: Iterable[Packed]) -> None:
        """Store frames for a future segment; readers do not see them.

        Raises ConflictError if their events are already archived.
        """
        for packed in frames:
            self._refuse_taken(packed.frame.first, packed.frame.last)
            self._drop_between(packed.frame.first, packed.frame.last)
            self._execute(_FRAMES, (*packed.frame, packed.packed, packed.salts))

    def _refuse_taken(self, first: int, last: int) -> None:
        if self._execute("select exists(select 1 from segments where first <= ? and last >= ?)", (last, first)).get:
            raise _changed(first, last)

    def _drop_between(self, first: int, last: int) -> None:
        """Delete pending frames of another run for some of these positions; that run will then fail."""
        before = "select max(first) from frames where first < ?2"
        self._execute(
            f"delete from frames where first <= ?1 and first >= ifnull(({before}), 0) and last >= ?2", (last, first)
        )

    def pending(self, frame: Frame) -> bytes:
        """The bytes of a pending frame. Raises ConflictError if another run has deleted or replaced it."""
        sql = "select packed from frames where first = ? and sha256 = ?"
        found: bytes | None = self._execute(sql, (frame.first, frame.sha256)).get
        if found is None:
            raise _changed(frame.first, frame.last)
        return found

    def sealed_lines(self, low: int, high: int) -> tuple[int, bytes, bytes, bytes]:
        """The number of hot events between two positions; their stored lines, salts (zeros if erased) and hashes, each
        joined.
        """
        return reads.sealed_lines(self._connection, low, high)

    def largest(self) -> int:
        """An upper bound for the size of a payload, in bytes."""
        found: int = self._execute("select largest from head").get
        return found

    def drop_pending(self) -> None:
        """Delete pending frames whose segment was never committed."""
        self._execute(
            "delete from frames where not exists("
            "select 1 from segments g where g.first = segment and frames.first between g.first and g.last)"
        )

    # Segments

    def commit_segment(self, segment: Segment, frames: Sequence[Frame], facts: Facts) -> None:
        """Make a segment the place of its events, instead of the hot table.

        Raises ConflictError if the hot rows or the pending frames have changed since it was drafted.
        """
        span = segment.first, segment.last
        self._refuse_taken(*span)  # rows of an archived event stay in the hot table for a while
        hot = self._execute("select count(*) from events where position between ? and ?", span).get
        erased = self._execute("select position from erased where position between ? and ?", span).fetchall()
        pending = self._execute(
            "select first, sha256 from frames where segment = ? and first between ? and ? and packed is not null",
            (segment.first, *span),
        ).fetchall()
        wanted = [] if segment.location is not None else [(frame.first, frame.sha256) for frame in frames]
        if hot != segment.events or [position for (position,) in erased] != facts.erased or pending != wanted:
            raise _changed(segment.first, segment.last)
        if segment.location is not None:
            self._drop_between(*span)
            self._connection.executemany(_FRAMES, [(*frame, None, None) for frame in frames])
        self._execute(_SEGMENTS, segment)
        self._add(segment, facts)
        text = "select json_array(time, data, meta) from events where position = model"
        self._execute(_DEFINITIONS.format(text=text), span)

    def _add(self, segment: Segment, facts: Facts) -> None:
        """Store the facts of a segment."""
        self._connection.executemany(_STREAMS, ((segment.first, *row) for row in facts.by_stream()))
        self._execute(_REACHED, (segment.first,))
        self._connection.executemany(_TYPES, ((segment.first, *row) for row in facts.by_type()))
        # Rows of carray() are numbered from 1. Inserts in the table's order fill its pages one after the other.
        self._execute(
            "insert into archived_ids select value, ?1 + rowid - 1 from carray(?2) order by value",
            (segment.first, apsw.carray(facts.ids, flags=apsw.SQLITE_CARRAY_INT64)),
        )

    def leftover_rows(self) -> tuple[list[tuple[int, int]], int]:
        """Ranges of archived positions whose rows are still in the hot table; the number of rows that remain without
        them.
        """
        spans: Any = self._execute(
            "select first, last from segments g where exists(select 1 from events e"
            " where e.position between g.first and g.last) order by first"
        ).fetchall()
        remaining = "select position - (select ifnull(sum(last - first + 1), 0) from segments) from head"
        return spans, self._execute(remaining).get

    def delete_leftover_rows(self, first: int, last: int) -> None:
        """Delete the leftover rows between two positions."""
        self._execute(f"delete from events as h where position between ? and ? and not {NOT_ARCHIVED}", (first, last))
        self._execute("update head set archived = archived + 1")

    def delete_leftover_rows_at_once(self, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        """Delete all leftover rows in one transaction: fast if few rows remain; these are held in memory meanwhile.

        If no foreign keys are checked, a DELETE without a condition frees whole pages instead of single rows.
        """
        self._execute("pragma foreign_keys = off")
        self._execute("pragma secure_delete = fast")  # the deleted events remain in the archive
        try:
            with transaction():
                self._execute("create temp table remaining as select * from events limit 0")
                for gap in self._execute(_GAPS).fetchall():
                    self._execute("insert into temp.remaining select * from events where position between ? and ?", gap)
                self._execute("delete from events")
                self._execute("insert into events select * from temp.remaining order by position")
                self._execute("drop table temp.remaining")
                # Freed pages are not cleared here. Used again, one may keep what stood behind the end of its new row.
                self._execute("pragma incremental_vacuum").fetchall()
                self._execute("update head set archived = archived + 1")
        finally:
            self._execute("pragma secure_delete = on")
            self._execute("pragma foreign_keys = on")

    def bring_back(self, segment: Segment, ids: Iterable[str]) -> None:
        """Make the hot table the place of a segment's events again."""
        span = segment.first, segment.last
        self._execute("delete from events where position between ? and ?", span)  # leftover rows
        self._execute("insert into events select * from archived where position between ? and ?", span)
        self._connection.executemany(
            "delete from archived_ids where hash = ? and position = ?",
            [(chain.id_hash(event_id), position) for position, event_id in enumerate(ids, segment.first)],
        )
        self._forget(segment)
        self._execute(_DEFINITIONS.format(text="null"), span)

    def _forget(self, segment: Segment) -> None:
        """Delete a segment and its facts, except for its ids."""
        self._execute(_UNREACHED, (segment.first,))
        for table in ("archived_streams", "archived_types"):
            self._execute(f"delete from {table} where segment = ?", (segment.first,))
        self._execute("delete from frames where segment = ?", (segment.first,))
        self._execute("delete from segments where first = ?", (segment.first,))
        self._execute(_REACHED_ANEW)

    def cut(self, segment: Segment) -> None:
        """Delete a segment and its events."""
        self._execute("delete from archived_ids where position between ? and ?", (segment.first, segment.last))
        self._forget(segment)
        self._execute("update head set archived = archived + 1")

    def place(self, segment: Segment, frames: Iterable[Packed]) -> None:
        """Save the new location of a segment; frames in the log's file come with their bytes."""
        self._execute("delete from frames where segment = ?", (segment.first,))
        outside = segment.location is not None
        self._connection.executemany(
            _FRAMES, ((*f.frame, None, None) if outside else (*f.frame, f.packed, f.salts) for f in frames)
        )
        self._execute(_SEGMENTS, segment)
        self._execute("update head set archived = archived + 1")

    def exchange(
        self,
        segment: Segment,
        frames: Sequence[Frame],
        new: Iterable[Packed],
        sizes: Mapping[tuple[str, str, int], int],
    ) -> None:
        """Save the new content of a segment: all its frames, and those of them that are new, with their bytes. `sizes`:
        by how many bytes the payloads of a stream, type and schema version have become smaller.
        """
        outside = segment.location is not None
        for frame, packed, salts in new:
            self._execute(
                "update frames set bytes = ?, raw_bytes = ?, sha256 = ?, packed = ?, salts = ? where first = ?",
                (
                    frame.size,
                    frame.raw_size,
                    frame.sha256,
                    *((None, None) if outside else (packed, salts)),
                    frame.first,
                ),
            )
        offsets = [(frame.offset, frame.first) for frame in frames]
        self._connection.executemany("update frames set offset = ?1 where first = ?2 and offset <> ?1", offsets)
        self._execute(_SEGMENTS, segment)
        for (stream, type_, schema), size in sizes.items():
            self._execute(_SMALLER_STREAM, (size, segment.first, stream))
            self._execute(_SMALLER_TYPE, (size, segment.first, type_, schema))
        self._execute("update head set archived = archived + 1")

    # Files that are no longer needed

    def adopt(self) -> None:
        """Within a transaction: if this file is a copy of the one that made the entries of `leftovers`, drop them.

        A copy owns no file of its original. What is in a folder of the original is shared from now on, so this log will
        never remove it; folders that were copied too are this log's own. Entries that no file signed are dropped.
        """
        signed, folders = self._signed(), self._folders()
        if not self._is_signer(signed):
            for location in self.of_original():
                self._execute("update segments set shared = 1 where location = ?", (location,))
                self._execute("update head set archived = archived + 1")
            self.disown()
            signed.clear()
        if folders:
            self._sign({_identity("log", self.path), *folders.values()} - signed)

    def of_original(self) -> list[str]:
        """If this file is a copy of the one that made the entries: the locations that are that log's folders."""
        signed = self._signed()
        if self._is_signer(signed):
            return []
        return [location for location, folder in self._folders().items() if folder in signed]

    def _signed(self) -> set[str]:
        return {entry for (entry,) in self._execute("select path from leftovers where path glob '*/'")}

    def _is_signer(self, signed: Iterable[str]) -> bool:
        """Whether this very file, and no other, made the entries."""
        return [entry for entry in signed if entry.startswith("log:")] == [_identity("log", self.path)]

    def _folders(self) -> dict[str, str]:
        """The identities of the folders of segments, by location."""
        here = os.path.dirname(os.path.realpath(self.path))
        return {
            location: _identity("folder", os.path.join(here, location))
            for (location,) in self._execute("select distinct location from segments where location is not null")
        }

    def _sign(self, entries: Iterable[str]) -> None:
        """Record identities: of this file, which makes the other entries, and of its folders of segments."""
        self._connection.executemany("insert or ignore into leftovers values (?)", [(entry,) for entry in entries])

    def disown(self) -> None:
        """Within a transaction, on a new copy: own no file of the original. Traces in the file itself stay recorded."""
        self._execute("delete from leftovers where path <> ''")

    def leave(self, path: str, inode: int | None = None) -> None:
        """Schedule an outside file for removal after the commit: that with this inode, if given; or traces ("")."""
        if path:
            folder = os.path.dirname(os.path.join(os.path.dirname(os.path.realpath(self.path)), path))
            self._sign([_identity("log", self.path), _identity("folder", folder)])
        self._execute("insert or ignore into leftovers values (?)", (path if inode is None else f"{path}#{inode}",))

    def hold(self, path: Path) -> None:
        """Keep other runs from removing a file that this one writes, until `let_go` or the end of the process."""
        self._held.append(hold(path))

    def let_go(self) -> None:
        """Let go of the files that this run held: segments own them now, or nothing does."""
        while self._held:
            os.close(self._held.pop())

    def supersede(self) -> None:
        """Write something. A commit of this process that failed may be on the disk as a whole, and would be found there
        after a crash; the next commit takes its place. Before that, no file may go that it needs.
        """
        self._execute("update head set archived = archived + 1")

    def leftovers(self) -> list[str]:
        """The files to be removed, each as PATH or PATH#INODE."""
        return [path for (path,) in self._execute("select path from leftovers where path not glob '*/'")]

    def removed(self, path: str) -> None:
        """A file was removed, or is needed now, whatever its inode."""
        self._execute("delete from leftovers where path = ?1 or substr(path, 1, length(?1) + 1) = ?1 || '#'", (path,))

    # Erasure

    def erase(self, positions: Sequence[int], digests: Sequence[bytes], event: int) -> None:
        """Erase payloads: store their digests and the event that says so, and clear the rows in the hot table, also
        those that are left of archived events.
        """
        gone = apsw.carray(array("q", positions), flags=apsw.SQLITE_CARRAY_INT64)
        summaries.erase(self._reading, gone)
        links.erase(self._reading, positions)
        rows = [(position, digest, event) for position, digest in zip(positions, digests, strict=True)]
        self._connection.executemany("insert into erased values (?, ?, ?)", rows)
        self._execute(
            "update events set data = null, meta = null, salt = null where position in (select value from carray(?))",
            (gone,),
        )

    def record_erased(self, positions: Sequence[int], event: int) -> None:
        """Assign erased payloads to another event."""
        self._connection.executemany(
            "update erased set event = ? where position = ?", [(event, position) for position in positions]
        )

    def drop_snapshots(self, stream: str) -> list[str]:
        """Delete the snapshots of a stream; returns their states."""
        found: Any = self._execute(
            "delete from snapshots where stream_id = (select stream_id from streams where name = ?) returning state",
            (stream,),
        ).fetchall()
        return [state for (state,) in found]

    # The search for what was erased, within a transaction

    def is_in_file(self) -> bool:
        """Whether all that is committed is in the log's file, and nothing in its WAL."""
        try:
            return os.path.getsize(f"{os.path.realpath(self.path)}-wal") == 0
        except OSError:
            return True

    def leftover_bytes(self, *tables: str) -> Iterator[bytes]:
        """See `unallocated.leftover_bytes`."""
        yield from unallocated.leftover_bytes(self._connection, tables)

    def erased_by(self, events: array[int]) -> bool:
        """Whether these events, which say what was erased, are all that there are since the first of them; False if
        there are none.
        """
        if not events:
            return False
        sql = "select exists(select 1 from erased where event >= ? and event not in (select value from carray(?)))"
        numbers = apsw.carray(events, flags=apsw.SQLITE_CARRAY_INT64)
        return not self._execute(sql, (events[0], numbers)).get

    def neighbours(self, most: int) -> Iterator[bytes]:
        """The payloads of some hot events, and the states of some snapshots, as JSON texts."""
        for sql in (
            "select cast(data || meta as blob) from events where data is not null order by position desc limit ?",
            "select cast(data || meta as blob) from events where data is not null order by position limit ?",
            "select cast(state as blob) from snapshots limit ?",
        ):
            for (text,) in self._execute(sql, (most,)):
                yield text


def _identity(kind: str, path: str) -> str:
    """An entry that identifies a log's file or a folder: a copy has another. No file's path ends with a slash.

    A file system's id is the same after a restart, unlike the number of its device.
    """
    try:
        found, system = os.stat(path), os.statvfs(path)
    except OSError:  # a log in memory, or a folder that is out of reach
        return f"{kind}:{path}/"
    return f"{kind}:{system.f_fsid or found.st_dev}.{found.st_ino}/"


def _changed(first: int, last: int) -> ConflictError:
    return ConflictError(
        f"positions {first} to {last} changed while they were archived",
        why="another process archived them or erased payloads",
        again="",
    )
