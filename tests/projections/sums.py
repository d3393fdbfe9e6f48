"""Projections that add numbers up by a key, which tests read and compare."""

from __future__ import annotations

import json

from esctl.events.event import NewEvent
from esctl.evolution.plan import Draft
from esctl.model.checks import checked
from tests.logs import IDS

SUMS = """
[projection.sums]
table = "create table sums(k text primary key, n numeric not null, last text)"
[projection.sums.on]
T = '''
insert into sums values (new.data ->> 'k', new.data ->> 'n', new.time)
on conflict do update set n = n + excluded.n, last = excluded.last'''
Gone = "delete from sums where k = new.data ->> 'k'"
"""
# The table that is called as the projection comes last, and is the main one
ORDERS = """
[projection.orders]
table = "create table orders(k text primary key)"
tables.lines = "create table lines(item integer primary key, k text references orders, n integer)"
[projection.orders.on]
T = '''
insert into orders values (new.data ->> 'k') on conflict do nothing;
insert into lines(k, n) values (new.data ->> 'k', new.data ->> 'n')'''
"""
BAG = """
[projection.bag]
table = "create table bag(k text, n)"
[projection.bag.on]
T = "insert into bag values (new.data ->> 'k', new.data ->> 'n')"
Gone = "delete from bag where rowid = (select min(rowid) from bag where k = new.data ->> 'k')"
"""


def event(k: str, n: object = 1, *, type_: str = "T", day: int = 1) -> NewEvent:
    time = f"2026-01-{day:02}T00:00:00.000000Z"
    return NewEvent("s-1", type_, next(IDS), time, 0, json.dumps({"k": k, "n": n}), "{}", None)


def drawn(text: str) -> Draft:
    model, problems = checked(text, {})
    assert problems == []
    return Draft(text, {}, model)
