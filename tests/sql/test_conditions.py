"""A condition is one deterministic expression over the columns of an event or a state."""

from __future__ import annotations

import pytest

from esctl.errors import UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.sql.conditions import CONDITION_COLUMNS, STATE_COLUMNS, check_condition

# Conditions

REFUSED = {
    "another table": [
        "(select 1)",
        "(select count(*) from events) > 1",
        "exists (select 1 from head)",
        "exists (select 1 from log)",
        "position in (select max(position) from log)",
        "position = (values (1))",
        "stream in streams",
        "stream in (with x as (select 1) select * from x)",
        "events.position = 1",
        "e.position = 1",
        "s.name = 'order-1'",
        "main.log.position = 1",
        "type in json_each(data)",
        "1) union select (1",
        "1) or exists (select 1 from log where 1",
        "1) from log, (select 1",
    ],
    "what an event does not have": [
        "nothing = 1",
        "salt is null",
        "hash is null",
        "stream_id > 0",
        "rowid > 1",
        "oid > 1",
        "_rowid_ > 1",
        "excluded.position = 1",
        "new.position = 1",
    ],
    "chance and the clock": [
        "random() > 0",
        "abs(random()) % 2",
        "length(randomblob(4)) = 4",
        "time > datetime('now')",
        "time > utc('now')",
        "time > datetime()",
        "time > date()",
        "time > strftime('%Y', 'now')",
        "julianday('now') > 1",
        "julianday() > 1",
        "unixepoch() > 1",
        "unixepoch('now', '-1 day') > 1",
        "time('now', 'localtime') > time",
        "current_timestamp > time",
        "current_date > time",
        "current_time > time",
        "last_insert_rowid() = 0",
        "changes() = 0",
        "total_changes() = 0",
    ],
    "the clock, where no sample comes by": [
        "case when position > 1 then datetime('now') end > time",
        "iif(position > 1, unixepoch(), 0) > 0",
    ],
    "parameters": ["?", "position = ?", "position = ?1", "position = :a", "position = @a", "position = $a"],
    "more than one expression": [
        "",
        " ",
        ";",
        "1;",
        "1; select 2",
        "1; drop table log",
        "1); drop table log; --",
        "position, type",
        "1), (2",
        "1) where (1",
        "1)) where ((1",
        "position asc",
        "position) desc, (type",
        "1 as one",
        "1 limit 1",
        "1 order by 1",
        "1 group by 1",
        "*",
        "log.*",
        ")",
        "(",
        "and",
        "position = 1 and",
        "'",
        "'unterminated",
        "\0",
        "1\0 garbage",
    ],
    "comments that swallow": ["--", "-- 1", "/* 1 */", "1 /*", "1) /*", "1)) /*", "1) --", "1)) --", "1 */"],
    "aggregates and windows": [
        "count(*) > 1",
        "max(position) > 1",
        "sum(position) > 1",
        "total(position) > 1",
        "group_concat(type) = 'a'",
        "json_group_array(type) = '[]'",
        "row_number() over () = 1",
        "count(*) filter (where 1) > 0",
        "rank() over (order by position) = 1",
    ],
    "functions that reach out": [
        "load_extension('x')",
        "readfile('/etc/hostname') is null",
        "writefile('x', 'y')",
        "edit('x')",
        "fts3_tokenizer('x')",
        "raise(ignore)",
        "sqlite_offset(position)",
        "no_such_function(1)",
        "type match 'x'",
        "type regexp 'x'",
        "type collate nowhere = 'x'",
    ],
    "double-quoted strings": ['"order-1" = stream', 'type = "Placed"', 'data ->> "amount" > 1', "`order-1` = stream"],
}


@pytest.mark.parametrize(
    "condition", [pytest.param(c, id=f"{why}: {c}") for why, some in REFUSED.items() for c in some]
)
def test_what_a_condition_may_not_do(orders: EventLog, condition: str) -> None:
    with pytest.raises(UsageError, match=r"^--where "):
        check_condition(condition)
    with pytest.raises(UsageError):
        orders.read(Query(where=condition))
    with pytest.raises(UsageError):
        orders.lines(Query(where=condition))


def test_a_condition_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UsageError):
        check_condition("'\ud800' = stream")


