"""Projections that count and list events, and what tests of their versions do with them."""

from __future__ import annotations

import json
from typing import Any

from esctl.events.event import NewEvent
from esctl.log import EventLog
from esctl.projections import admin, runs
from esctl.projections import status as projection_status
from tests.logs import IDS, put

COUNTS = """
[projection.counts]
table = "create table counts(k text primary key, n integer not null)"
[projection.counts.on]
T = "insert into counts values (new.data ->> 'k', 1) on conflict(k) do update set n = n + 1"
"""
DOUBLE = COUNTS.replace("'k', 1)", "'k', 2)").replace("n + 1", "n + 2")
LIST = """
[projection.list]
table = "create table list(position integer primary key, n)"
[projection.list.on]
"*" = "insert into list values (new.position, new.data ->> 'n')"
"""
# Two tables, of which the first refers to the second
ORDERS = '''
[projection.orders]
[projection.orders.tables]
lines = "create table lines(item integer primary key, k text not null references orders)"
orders = "create table orders(k text primary key)"
[projection.orders.on]
T = """
insert into orders values (new.data ->> 'k') on conflict do nothing; insert into lines(k) values (new.data ->> 'k')"""
'''


def event(n: int = 0, k: str = "x", *, type_: str = "T", schema: int = 0, **data: Any) -> NewEvent:
    return NewEvent("s-1", type_, next(IDS), None, schema, json.dumps({"n": n, "k": k, **data}), "{}", None)


def fill(log: EventLog, keys: str) -> None:
    """Append an event a letter, which is its `k`; `n` counts them."""
    put(log, *(event(n, k) for n, k in enumerate(keys, 1)))


def through(log: EventLog, version: int) -> None:
    for _ in runs.catch_up(log, version):
        pass


def rebuilt(log: EventLog, name: str) -> None:
    through(log, admin.rebuild(log, name, from_scratch=True))


def rows(log: EventLog, table: str = "counts") -> list[tuple[Any, ...]]:
    return list(log.store.projections().select(f"select * from {table} order by 1"))


def states(log: EventLog, name: str = "counts") -> dict[str, int]:
    """The states of a projection's versions, with the position of each."""
    return {v.state: v.position for v in log.store.projections().versions() if v.name == name}


def tables(log: EventLog) -> list[str]:
    """The tables in the file that are a projection's."""
    like = " or ".join(f"name glob '{name}*'" for name in ("counts", "list", "orders", "lines", "more"))
    sql = f"select name from sqlite_schema where type = 'table' and ({like}) order by name"
    return [str(name) for (name,) in log.store.projections().select(sql)]


def status(log: EventLog, name: str, state: str = "live") -> dict[str, Any]:
    return next(one for one in projection_status.status(log, [name]) if one["state"] == state)


CHECK = "table = 'create table list(position integer primary key, n check (n <> 3))'\n"
PLAIN = "table = 'create table list(position integer primary key, n)'\n"
INTO = "{} list values (new.position, new.data ->> 'n')"


def stumbling(table: str, handler: str) -> str:
    return f"[projection.list]\n{table}[projection.list.on]\nT = {json.dumps(handler)}\n"


ERASABLE = "[event.T]\nerasable = true\n"
