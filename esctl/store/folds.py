"""Folds run by SQLite: a trigger folds each event into its stream's state, in a temporary table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import apsw

from esctl.errors import MisfitError, UsageError
from esctl.events.query import MAX_POSITION, Query
from esctl.sql.paths import steps_to
from esctl.store import reads
from esctl.store.blocks import Feeding
from esctl.store.errors import Translated
from esctl.store.failing import position_of
from esctl.store.feed import TriggerFeed
from esctl.store.format import ARCHIVED
from esctl.store.windows import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from esctl.model.program import Program
    from esctl.store.errors import Patience
    from esctl.store.guard import Guard
    from esctl.store.snapshots import State

EVENTS_PER_FEED = 256  # the rows that SQLite copies then stay in the processor's caches: 1.1 times as fast
EVENTS_PER_FEED_OF_MANY = 20_000  # over all streams
_STARTED = "f.stream_id = e.stream_id and e.version > f.version and e.version <= f.last"
_STATE = "stream_id, version, position, time, latest, folded, state"
_NEEDED = ("stream_id", "position", "version", "time")  # of each event by the fold itself, beside its type


class Refused(Exception):  # noqa: N818 - who knows the rules turns it into a RefusedError
    """A state does not accept an event: position and type, the state (JSON text), whether the rule gave NULL."""

    def __init__(self, position: int, type_: str, state: str, *, unsure: bool) -> None:
        super().__init__(position)
        self.position, self.type, self.state, self.unsure = position, type_, state, unsure


class Fold:
    """The states of one aggregate, one per stream, for the time of a command. Failed events raise MisfitError."""

    def __init__(
        self,
        reading: Reading,
        guard: Guard,
        program: Program,
        name: str,
        scan: Callable[[Query], reads.Scan],
        patience: Patience,
    ) -> None:
        self._reading, self._connection, self._path = reading, reading.connection, reading.path
        self._program, self._scan, self._patience = program, scan, patience
        self._fold, self._after, self._name = f"esctl_fold_{name}", f"esctl_after_{name}", name
        # `data` shows whether the payload was erased.
        self._columns = {column: column for column in (*_NEEDED, "type", "data", *program.columns)}
        self._triggers = TriggerFeed(reading, guard, patience)
        self._run(f"""create temp table {self._fold} (
            stream_id integer primary key, version integer, position integer, time text, latest text, folded integer,
            state blob, last integer default {MAX_POSITION});
            create temp table {self._after} (n integer primary key, version, position, time, type, state)""")

    def _run(self, sql: str, parameters: Sequence[object] | dict[str, Any] = ()) -> None:
        self._connection.execute(sql, parameters).fetchall()

    def begin(self, stream: str, state: State | None = None) -> None:
        """Start a stream of the log at a state, or before its first event."""
        version, position, time, latest, text = state[:5] if state else (0, 0, "", "", self._program.initial)
        self._run(
            f"insert or replace into {self._fold} ({_STATE})"
            " select stream_id, ?, ?, ?, ?, 0, jsonb(?) from streams where name = ?",
            (version, position, time, latest, text, stream),
        )

    def begin_all(self, streams: Sequence[str]) -> None:
        """Start many streams before their first events."""
        self._connection.executemany(
            f"insert or replace into {self._fold} ({_STATE})"
            " select stream_id, 0, 0, '', '', 0, jsonb(?) from streams where name = ?",
            [(self._program.initial, stream) for stream in streams],
        )

    def end_at(self, versions: Mapping[str, int]) -> None:
        """From now on, `feed_all` feeds these started streams no events after a version."""
        self._connection.executemany(
            f"update {self._fold} set last = ?2 where stream_id = (select stream_id from streams where name = ?1)",
            versions.items(),
        )

    def size(self) -> int:
        """About how many bytes the states take."""
        found: int = self._connection.execute(
            f"select ifnull(sum(octet_length(state)), 0) + 100 * count(*) from {self._fold}"
        ).get
        return found

    def survive(self) -> bool:
        """After a rollback: whether the fold still exists; if so, its states are cleared.

        Temporary tables are part of the transaction, too.
        """
        if survived := self._triggers.has(self._fold):
            self.clear()
        return survived

    def state(self, stream: str) -> tuple[State, int]:
        """The state of a started stream, and how many events were fed to it."""
        *state, folded = self._connection.execute(
            f"select version, position, time, latest, json(state), folded from {self._fold}"
            " join streams using (stream_id) where name = ?",
            (stream,),
        ).get
        return tuple(state), folded

    def all_states(self) -> dict[str, State]:
        """The state of each started stream."""
        found: Any = self._connection.execute(
            "select name, version, position, time, latest, json(state)"
            f" from {self._fold} join streams using (stream_id)"
        )
        return {stream: tuple(state) for stream, *state in found}

    def feed(self, query: Query) -> Iterator[int]:
        """Fold the events of a query over one started stream; numbers of events, for progress."""
        for _ in self._feed_stream(query, "feed"):
            yield self._connection.changes()

    def each(self, query: Query, where: str | None = None) -> Iterator[tuple[int, int, str, str]]:
        """The same; version, position, time and state (JSON text) after each event; with a condition on these, after
        the first event that meets it, and perhaps after later ones.
        """
        after = f"select ? as stream, version, position, time, json(state) as state, n from {self._after}"
        condition = _where(where)
        select = f"select version, position, time, state from ({after}) {condition} order by n"
        for _ in self._feed_stream(query, "each"):
            found = self._answers(f"{select}{' limit 1' if where else ''}", (query.stream,), where)
            yield from found
            self._run(f"delete from {self._after}")

    def told(self, query: Query) -> Iterator[tuple[str, bool]]:
        """The same; the state (JSON text) after each event, and whether the rules refuse it in the state before it."""
        for _ in self._feed_stream(query, "told"):
            found: Any = self._connection.execute(f"select json(state), type from {self._after} order by n").fetchall()
            self._run(f"delete from {self._after}")
            yield from ((state, bool(refused)) for state, refused in found)

    def turned(self, query: Query, paths: Mapping[str, str | None]) -> dict[str, tuple[int, str]]:
        """The same; for JSON paths and their final values (JSON text): position and type of the event that set each.

        A path that has its final value from the beginning is omitted.
        """
        after = self._after
        found: dict[str, tuple[int, str]] = {}

        def differs(select: str, path: str) -> Any:
            steps = steps_to(path)
            condition = f"(state{' -> ?' * len(steps)}) is not ?"
            return self._connection.execute(select.format(condition), (*steps, paths[path])).get

        open_ = {path for path in paths if differs(f"select {{}} from {self._fold}", path)}
        for _ in self._feed_stream(query, "each"):
            last = self._connection.execute(f"select max(n) from {after}").get or 0
            for path in paths:
                at = differs(f"select max(n) from {after} where {{}}", path)
                if at:
                    open_.add(path)
                if path in open_ and (at or 0) < last:
                    row = f"select position, type from {after} where n = ?"
                    found[path] = self._connection.execute(row, ((at or 0) + 1,)).get
                    open_.discard(path)
            self._run(f"delete from {after}")
        return {path: event for path, event in found.items() if path not in open_}

    def _feed_stream(self, query: Query, kind: str) -> Iterator[None]:
        scan = self._scan(query)
        with Feeding(self._path, query.stream):
            try:
                yield from self._feed_scan(scan, kind)
            except MisfitError:
                yield from self._feed_singly(query, scan, kind)
                raise

    def _feed_singly(self, query: Query, scan: reads.Scan, kind: str) -> Iterator[None]:
        """After a failure, which undid its window: feed the events before the failing one, and raise its error with its
        position.
        """
        fed = self._connection.execute(
            f"select version from {self._fold} join streams using (stream_id) where name = ?", (query.stream,)
        ).get
        for version in range(max(scan.low, fed + 1), scan.high + 1):
            one = self._scan(query.replace(since_version=version, until_version=version))
            try:
                yield from self._feed_scan(one, kind)
            except MisfitError as error:
                if (position := position_of(self._reading, scan, version)) is not None:
                    error.at(position)
                raise

    def _feed_scan(self, scan: reads.Scan, kind: str) -> Iterator[None]:
        return self._triggers.feed_windows(self._view(kind), self._columns, scan, EVENTS_PER_FEED)

    def judge(self, query: Query, streams: str) -> None:
        """Fold the events of a query, in started streams that match a GLOB, and check that each is accepted.

        Raises Refused for the first that is not.
        """
        scan = self._scan(query)
        scan.conditions.append("s.name glob :streams")
        scan.parameters["streams"] = streams
        try:
            for _ in self._feed_scan(scan, "judge"):
                pass
        except apsw.ConstraintError as error:
            position, type_, unsure, state = str(error).split("\n", 3)
            raise Refused(int(position), type_, state, unsure=bool(unsure)) from error

    def feed_all(self, query: Query, *, doubt: bool = False) -> list[tuple[int, str]]:
        """Feed every started stream the events after its state, up to its end and the position and time of a query.

        With `doubt`: position and type of each event that the state does not accept.
        """
        scan, kind = self._scan(query), "doubt" if doubt else "feed"

        def feed(archived: bool) -> None:
            low = scan.low
            for first, last in scan.ranges(self._reading, self._generation()) if archived else ():
                if first <= scan.high:
                    self._feed_hot(scan, kind, low, first - 1)
                    self._feed_archived(scan, kind, first, min(last, scan.high))
                    low = last + 1
            self._feed_hot(scan, kind, low, scan.high)

        self._reading.steady(feed)  # asked again, it continues: a state knows the version that it was fed last
        if not doubt:
            return []
        doubted = self._connection.execute(f"select position, type from {self._after} order by position")
        found = doubted.fetchall()
        self._run(f"delete from {self._after}")
        return found  # type: ignore[return-value]  # the columns are what they are

    def _generation(self) -> int:
        return self._reading.archive.generation if self._reading.archive else 0

    def _feed_hot(self, scan: reads.Scan, kind: str, low: int, high: int) -> None:
        """Feed every stream's events from the hot table, in ranges of versions, by their index."""
        if low > high:
            return
        conditions = (
            "e.stream_id = f.stream_id",
            "e.version > f.version",
            "e.version <= f.last",
            "e.version between :since and :last",
            "e.position between :low and :high",
            *scan.conditions,
        )
        source = reads.source("", scan.upcasts, lead=f"{self._fold} f cross join ")
        inner = f"{source} where {' and '.join(conditions)}"
        select = f"select {', '.join(self._columns)} from ({inner}) order by stream_id, version, part"
        for since, last in self._spans(high):
            bounds = {"low": low, "high": high, "since": since, "last": last}
            self._feed_many(kind, select, {**scan.parameters, **bounds})

    def _feed_archived(self, scan: reads.Scan, kind: str, low: int, high: int) -> None:
        """Feed every stream's events from the archive, frame by frame: each is unpacked once."""
        started = f"exists(select 1 from {self._fold} f where {_STARTED})"
        inner = reads.source("", scan.upcasts, table=ARCHIVED)
        conditions = " and ".join(["e.position between :low and :high", started, *scan.conditions])
        columns, archive = ", ".join(self._columns), self._reading.archive
        select = f"select {columns} from ({inner} where {conditions}) order by position, part"
        while archive is not None and low <= high:
            last = min(archive.frame_of(low)[1], high)
            self._feed_many(kind, select, {**scan.parameters, "low": low, "high": last})
            low = last + 1

    def _feed_many(self, kind: str, select: str, parameters: Mapping[str, Any]) -> None:
        with Feeding(self._path):
            self._triggers.feed(self._view(kind), self._columns, select, parameters)

    def _spans(self, position: int) -> Iterator[tuple[int, int]]:
        """Ranges of versions up to a position, such that all started streams together have few events in each. No
        version is greater than its event's position.
        """
        newest = "(select max(version) from events e where e.stream_id = f.stream_id)"
        streams, since, last = self._connection.execute(
            f"select count(*), ifnull(min(version), 0) + 1, ifnull(max(min({newest}, last)), 0) from {self._fold} f"
            f" where min({newest}, last) > version"
        ).get
        size = max(EVENTS_PER_FEED, EVENTS_PER_FEED_OF_MANY // max(1, streams))
        for low in range(since, min(last, position) + 1, size):
            yield low, low + size - 1

    def states(self, where: str | None = None) -> Iterator[tuple[str, int, int, str, str]]:
        """Stream, version, position, time and state (JSON text) of all started streams that meet a condition."""
        states = (
            f"select name as stream, version, position, time, json(state) as state"
            f" from {self._fold} join streams using (stream_id)"
        )
        condition = _where(where)
        found = self._answers(f"select * from ({states}) {condition} order by stream", (), where)
        yield from found

    def _answers(self, sql: str, parameters: Sequence[object], where: str | None) -> list[tuple[Any, ...]]:
        """The rows of a statement. If it contains a condition, a failure is the user's error."""
        try:
            with Translated(self._path), self._patience:
                return self._connection.execute(sql, parameters).fetchall()
        except MisfitError as error:
            if where is None:
                raise
            raise UsageError(f"the condition {where[:80]!r} fails on a state: {error.__cause__}") from error

    def clear(self) -> None:
        """Delete every state."""
        self._run(f"delete from {self._fold}")

    def close(self) -> None:
        """Drop everything that the fold has created; it cannot be used afterwards."""
        self._triggers.close()
        self._run(f"drop table if exists temp.{self._fold}; drop table if exists temp.{self._after}")

    def _view(self, kind: str) -> str:
        """The view that feeds, created when first needed."""
        view = f"esctl_{kind}_{self._name}"
        if not self._triggers.has(view):
            self._triggers.create(view, self._columns, [("", self._body(kind))])
        return view

    def _body(self, kind: str) -> str:
        """The statements that a trigger runs for an event."""
        program, own_state = self._program, f"from {self._fold} where stream_id = new.stream_id"
        refused = f"{own_state} and not ifnull(({program.accepts}\n), 0);"
        unsure = f"iif(({program.accepts}\n) is null, 'null', '')"
        seen = f"new.position || char(10) || new.type || char(10) || {unsure} || char(10) || json(state)"
        update = (
            f"update {self._fold} set state = {program.state},"
            " version = new.version, position = new.position,"
            " time = new.time, latest = max(latest, new.time), folded = folded + 1 where stream_id = new.stream_id;"
        )
        record = (
            f"insert into {self._after} (version, position, time, type, state)"
            " select new.version, new.position, new.time, new.type, state"
        )
        accepts = program.accepts or "1"
        judged = (  # `type` holds whether the event is refused, which only the state before it tells
            f"insert into {self._after} (type) select new.data is not null and state is not null"
            f" and not ifnull(({accepts}\n), 0) {own_state};"
        )
        after = f"update {self._after} set state = (select state {own_state})"
        return {
            "feed": update,
            "judge": f"select raise(fail, {seen}) {refused} {update}",
            "doubt": (
                f"{record} {own_state} and new.data is not null and state is not null"
                f" and not ifnull(({program.accepts}\n), 0); {update}"
            ),
            "each": f"{update} {record} {own_state};",
            "told": f"{judged} {update} {after} where n = (select max(n) from {self._after});",
        }[kind]


def _where(condition: str | None) -> str:
    """The clause for a user's condition."""
    if not condition:
        return ""
    from esctl.sql.moments import in_condition  # noqa: PLC0415 - few folds have a condition

    return f"where ({in_condition(condition)}\n)"
