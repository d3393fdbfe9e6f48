"""CloudEvents out and in: valid, and with nothing lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.cloudevents import lines
from esctl.events.event import Event, NewEvent, SealedEvent
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.log import EventLog
from tests.conftest import succeeded
from tests.logs import fresh, put
from tests.strategies import text

LOG_ID = "019b7ec4-0000-4000-8000-000000000000"
STANDARD = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"}
TIMES = ("2026-01-02T13:06:26.452505Z", "2026-01-03T00:00:00.000000Z")


def sealed(
    data: str = "{}", meta: str = "{}", stream: str = "order-1", position: int = 7, id_: str = "an-id"
) -> SealedEvent:
    return SealedEvent(Event(position, stream, 3, id_, "Placed", 2, *TIMES, data, meta), b"", b"")


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
     "Ä", "", "traceparent", "data_base64", "data_absent", "datacontenttype", "esctlid", "A"]
) | text  # fmt: skip
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
value = st.recursive(scalar, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3), max_leaves=5)
an_id = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)  # what a log takes as an id
sources = st.sampled_from(["/shop", "/", "a/b", f"urn:uuid:{LOG_ID}", "urn:uuid:x", "https://shop.example/x?y=%2F"])
meta_value = text | st.integers() | st.booleans() | sources | value
meta_of = st.dictionaries(key, meta_value, max_size=5)
ids = st.sampled_from(["an-id", "/shop/1", "//1", "a/b/%2F", "a/b/%", "a/b/c", f"urn:uuid:{LOG_ID}/x%25", "/shop/"])


@given(id_=ids, data=value | st.just({}), meta=meta_of, ascii_=st.booleans())
@example(id_="an-id", data={}, meta={"correlationid": "x"}, ascii_=True)
@example(id_="an-id", data={}, meta={"correlation_id": "x", "correlationid": "y"}, ascii_=True)
@example(id_="an-id", data={}, meta={"source": "/shop", "causationid": "x"}, ascii_=True)
@example(id_="/shop/1", data={}, meta={"source": "/shop", "sequence": "5"}, ascii_=True)
@example(id_="/shop/a/b", data={}, meta={"source": "/shop"}, ascii_=True)
@example(id_="an-id", data={}, meta={"actor": "web", "source": "/shop"}, ascii_=True)
@example(id_="an-id", data={}, meta={"subject": None}, ascii_=True)
@example(id_="an-id", data={"n": 1}, meta={"data_absent": True}, ascii_=True)
@example(id_="an-id", data={}, meta={"data_absent": True, "n": 1}, ascii_=True)
@example(id_="an-id", data="AAAA", meta={"data_base64": True}, ascii_=True)
@example(id_="an-id", data="A", meta={"data_base64": True}, ascii_=True)
@example(id_="an-id", data={}, meta={"datacontenttype": "text/plain"}, ascii_=True)
def test_what_goes_out_and_comes_in_again_is_the_same_event(
    id_: str, data: Any, meta: dict[str, Any], *, ascii_: bool
) -> None:
    event = sealed(json.dumps(data, ensure_ascii=ascii_), json.dumps(meta, ensure_ascii=ascii_), id_=id_)
    (line,) = lines([event], LOG_ID)
    for input_ in ("cloudevents", "auto"):
        stream, type_, found, time, schema, data_, meta_, expect = back(line, input_)
        assert (stream, type_, found, time, schema, expect) == ("order-1", "Placed", id_, TIMES[0], 2, None)
        assert data_ == event[0][8]  # byte for byte
        assert json.loads(meta_) == meta
        assert [*json.loads(meta_)] == [*meta]
    if "esctlmeta" not in json.loads(line):  # what came in first comes out as it was, without a word of esctl's
        assert out(sealed(data_, meta_, id_=found)) == json.loads(line)


@given(meta_of)
@example({"source": 5})
@example({"partitionkey": ""})
@example({"datacontenttype": ""})
@example({"source": "/shop", "x" * 25: "y"})
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


@pytest.mark.parametrize("source", ["", '"source":"/shop",'])
def test_meta_and_data_may_be_nested_1000_levels(source: str) -> None:
    meta, data = '{"k":' + "[" * 999 + "]" * 999 + "}", '{"k":' * 999 + "1" + "}" * 999
    meta = meta.replace("{", "{" + source)
    (line,) = lines([sealed(data, meta)], LOG_ID)
    event = back(line)
    assert (event.meta, event.data) == (meta, data)


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
        ({"subject": "", "partitionkey": "p"}, "p"),
        ({"subject": ..., "partitionkey": "p"}, "p"),
    ],
)
def test_the_subject_or_else_the_partition_key_is_the_stream(fields: dict[str, Any], stream: str) -> None:
    assert back({k: v for k, v in (CLOUDEVENT | fields).items() if v is not ...})[0] == stream


def test_what_a_log_does_not_have_of_a_cloudevent_goes_to_meta() -> None:
    line = CLOUDEVENT | {
        "time": "2026-01-31T10:30:00+01:00", "datacontenttype": "application/json", "dataschema": "http://x/y",
        "traceparent": "00-ab", "correlationid": "c", "causationid": "e", "sequence": "5", "recordedtime": "x", "n": 1,
        "partitionkey": "p", "data": {},
    }  # fmt: skip
    stream, type_, id_, time, schema, data, meta, _ = back(line)
    assert (stream, type_, id_, schema, data) == ("order-1", "Placed", "/shop/1", 0, "{}")
    assert time == "2026-01-31T09:30:00.000000Z"
    assert json.loads(meta) == {
        "source": "/shop", "datacontenttype": "application/json", "dataschema": "http://x/y", "traceparent": "00-ab",
        "correlation_id": "c", "causation_id": "e", "sequence": "5", "recordedtime": "x", "n": 1, "partitionkey": "p",
    }  # fmt: skip


def again(line: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """A CloudEvent after its way through a log."""
    event = parser(Defaults(input="cloudevents", **defaults))(json.dumps(line).encode())
    stored = Event(
        7, event.stream, 1, event.id, event.type, event.schema or 1, TIMES[0], TIMES[1], event.data, event.meta
    )
    return out(SealedEvent(stored, b"", b""))


extension = st.from_regex(r"[a-z0-9]{1,25}", fullmatch=True).filter(
    lambda name: name not in {*STANDARD, "correlationid"} and not name.startswith("esctl")
)
foreign = st.fixed_dictionaries(
    {"specversion": st.just("1.0"), "id": an_id,
     "source": sources, "type": st.just("Placed"), "subject": st.sampled_from(["order-1", "order/2"])},
    optional={
        "datacontenttype": st.sampled_from(["application/json", "application/xml", "text/plain; charset=utf-8"]),
        "dataschema": st.just("https://shop.example/placed"), "sequence": st.sampled_from(["5", "0" * 20]),
        "partitionkey": st.sampled_from(["order-1", "p"]), "recordedtime": st.just("2020-01-01T00:00:00Z"),
        "correlationid": text.filter(bool), "traceparent": st.just("00-ab"),
    },
)  # fmt: skip
content: st.SearchStrategy[dict[str, Any]] = (
    st.just({}) | st.fixed_dictionaries({"data": value}) | st.just({"data_base64": "AAEC/w=="})
)


@given(
    line=foreign,
    content=content,
    extensions=st.dictionaries(extension, text | st.booleans() | st.integers(-(2**31) + 1, 2**31 - 1), max_size=3),
)
def test_a_cloudevent_comes_back_as_it_was(
    line: dict[str, Any], content: dict[str, Any], extensions: dict[str, Any]
) -> None:
    line = {**extensions, **line, **content}
    found = again(line)
    assert {name: found[name] for name in line} == line
    added = {"time", "partitionkey", "sequence", "recordedtime", "esctlschema", "esctlid", "esctlmeta"}
    assert found.keys() - line.keys() <= added


@given(st.lists(st.tuples(sources, an_id), max_size=8, unique=True))
@example([("/a", "b/1"), ("/a/b", "1"), ("/a", "b%2F1"), ("/a", "b%252F1")])
def test_different_pairs_of_source_and_id_are_different_ids(pairs: list[tuple[str, str]]) -> None:
    assert len({back(CLOUDEVENT | {"source": source, "id": id_}).id for source, id_ in pairs}) == len(pairs)


@pytest.mark.parametrize(
    "lacking", [{"subject": ...}, {"subject": None}, {"subject": ""}, {"subject": None, "partitionkey": None}]
)
def test_a_stream_of_the_command_line_is_for_cloudevents_that_name_none(lacking: dict[str, Any]) -> None:
    line = {k: v for k, v in (CLOUDEVENT | lacking).items() if v is not ...}
    inputs: tuple[Literal["auto", "cloudevents"], ...] = ("auto", "cloudevents")
    for input_ in inputs:
        event = parser(Defaults(stream="s-1", input=input_))(json.dumps(line).encode())
        assert (event.stream, event.id) == ("s-1", "/shop/1")
    assert again(line, stream="s-1")["subject"] == "s-1"


def test_what_a_broker_added_to_an_exported_event_goes_to_meta_too() -> None:
    exported = out(sealed(meta='{"a":[1],"traceparent":"x"}'))
    assert json.loads(back(exported | {"knativearrivaltime": "now"}).meta) == {
        "a": [1], "traceparent": "x", "knativearrivaltime": "now",
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
        ({"data_base64": "AAA"}, "not base64"),
        ({"data_base64": 5}, "not base64"),
        ({"data_base64": "AAAA", "data": 1}, "both"),
        ({"esctlid": 5}, "not an event"),
        ({"id": 5}, "not an event"),
        ({"id": "x" * 600}, "606 bytes"),
        ({"esctlmeta": 5}, "not an event"),
        ({"esctlmeta": "[]"}, "not an event"),
        ({"esctlmeta": "{"}, "not JSON"),
        ({"esctlmeta": '{"a":1,"a":2}'}, "'a' occurs twice in an object of esctlmeta"),
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


# Logs


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def appended(log: EventLog, texts: Iterable[bytes]) -> list[bool]:
    """Append lines; whether each was a duplicate."""
    parse = parser(Defaults())
    return [receipt.duplicate for receipt in put(log, *map(parse, texts))]


def contents(log: EventLog) -> list[Event]:
    """The events, but for the time of their recording."""
    return [event._replace(recorded="") for event, _, _ in log.read(Query())]


native = st.fixed_dictionaries(
    {"stream": st.sampled_from(["s-1", "s-2"]), "type": st.just("T"), "time": st.just(TIMES[0]), "data": value,
     "meta": meta_of},
)  # fmt: skip


@settings(max_examples=40)
@example(
    natives=[{"stream": "s", "type": "T", "time": TIMES[0], "meta": {"source": "\x7f/"}, "data": {}}],
    natives_ids=["x"],
    foreigns=[],
)
@given(
    natives=st.lists(native, max_size=4),
    natives_ids=st.lists(ids, min_size=4, max_size=4, unique=True),
    foreigns=st.lists(foreign, max_size=4, unique_by=lambda line: (line["source"], line["id"])),
)
def test_a_log_appended_to_itself_is_all_duplicates_and_to_another_log_an_equal_log(
    natives: list[dict[str, Any]], natives_ids: list[str], foreigns: list[dict[str, Any]]
) -> None:
    first = [line | {"id": f"own-{id_}"} for id_, line in zip(natives_ids, natives, strict=False)]
    with fresh() as log, fresh() as other:
        appended(log, [compact(line).encode() for line in (*first, *(line | {"time": TIMES[0]} for line in foreigns))])
        printed = [*lines(log.read(Query()), LOG_ID)]
        assert appended(log, printed) == [True] * len(printed)
        assert appended(other, printed) == [False] * len(printed)
        assert contents(other) == contents(log)


Run = Callable[..., Any]
BATCH: list[dict[str, Any]] = [
    CLOUDEVENT | {"id": str(n), "source": source, "data": n} for n in range(3) for source in ("/a", "/b")
]


def test_a_log_goes_through_a_pipe_as_cloudevents(esctl: Run, log_path: Path, tmp_path: Path) -> None:
    first = [line | {"traceparent": f"t-{n}", "sequence": "5"} for n, line in enumerate(BATCH)]
    other = str(tmp_path / "other.db")
    assert esctl("init", "-l", other).returncode == 0
    ndjson = "".join(json.dumps(line) + "\n" for line in first)
    for options, new in ((["--input", "cloudevents"], 6), ([], 0)):
        done = esctl("append", *options, "-l", str(log_path), input=ndjson)
        assert json.loads(succeeded(done))["appended"] == new
    succeeded(esctl("append", "s-1", "Own", "-l", str(log_path)))
    printed = esctl("replay", "-o", "cloudevents", "-l", str(log_path)).stdout
    assert printed.count("\n") == 7
    assert json.loads(succeeded(esctl("append", "-l", str(log_path), input=printed)))["duplicates"] == 7
    assert json.loads(succeeded(esctl("append", "-l", other, input=printed)))["appended"] == 7
    with EventLog(Path(other)) as copy, EventLog(log_path) as log:
        assert contents(copy) == contents(log)
        assert copy.log_id != log.log_id


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (compact(BATCH), []),
        (compact(BATCH), ["--input", "cloudevents"]),
        (f"{compact(BATCH[:2])}\n\n{compact(BATCH[2])}\n{compact(BATCH[3:])}\n", []),
        (json.dumps(BATCH, indent=2), ["--input", "cloudevents"]),
        (json.dumps(BATCH, indent=2) + "\n[]\n", ["--input", "cloudevents", "--each"]),
    ],
    ids=["a line", "a line of CloudEvents", "lines", "a file", "a file and an empty batch"],
)
def test_batches_of_cloudevents_are_read(run: Run, content: str, options: list[str]) -> None:
    receipts = succeeded(run("append", "--receipts", *options, input=content)).splitlines()
    assert [json.loads(receipt)["id"] for receipt in receipts] == [f"{line['source']}/{line['id']}" for line in BATCH]


def test_a_bad_event_of_a_batch_is_named_and_can_be_skipped(run: Run) -> None:
    bad = [*BATCH[:2], BATCH[2] | {"type": None}, *BATCH[3:]]
    done = run("append", "--input", "cloudevents", input=json.dumps(bad, indent=1))
    assert "the event has no type, line 18, item 3" in done.stderr.splitlines()[0]
    done = run("append", "--skip-invalid", input=f"\n{compact(bad)}\n")
    assert "skipped: the event has no type, line 2, item 3" in done.stderr.splitlines()[0]
    assert json.loads(done.stdout)["appended"] == 5
