"""What the log takes and gives in Python: exact numbers, JSON texts, moments, ids; and what it refuses by its type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl import Json, open_log
from esctl.api import Log
from esctl.errors import ArgumentError, RefusedError, UsageError
from tests.conftest import Esctl, succeeded

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def log(log_path: Path) -> Iterator[Log]:
    """An empty log, open for appending, whose numbers are read exactly."""
    with open_log(log_path, write=True, parse_float=Decimal) as opened:
        yield opened


@pytest.fixture(scope="module")
def growing() -> Iterator[Log]:
    """A log to which every example appends."""
    with open_log(":memory:", parse_float=Decimal) as opened:
        yield opened


@settings(max_examples=50)
@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=2) | st.decimals(allow_nan=False, allow_infinity=False)
)
def test_a_decimal_comes_back_as_it_was(growing: Log, number: Decimal) -> None:
    event = growing.show(growing.append("s", "T", {"n": number}, meta={"n": number}).position)
    assert event.data_json == event.meta_json == f'{{"n":{number}}}'
    assert (Decimal(event.data["n"]), Decimal(event.meta["n"])) == (number, number)


@settings(max_examples=50)
@given(
    st.sampled_from(["1.10", "1e400", "-0.0", "0.1E-7", "[1.0, 2]", '{"a" :\t1.50}', '"\\u00e9\\/"', "null", "9" * 40])
)
def test_a_json_text_comes_back_as_it_was(growing: Log, text: str) -> None:
    event = growing.show(growing.append("s", "T", Json(text)).position)
    assert event.data_json == text
    assert event.meta_json == "{}"
    again = growing.append("s", "T", Json(event.data_json), id=event.id)
    assert (again.position, again.duplicate) == (event.position, True)


def test_a_json_text_is_one_value_and_adds_no_key_to_its_event(log: Log) -> None:
    for text in ('1,"type":"Other"', "{}{}", "", "{", "nul"):
        with pytest.raises(RefusedError, match="the Json text"):
            log.append("s", "T", Json(text))
    assert log.head().startswith("0:")


def test_meta_may_be_a_json_text_of_an_object(log: Log) -> None:
    log.append("s", "T", meta=Json('{"rate": 1.50}'))
    assert (log.show(1).meta_json, log.show(1).meta) == ('{"rate": 1.50}', {"rate": Decimal("1.50")})
    with pytest.raises(RefusedError, match="meta is not a JSON object"):
        log.append("s", "T", meta=Json("[1]"))
    with pytest.raises(RefusedError, match="meta is not a JSON object"):
        log.append("s", "T", meta="text")  # type: ignore[arg-type]


def test_moments_days_and_ids_in_a_payload_are_texts(log: Log) -> None:
    an_id = uuid4()
    data = {"at": NOON, "on": date(2026, 1, 2), "ids": [an_id], "part": Json('{"x": 1.0}')}
    (receipt,) = log.append_all([{"stream": "s", "type": "T", "id": an_id, "time": NOON, "data": data}])
    event = log.show(an_id)
    assert (event.position, event.id, event.time) == (receipt.position, str(an_id), "2026-01-02T12:00:00.000000Z")
    assert event.data == {"at": event.time, "on": "2026-01-02", "ids": [str(an_id)], "part": {"x": Decimal("1.0")}}
    assert datetime.fromisoformat(event.data["at"]) == NOON
    assert log.append("s", "T", data, id=UUID(str(an_id))).duplicate


def test_numbers_are_floats_unless_they_are_asked_for_otherwise(log: Log, log_path: Path) -> None:
    log.append("s", "T", Json('{"n":1.10,"i":3}'))
    with open_log(log_path) as plain, open_log(log_path, parse_float=str) as as_text:
        assert plain.show(1).data == {"n": 1.1, "i": 3}
        assert as_text.show(1).data == {"n": "1.10", "i": 3}
        assert (plain.state("s").state, as_text.state("s").state) == ({"n": 1.1, "i": 3}, {"n": "1.10", "i": 3})
        assert plain.show(1).data_json == as_text.show(1).data_json == '{"n":1.10,"i":3}'
        assert plain.show(1) != as_text.show(1)
        assert [*plain.replay()] == [plain.show(1)]
        assert "data_json" not in repr(plain.show(1))
    assert log.state("s").state == {"n": Decimal("1.10"), "i": 3}


def test_a_sum_of_decimals_is_exact(log: Log, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[aggregate.a]\nstreams = "s"\ninitial = { n = 0 }\non.T.add = { n = "$.n" }\n')
    log.apply_model(tmp_path / "m.toml")
    for _ in range(3):
        log.append("s", "T", {"n": Decimal("0.1")})
    state = log.state("s")
    assert (state.state, json.loads(state.state_json, parse_float=str)) == ({"n": Decimal("0.3")}, {"n": "0.3"})


def test_the_text_of_an_erased_payload_is_none(log: Log, log_path: Path, esctl: Esctl) -> None:
    log.append("s", "T", {"n": 1})
    succeeded(esctl("erase", "1", "--reason", "r", "--yes", "--force", "-q", "--log", str(log_path)))
    event = log.show(1)
    assert (event.erased, event.data_json, event.meta_json) == (True, None, None)


# Points


@pytest.mark.parametrize(
    ("bounds", "positions"),
    [
        ({"since": 2}, [2, 3]),
        ({"until": 2}, [1, 2]),
        ({"since": NOON}, [2, 3]),
        ({"until": NOON}, [1, 2]),
        ({"since": NOON.astimezone(None) + timedelta(microseconds=1)}, [3]),
        ({"until": date(2026, 1, 2)}, [1, 2]),
        ({"since": date(2026, 1, 3)}, [3]),
        ({"as_of": NOON}, []),
        ({"as_of": 1}, [1]),
    ],
    ids=str,
)
def test_a_point_is_a_position_a_moment_or_a_day_too(log: Log, bounds: dict[str, Any], positions: list[int]) -> None:
    for number in range(3):
        log.append("s", "T", {"n": number}, time=NOON + timedelta(days=number - 1))
    assert [event.position for event in log.replay(**bounds)] == positions
    if positions and "since" not in bounds:
        assert log.state("s", **bounds).version == len(positions)


def test_a_mark_may_be_given_a_moment_or_a_position(log: Log) -> None:
    log.append("s", "T")
    assert log.mark("first", 1).position == 1
    assert log.mark("later", datetime.now(UTC)).position == 2


# What is refused by its type


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.replay(types="Paid"),
        lambda log: log.replay(types=b"Paid"),
        lambda log: log.replay(since=1.5),
        lambda log: log.replay(until=True),
        lambda log: log.replay(as_of=uuid4()),
        lambda log: log.state("s", until=["v1"]),
        lambda log: log.mark("m", 1.0),
        lambda log: log.append_all({"stream": "s", "type": "T"}),
        lambda log: log.append_all("s"),
        lambda log: log.append_all(["s", "T"]),
        lambda log: log.append_all([{"stream": "s", "type": "T"}, Json('{"stream":"s","type":"T"}')]),
        lambda log: log.append("s", "T", Json(b"{}")),  # type: ignore[arg-type]  # which is the point
    ],
)
def test_an_argument_of_a_wrong_type_is_refused_as_such(log: Log, call: Callable[[Log], object]) -> None:
    log.append("s", "Paid")
    for error in (ArgumentError, UsageError, TypeError):
        with pytest.raises(error):
            call(log)
    assert log.version("s") == 1


def test_the_refusal_of_a_single_type_says_what_to_write(log: Log) -> None:
    with pytest.raises(ArgumentError, match="types takes several types") as refused:
        log.replay(types="Paid")
    assert refused.value.why == "write types=['Paid']"
