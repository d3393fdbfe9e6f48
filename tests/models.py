"""Models that tests of several rooms apply."""

from __future__ import annotations

COUNT = '[aggregate.c]\nstreams = "c-*"\non."*".add = { n = 1 }\n'
UPCAST = "[event.T]\nschema = 3\n[[event.T.upcast]]\nfrom = 2\nset = { a = 1 }\n"
CONVERTED = '[[event.Paid.upcast]]\nfrom = 1\nconvert = { amount = "number" }\n'
NUMBERS = "[event.Paid.json_schema]\nproperties = { amount = { type = 'number' } }\n"
PROJECTION = '[projection.p]\ntable = "create table p(a)"\non.Paid = "insert into p values (1)"\n'