def test_a_refusal_tells_the_columns_and_shows_an_example() -> None:
    with pytest.raises(UsageError) as refused:
        check_condition("customer = 'a'")
    assert "no such column: customer" in refused.value.what
    assert all(column in refused.value.why for column in CONDITION_COLUMNS)
    check_condition(refused.value.why.partition(", such as ")[2])


ALLOWED: dict[str, list[int]] = {
    "1": [1, 2, 3],
    "0": [],
    "null": [],
    "1 and '2 apples'": [1, 2, 3],
    "position = 2": [2],
    "stream = 'order-1' and version = 2": [3],
    "id is not null and schema = 1": [1, 2, 3],
    "data ->> 'amount' > 100": [2],
    "data ->> 'amount' > 99 and type = 'Placed'": [1, 2],
    "data ->> '$[0]' = 1": [3],
    "data -> 'vip' = 'true'": [1],
    "data ->> 'vip'": [1],
    "json_extract(data, '$.note') = 'now'": [2],
    "json_type(data) = 'array'": [3],
    "meta ->> 'actor' = 'web'": [3],
    "meta = '{}'": [1, 2],
    "stream glob '*-1'": [1, 3],
    "type like 'p%' escape '!'": [1, 2, 3],
    "type in ('Paid', 'Refunded')": [3],
    "position between 2 and 3": [2, 3],
    "not position = 2": [1, 3],
    "position is distinct from 2": [1, 3],
    "(position, type) = (3, 'Paid')": [3],
    "time < '2026-02'": [1],
    "date(time) = '2026-02-02'": [2],
    "date(time, '+1 day') = '2026-02-03'": [2],
    "strftime('%Y-%m', time) = '2026-02'": [2, 3],
    "julianday(time) - julianday('2026-02-02T10:00:00Z') = 1": [3],
    "recorded > time": [1, 2, 3],
    "case type when 'Paid' then 1 else 0 end": [3],
    "iif(position > 1, 1, 0)": [2, 3],
    "coalesce(meta ->> 'actor', 'nobody') = 'nobody'": [1, 2],
    "max(position, 2) = 2": [1, 2],
    "upper(type) = 'PAID' collate nocase": [3],
    "\"type\" = 'Paid'": [3],
    "position = 2 -- the second": [2],
    "/* the second */ position = 2": [2],
    "'--' = '--' and position = 2": [2],
    "'/*' <> '*/' and position = 2": [2],
    "';' = ';' and '\"' = '\"' and position = 2": [2],
    "'it''s' is not null and position\n=\n2": [2],
    "'random() select ?' <> type and position = 2": [2],
}


@pytest.mark.parametrize("condition", ALLOWED)
def test_what_a_condition_may_do(orders: EventLog, condition: str) -> None:
    check_condition(condition)
    assert [event[0] for event, _, _ in orders.read(Query(where=condition))] == ALLOWED[condition]
    assert b"".join(orders.lines(Query(where=condition))).count(b"\n") == len(ALLOWED[condition])


def test_an_or_in_a_condition_does_not_get_around_the_other_filters(orders: EventLog) -> None:
    for condition in ("position = 2 or 1", "0) or (1"):
        query = Query(where=condition, stream="order-2")
        assert [event[0] for event, _, _ in orders.read(query)] == [2]


# Conditions on a state


@pytest.mark.parametrize(
    "condition",
    ["state ->> 'status' = 'Paid'", "version > 3 and position > 4", "stream glob 'order-*' and time < '2027'"],
)
def test_a_condition_on_a_state_is_over_the_columns_of_a_state(condition: str) -> None:
    check_condition(condition, STATE_COLUMNS)


@pytest.mark.parametrize(
    "condition",
    ["data ->> 'a' = 1", "new.data is null", "type = 'Placed'", "meta is null", "folded > 1", "latest > time", "n = 1",
     "random()", "time > datetime('now')", "(select 1)", "max(version) > 1", "", "1; select 1", "?"],
)  # fmt: skip
def test_what_a_condition_on_a_state_may_not_do(condition: str) -> None:
    with pytest.raises(UsageError, match=r"^--when "):
        check_condition(condition, STATE_COLUMNS, option="--when")


def test_a_refusal_of_a_condition_on_a_state_shows_an_example_that_holds() -> None:
    with pytest.raises(UsageError) as refused:
        check_condition("amount > 1", STATE_COLUMNS, option="--when")
    assert all(column in refused.value.why for column in STATE_COLUMNS)
    check_condition(refused.value.why.partition(", such as ")[2], STATE_COLUMNS)
