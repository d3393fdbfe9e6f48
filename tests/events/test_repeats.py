"""Keys that occur twice are found in stored events, however many are looked at together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esctl.events.event import Event
from esctl.events.lines import CHUNK_LINES
from esctl.events.repeats import repeats, texts_of

TIME = "2026-01-31T09:30:00.000000Z"
TEXTS = {"{}": False, '{"a":1}': False, '{"a":1,"a":2}': True, '{"x":{"b":1,"\\u0062":1}}': True, "[": False}


def stored(position: int, data: str | None, meta: str | None) -> Event:
    return Event(position, "s", position, f"e{position}", "T", 1, TIME, TIME, data, meta)  # type: ignore[arg-type]  # None where the payload was erased


@given(st.lists(st.tuples(st.sampled_from([None, *TEXTS]), st.sampled_from([None, *TEXTS])), max_size=80))
def test_each_part_with_such_a_key_is_named_by_position(parts: list[tuple[str | None, str | None]]) -> None:
    events = [stored(n, data, meta) for n, (data, meta) in enumerate(parts, 1)]
    expected = [
        (n, what)
        for n, pair in enumerate(parts, 1)
        for what, text in zip(("data", "meta"), pair, strict=True)
        if text is not None and TEXTS[text]
    ]
    assert [(position, error.what.rpartition(" ")[2]) for position, error in repeats(texts_of(events))] == expected


def test_one_such_key_after_many_plain_events_is_found() -> None:
    events = [stored(n, '{"a":1}', "{}") for n in range(1, 3 * CHUNK_LINES)]
    events.append(stored(len(events) + 1, '{"a":1,"a":2}', "{}"))
    assert [position for position, _ in repeats(texts_of(events))] == [len(events)]
