"""CloudEvents out and in: valid, and with nothing lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.cloudevents import lines
from esctl.events.event import Event, NewEvent, SealedEvent
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.log import EventLog
from tests.strategies import text

LOG_ID = "019b7ec4-0000-4000-8000-000000000000"
STANDARD = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"}
TIMES = ("2026-01-02T13:06:26.452505Z", "2026-01-03T00:00:00.000000Z")


def sealed(data: str = "{}", meta: str = "{}", stream: str = "order-1", position: int = 7) -> SealedEvent:
    return SealedEvent(Event(position, stream, 3, "an-id", "Placed", 2, *TIMES, data, meta), b"", b"")


def out(event: SealedEvent) -> dict[str, Any]:
    """The event as a CloudEvent, decoded."""
    (line,) = lines([event], LOG_ID)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    decoded: dict[str, Any] = json.loads(line)
    return decoded


def back(line: bytes | dict[str, Any], input: Literal["auto", "cloudevents"] = "cloudevents") -> NewEvent:
    """The new event that a CloudEvent says."""
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    return parser(Defaults(input=input))(text)


def test_an_event_is_a_cloudevent_with_its_stream_position_and_moments() -> None:
    assert out(sealed('{"n":1}', '{"correlation_id":"c","causation_id":"e","actor":"web"}')) == {
        "specversion": "1.0", "id": "an-id", "source": f"urn:uuid:{LOG_ID}", "type": "Placed", "subject": "order-1",
        "time": TIMES[0], "datacontenttype": "application/json", "partitionkey": "order-1",
        "sequence": "00000000000000000007", "recordedtime": TIMES[1], "esctlschema": 2, "correlationid": "c",
        "causationid": "e", "actor": "web", "data": {"n": 1},
    }  # fmt: skip


def test_sequences_sort_as_text_as_positions_do() -> None:
    positions = [1, 9, 10, 99, 100, 2**63 - 1]
    sequences = [out(sealed(position=position))["sequence"] for position in positions]
    assert sequences == sorted(sequences)


key = st.sampled_from(
    ["correlation_id", "correlationid", "causation_id", "actor", "source", "dataschema", "id", "type", "data",
     "time", "subject", "specversion", "sequence", "recordedtime", "partitionkey", "esctlmeta", "esctlschema", "x" * 21,
     "Ä", "", "traceparent", "data_base64", "A"]
) | text  # fmt: skip
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
value = st.recursive(scalar, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3), max_leaves=5)
meta_of = st.dictionaries(key, text | st.integers() | value, max_size=4)


@given(data=value, meta=meta_of, ascii_=st.booleans())
@example(data={}, meta={"correlationid": "x"}, ascii_=True)
@example(data={}, meta={"correlation_id": "x", "correlationid": "y"}, ascii_=True)
@example(data={}, meta={"source": "/shop", "causationid": "x"}, ascii_=True)
def test_what_goes_out_and_comes_in_again_is_the_same_event(data: Any, meta: dict[str, Any], *, ascii_: bool) -> None:
    """But for the source, which becomes meta where meta did not say it."""
    event = sealed(json.dumps(data, ensure_ascii=ascii_), json.dumps(meta, ensure_ascii=ascii_))
    (line,) = lines([event], LOG_ID)
    for input_ in ("cloudevents", "auto"):
        stream, type_, id_, time, schema, data_, meta_, expect = back(line, input_)
        assert (stream, type_, id_, time, schema, expect) == ("order-1", "Placed", "an-id", TIMES[0], 2, None)
        assert data_ == event[0][8]  # byte for byte
        assert json.loads(meta_) == {"source": f"urn:uuid:{LOG_ID}"} | meta


@given(meta_of)
@example({"source": 5})
@example({"source": ""})
@example({"dataschema": True})
@example({"n": 2**31})
def test_every_cloudevent_is_valid(meta: dict[str, Any]) -> None:
    made = out(sealed(meta=json.dumps(meta)))
    for name in ("specversion", "id", "source", "type", "subject"):
        assert isinstance(made[name], str)
        assert made[name]
    for name, found in made.items():
        if name not in STANDARD:
            assert name.isascii()
            assert name.isalnum()
            assert name == name.lower()
            assert isinstance(found, str) or (isinstance(found, int) and -(2**31) <= found < 2**31)
        if name == "dataschema":
            assert isinstance(found, str)


def test_numbers_of_a_payload_keep_their_text() -> None:
    (line,) = lines([sealed('{"a": 1.50, "b":1E400}', '{"n":12345678901234567890123}')], LOG_ID)
    assert b'"data":{"a": 1.50, "b":1E400}' in line
    assert back(line)[5] == '{"a": 1.50, "b":1E400}'
    assert '"n":12345678901234567890123' in back(line)[6]


CLOUDEVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "Placed", "subject": "order-1"}


@pytest.mark.parametrize(
    ("fields", "stream"),
    [
        ({}, "order-1"),
        ({"partitionkey": "p"}, "order-1"),
        ({"subject": None, "partitionkey": "p"}, "p"),
        ({"subject": ..., "partitionkey": "p"}, "p"),
    ],
)
def test_the_subject_or_else_the_partition_key_is_the_stream(fields: dict[str, Any], stream: str) -> None:
    assert back({k: v for k, v in (CLOUDEVENT | fields).items() if v is not ...})[0] == stream


def test_what_a_log_does_not_have_of_a_cloudevent_goes_to_meta() -> None:
    line = CLOUDEVENT | {
        "time": "2026-01-31T10:30:00+01:00", "datacontenttype": "application/json", "dataschema": "http://x/y",
        "traceparent": "00-ab", "correlationid": "c", "causationid": "e", "sequence": "5", "recordedtime": "x", "n": 1,
    }  # fmt: skip
    stream, type_, id_, time, schema, data, meta, _ = back(line)
    assert (stream, type_, id_, schema, data) == ("order-1", "Placed", "1", 0, "{}")
    assert time == "2026-01-31T09:30:00.000000Z"
    assert json.loads(meta) == {
        "source": "/shop", "dataschema": "http://x/y", "traceparent": "00-ab", "correlation_id": "c",
        "causation_id": "e", "n": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"specversion": ...}, "no specversion"),
        ({"subject": ...}, "no stream"),
        ({"type": ...}, "no type"),
        ({"subject": 5}, "not an event"),
        ({"subject": "$esctl"}, "the log's own"),
        ({"time": "yesterday"}, "RFC 3339"),
        ({"data_base64": "AAAA"}, "binary"),
        ({"esctlmeta": 5}, "not an event"),
        ({"esctlmeta": "[]"}, "not an event"),
        ({"esctlmeta": "{"}, "not JSON"),
        ({"esctlschema": 0}, "schema"),
    ],
)
def test_a_cloudevent_that_cannot_be_an_event_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        back({k: v for k, v in (CLOUDEVENT | fields).items() if v is not ...})
    assert reason in f"{refused.value.what} {refused.value.why}"


def test_a_line_is_taken_for_a_cloudevent_only_if_it_has_a_specversion() -> None:
    own = b'{"stream":"s","type":"T","data":{"specversion":"1.0"}}'
    assert back(own, "auto")[:2] == ("s", "T")
    with pytest.raises(RefusedError, match="not a CloudEvent"):
        back(own)
    with pytest.raises(RefusedError, match="unknown key"):
        parser(Defaults(input="ndjson"))(json.dumps(CLOUDEVENT).encode())


Run = Callable[..., Any]


def test_a_log_goes_through_a_pipe_as_cloudevents(esctl: Run, log_path: Path, tmp_path: Path) -> None:
    first = [CLOUDEVENT | {"id": str(n), "data": {"n": n}, "traceparent": f"t-{n}"} for n in range(3)]
    other = str(tmp_path / "other.db")
    assert esctl("init", "-l", other).returncode == 0
    ndjson = "".join(json.dumps(line) + "\n" for line in first)
    for options in (["--input", "cloudevents"], []):
        assert esctl("append", *options, "-l", str(log_path), input=ndjson).returncode == 0
    printed = esctl("replay", "-o", "cloudevents", "-l", str(log_path)).stdout
    assert printed.count("\n") == 3
    assert esctl("append", "-l", other, input=printed).returncode == 0

    def content(path: Path | str) -> list[tuple[Any, ...]]:
        with EventLog(Path(path)) as log:
            return [(*e[:7], e[8], json.loads(e[9])) for e, _, _ in log.read(Query())]

    assert content(other) == content(log_path)
