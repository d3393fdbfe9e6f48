"""What SQLite can say of a log without the chain: medium, contiguity, versions, heads, texts."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from esctl.stores.base import Finding

_QUICK: tuple[tuple[str, str], ...] = (
    (
        "contiguity",
        """select null, printf('%d events stand between positions %s and %s, the head is at %d', n, low, high, position)
           from head, (select count(*) as n, min(position) as low, max(position) as high from events)
           where n <> position or ifnull(low, 1) <> 1 or ifnull(high, 0) <> position""",
    ),
    (
        "head",
        """select position, 'the head names another hash or recorded time than its event'
           from head join events e using (position) where e.hash <> head.hash or e.recorded <> head.recorded""",
    ),
    (
        "versions",
        """select null, printf('stream %s has %d events, versions %d to %d', s.name, n, low, high)
           from (select stream_id, count(*) as n, min(version) as low, max(version) as high
                 from events group by stream_id) join streams s using (stream_id)
           where low <> 1 or high <> n""",
    ),
    (
        "versions",
        """select e.position, printf('version %d of stream %s stands before version %d', e.version, name, e.version - 1)
           from (select position, version, stream_id,
                        lag(position, 1, 0) over (partition by stream_id order by version) as before from events) e
           join streams using (stream_id) where e.position <= before""",
    ),
    (
        "references",
        """select position, 'the event names a stream or a type that is not there' from events
           where stream_id not in (select stream_id from streams) or type_id not in (select type_id from types)""",
    ),
    (
        "model",
        """select null, printf('the head says that the model is at position %d, the newest is at %d', model, newest)
           from head, (select ifnull(max(e.position), 0) as newest from streams s
                       join events e on e.stream_id = s.stream_id join types t on t.type_id = e.type_id
                       where s.name = '$esctl' and t.name = 'ModelApplied') where model <> newest""",
    ),
    (
        "names",
        """select null, printf('stream %s is numbered %d: only the log''s own streams are below zero', name, stream_id)
           from streams where stream_id = 0 or (stream_id < 0) <> (substr(name, 1, 1) = '$')""",
    ),
)
_FULL: tuple[tuple[str, str], ...] = (
    (
        "json",
        """select position, iif(json_valid(data), 'meta is not a JSON object', 'data is not JSON') from events
           where not json_valid(data) or not json_valid(meta) or json_type(meta) <> 'object'""",
    ),
    (
        "head",
        r"""select null, 'the head says that no name holds a quote or a backslash, and one does' from head
           where not quoting and (
             exists(select 1 from streams where name glob '*["\]*')
             or exists(select 1 from types where name glob '*["\]*')
             or exists(select 1 from events where id glob '*["\]*'))""",
    ),
    (
        "head",
        """select null, printf('the head says that the largest payload has %d bytes, one has %d', largest, most)
           from head, (select max(octet_length(data) + octet_length(meta)) as most from events) where most > largest""",
    ),
    (
        "recorded",
        """select position, 'it was recorded before the event that stands before it' from (
             select position, recorded, lag(recorded, 1, '') over (order by position) as before from events)
           where recorded < before""",
    ),
)


def findings(connection: apsw.Connection, *, full: bool) -> Iterator[Finding]:
    """Everything found, in one read transaction."""
    connection.execute("begin")
    try:
        pragma = "integrity_check" if full else "quick_check"
        for (text,) in connection.execute(f"pragma {pragma}"):
            if text != "ok":
                yield ("sqlite", None, str(text))
        for check, sql in _QUICK + (_FULL if full else ()):
            for position, problem in connection.execute(sql):
                yield (check, position, problem)
    finally:
        connection.execute("rollback")
