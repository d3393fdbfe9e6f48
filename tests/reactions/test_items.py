"""The events that a reaction reads."""

from __future__ import annotations

from typing import Any

import pytest

from esctl.log import EventLog
from esctl.reactions.definition import EXEC, Definition
from esctl.reactions.items import Item, Source, digest, share
from esctl.store.reactions import PARKED, Letter, new
from esctl.upkeep import erasure
from tests.logs import hold

ALL = {"events": 1000, "size": 10**9}


def source(log: EventLog, part: int = 1, parts: int = 1, **filters: Any) -> Source:
    one = new("r", "", log.log_id, 0, b"")._replace(part=part, parts=parts)
    return Source(log, one, Definition(EXEC, "x", **filters))


def positions(items: list[Item]) -> list[int]:
    return [item.position for item in items]


def test_events_have_the_lines_that_replay_prints(streams: EventLog) -> None:
    from esctl.events.query import Query

    items, reached = source(streams).read(1, 9, **ALL)
    assert b"".join(item.line + b"\n" for item in items) == b"".join(streams.lines(Query()))
    assert ([item.key for item in items[:4]], reached) == (["a", "b", "c", "a"], 9)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"stream": "b"}, [2, 5, 8]),
        ({"category": "c"}, [3, 6, 9]),
        ({"types": ("U",)}, []),
        ({"where": "data ->> 'n' = 2"}, [4, 5, 6]),
        ({"stream": "none"}, []),
    ],
)
def test_a_filter_leaves_out_the_others(streams: EventLog, filters: dict[str, Any], expected: list[int]) -> None:
    items, reached = source(streams, **filters).read(1, 9, **ALL)
    assert (positions(items), reached) == (expected, 9)


def test_a_read_ends_after_so_many_events_or_bytes_and_says_how_far_it_came(streams: EventLog) -> None:
    items, reached = source(streams).read(2, 9, events=3, size=10**9)
    assert (positions(items), reached) == ([2, 3, 4], 4)
    items, reached = source(streams).read(2, 9, events=1000, size=1)
    assert (positions(items), reached) == ([2], 2)


def test_a_key_puts_events_of_several_streams_in_one_order(streams: EventLog) -> None:
    items, _ = source(streams, key="data ->> 'n'").read(1, 9, **ALL)
    assert [item.key for item in items[:4]] == [digest(1)] * 3 + [digest(2)]
    items, _ = source(streams, key="data ->> 'none'").read(1, 3, **ALL)
    assert [item.key for item in items] == ["a", "b", "c"]


def test_what_a_payload_says_is_not_in_its_key() -> None:
    assert "secret" not in digest("secret")
    assert digest("1") != digest(1)


def test_each_part_of_a_group_has_its_share_and_all_have_everything(streams: EventLog) -> None:
    shares = [positions(source(streams, part, 3).read(1, 9, **ALL)[0]) for part in (1, 2, 3)]
    assert sorted(n for mine in shares for n in mine) == list(range(1, 10))
    assert {share(name, 3) for name in map(str, range(50))} == {1, 2, 3}


def test_events_without_payload_are_left_out(streams: EventLog) -> None:
    for _ in erasure.erase(streams, [2, 5], "test"):
        pass
    items, _ = source(streams).read(1, 9, **ALL)
    assert positions(items) == [1, 3, 4, 6, 7, 8, 9]


def test_events_are_read_with_their_upcasts_and_parts(streams: EventLog) -> None:
    hold(streams, "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\nset = { v = 2 }\n")
    items, _ = source(streams, where="data ->> 'v' = 2").read(1, 99, **ALL)
    assert positions(items) == list(range(1, 10))
    assert b'"v":2' in items[0].line


def letter(stream: str, position: int, key: str | None = None) -> Letter:
    return Letter("r", 1, key or stream, position, stream, PARKED, 1, 1, "", "", "", None)


def test_behind_a_letter_are_the_later_events_of_its_stream(streams: EventLog) -> None:
    items = source(streams).behind(letter("b", 5), 5, 9, events=100)
    assert (positions(items), all(item.letter for item in items)) == ([5, 8], True)
    assert positions(source(streams).behind(letter("b", 5), 6, 7, events=100)) == []
    assert positions(source(streams).behind(letter("b", 2), 2, 9, events=2)) == [2, 5]


def test_behind_a_letter_with_a_key_are_the_later_events_of_that_key(streams: EventLog) -> None:
    found = source(streams, key="data ->> 'n'").behind(letter("a", 4, digest(2)), 4, 9, events=100)
    assert positions(found) == [4, 5, 6]
