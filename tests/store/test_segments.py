"""The format of segments: what goes in comes out, what is asked of lines is what they say, and damage is refused."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard  # noqa: TID253 - what any reader of segments would use
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from esctl.api import open_log
from esctl.archive import creation, moving
from esctl.errors import VerificationError
from esctl.events import chain
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.segments import Facts, Frame, Line
from tests.conftest import write_empty_log

MOMENT = "2026-01-31T09:30:00.000000Z"


def text_of(
    position: int,
    stream: str = "s-1",
    data: str = "{}",
    *,
    version: int = 1,
    type: str = "T",
    meta: str = "{}",
    schema: int = 1,
    time: str = MOMENT,
    erased: bool = False,
) -> str:
    """A line as a log prints it."""
    name, kind = json.dumps(stream, ensure_ascii=False), json.dumps(type, ensure_ascii=False)
    payload = '"data":null,"meta":null,"erased":true' if erased else f'"data":{data},"meta":{meta}'
    return (
        f'{{"position":{position},"stream":{name},"version":{version},"id":"id-{position}","type":{kind},'
        f'"schema":{schema},"time":"{time}","recorded":"{MOMENT}",{payload}}}\n'
    )


def frame_of(lines: bytes, level: int = 9, **changes: Any) -> tuple[Frame, bytes]:
    """A frame of lines, and its bytes."""
    packed = segments.compressor(level)(lines)
    events = max(1, lines.count(b"\n"))
    known = (1, events, 1, 0, bytes(32), 0, len(packed), len(lines), hashlib.sha256(packed).digest(), 0)
    return Frame(*known)._replace(**changes), packed


# Frames


@given(lines=st.binary(max_size=5000).map(lambda b: b + b"\n"), level=st.sampled_from([1, 3, 9, 19, 22]))
def test_what_is_compressed_comes_back_at_every_level(lines: bytes, level: int) -> None:
    frame, packed = frame_of(lines, level)
    assert segments.decompress(frame, packed, "1-1") == lines


def test_any_zstd_reads_a_frame_and_its_checksum() -> None:
    _, packed = frame_of(b"line\n" * 100)
    parameters = zstandard.get_frame_parameters(packed)
    assert (parameters.content_size, parameters.has_checksum) == (500, True)
    assert zstandard.ZstdDecompressor().decompress(packed) == b"line\n" * 100


@given(at=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_is_refused(at: int, change: int) -> None:
    frame, packed = frame_of(b"some lines of text\n" * 20)
    at %= len(packed)
    with pytest.raises(VerificationError, match="the segment 1-20 is damaged"):
        segments.decompress(frame, packed[:at] + bytes([packed[at] ^ change]) + packed[at + 1 :], "1-20")


@pytest.mark.parametrize("left", [0, 1, 4, -4, -1])
def test_a_truncated_frame_is_refused(left: int) -> None:
    frame, packed = frame_of(b"some lines of text\n" * 20)
    with pytest.raises(VerificationError, match="damaged"):
        segments.decompress(frame, packed[:left], "1-20")


def test_bytes_behind_a_frame_are_refused() -> None:
    frame, packed = frame_of(b"line\n")
    with pytest.raises(VerificationError, match="damaged"):
        segments.decompress(frame, packed + b"\0", "1-1")


def test_a_frame_that_would_unpack_to_more_than_the_log_says_is_not_unpacked() -> None:
    frame, packed = frame_of(bytes(50_000_000), 1)
    with pytest.raises(VerificationError) as caught:
        segments.decompress(frame._replace(raw_size=1000), packed, "1-1")
    assert caught.value.why == "a frame says that it holds 50000000 bytes, the log says 1000"


def test_a_frame_that_hides_how_much_it_unpacks_to_is_not_unpacked() -> None:
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50_000_000))
    frame = Frame(1, 1, 1, 0, bytes(32), 0, len(packed), 1000, hashlib.sha256(packed).digest(), 0)
    with pytest.raises(VerificationError, match="damaged"):
        segments.decompress(frame, packed, "1-1")


def test_what_is_no_frame_at_all_is_refused_though_its_hash_is_right() -> None:
    frame = Frame(1, 1, 1, 0, bytes(32), 0, 9, 9, hashlib.sha256(b"not zstd!").digest(), 0)
    with pytest.raises(VerificationError, match="damaged"):
        segments.decompress(frame, b"not zstd!", "1-1")


@pytest.mark.parametrize("lines", [b"line", b"line\nhalf a line", b"line\r"])
def test_a_frame_whose_last_line_has_no_end_is_refused(lines: bytes) -> None:
    frame, packed = frame_of(lines)
    with pytest.raises(VerificationError, match="the segment 1-1 is damaged") as caught:
        segments.decompress(frame, packed, "1-1")
    assert "has no end" in caught.value.why


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 3), (2, 2), (5, 4)])
def test_a_frame_that_has_more_or_fewer_lines_than_positions_is_refused(first: int, last: int) -> None:
    frame, packed = frame_of(b"line\n" * 2, first=first, last=last)
    with pytest.raises(VerificationError, match="damaged") as caught:
        segments.decompress(frame, packed, "1-2")
    assert caught.value.why.endswith("has 2 lines")


@pytest.mark.parametrize("time", ["", "Z", "yesterday", "2026-13-01T00:00:00.000000Z", "2026-01-01T00:00:00+01:00Z"])
def test_a_time_that_no_log_writes_is_refused(time: str) -> None:
    with pytest.raises(VerificationError, match="a segment is damaged"):
        Facts().add(segments.decoded(text_of(1, time=time).encode(), "1-1"), 0)


# Lines


@pytest.mark.parametrize("depth", [1, 500, 999, 1000])
def test_a_payload_may_be_nested_as_deeply_as_a_log_holds_it(depth: int) -> None:
    data = "[" * depth + "]" * depth
    (line,) = segments.decoded(text_of(1, data=data).encode(), "1-1")
    assert bytes(line.data).decode() == data


@pytest.mark.parametrize(
    "text",
    [
        b"{}\n",
        b"not json\n",
        b'{"position":1}\n',
        text_of(1).encode().replace(b'"version":1', b'"version":"1"'),
        text_of(1).encode().replace(b'"version":1', b'"version":-1'),
        text_of(2**63).encode(),
        text_of(1, schema=10**30).encode(),
        text_of(1).encode().replace(b"id-1", b"\xff"),
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_line_is_refused(text: bytes) -> None:
    with pytest.raises(VerificationError, match="the segment 1-1 is damaged"):
        segments.decoded(text, "1-1")


def test_a_payload_keeps_its_bytes() -> None:
    data = '{ "a" : 1.0,\t"b":1e2,"a":12345678901234567890, "é":"\\u00e9" }'
    (line,) = segments.decoded(text_of(1, data=data).encode(), "1-1")
    assert (bytes(line.data).decode(), line.erased) == (data, False)


def test_an_erased_payload_says_so() -> None:
    (line,) = segments.decoded(text_of(1, erased=True).encode(), "1-1")
    assert (line.erased, bytes(line.data), bytes(line.meta)) == (True, b"null", b"null")


def test_a_payload_that_is_null_is_not_erased() -> None:
    (line,) = segments.decoded(text_of(1, data="null").encode(), "1-1")
    assert (line.erased, bytes(line.data)) == (False, b"null")


names = st.sampled_from(["s-1", "s", "s-11", 'quo"te', "back\\slash", "é-1", "$esctl", ',"stream":"s-1"', "s-1 "])
payloads = st.sampled_from(
    [
        "{}",
        '{"x":1,"stream":"s-1","version":1}',
        '{"x":[{"y":2,"stream":"s","version":3}]}',
        json.dumps(',"stream":"s-1","version":'),
        json.dumps({"a": ',"stream":"quo\\"te","version":'}),
        '{"position":1,"stream":"$esctl","version":1}',
        '[1,"stream",",\\"data\\":"]',
    ]
)
lines_of = st.lists(st.tuples(names, payloads, payloads.filter(lambda p: p[0] == "{"), st.booleans()), max_size=8).map(
    lambda rows: "".join(
        text_of(n, stream, data, meta=meta, erased=erased) for n, (stream, data, meta, erased) in enumerate(rows, 1)
    ).encode()
)


@settings(max_examples=200)
@given(lines=lines_of, stream=names)
def test_the_lines_of_a_stream_are_those_that_say_so_whatever_payloads_hold(lines: bytes, stream: str) -> None:
    found = segments.of_stream(lines, stream, "1-9")
    assert found == [line for line in segments.decoded(lines, "1-9") if line.stream == stream]


@settings(max_examples=200)
@given(lines=lines_of)
def test_without_the_logs_own_streams_all_other_lines_stay(lines: bytes) -> None:
    each = lines.splitlines(keepends=True)
    kept = [line for line in each if not json.loads(line)["stream"].startswith("$")]
    assert segments.without_own(lines) == b"".join(kept)


# The chain


def test_hashes_are_those_of_the_chain_and_digests_stand_for_what_is_erased() -> None:
    lines = segments.decoded((text_of(1) + text_of(2, data="[1]", version=2) + text_of(3, version=3)).encode(), "1-3")
    salts = [bytes([n]) * 16 for n in range(3)]
    previous, expected = bytes(32), []
    for salt, line in zip(salts, lines, strict=True):
        digest = chain.payload_digest(salt, bytes(line.data), bytes(line.meta))
        header = f"{line.position}\ns-1\n{line.version}\nid-{line.position}\nT\n1\n{MOMENT}\n{MOMENT}"
        previous = hashlib.sha256(previous + digest + header.encode()).digest()
        expected.append(previous)
    assert segments.hashes(lines, b"".join(salts), {}, bytes(32)) == expected

    digest = chain.payload_digest(salts[1], bytes(lines[1].data), bytes(lines[1].meta))
    lines[1] = segments.decoded(text_of(2, version=2, erased=True).encode(), "1-3")[0]
    without = salts[0] + bytes(16) + salts[2]
    assert segments.hashes(lines, without, {2: digest}, bytes(32)) == expected


def test_an_erased_payload_without_a_digest_is_no_part_of_a_chain() -> None:
    lines = segments.decoded(text_of(1, erased=True).encode(), "1-1")
    with pytest.raises(KeyError):
        segments.hashes(lines, bytes(16), {}, bytes(32))


# The last frame


def frames_of(sizes: list[int], first: int = 1) -> list[Frame]:
    made, offset = [], 0
    for number, size in enumerate(sizes):
        at = first + sum(sizes[:number])
        made.append(Frame(at, at + size - 1, first, number, bytes([number]) * 32, offset, 7, 70, bytes(32), 0))
        offset += 7
    return made


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), first=st.integers(1, 10**9), seed=st.binary(max_size=4)
)
def test_each_frame_gets_its_salts_back_from_the_last_one(sizes: list[int], first: int, seed: bytes) -> None:
    frames = frames_of(sizes, first)
    salts = [hashlib.sha256(seed + bytes([n])).digest()[:16] * size for n, size in enumerate(sizes)]
    end = segments.trailer("log", frames, b"a" * 32, {}, salts)
    assert segments.salts_in(end, frames, "1-9") == salts


def test_the_last_frame_is_skipped_by_zstd_and_says_what_the_lines_do_not() -> None:
    frames = frames_of([2, 1])
    end = segments.trailer("the-log", frames, b"\xaa" * 32, {2: b"\xbb" * 32}, [bytes(range(16)) * 3])
    magic, size = struct.unpack("<II", end[:8])
    assert 0x184D2A50 <= magic <= 0x184D2A5F
    assert size == len(end) - 8
    assert (end[-4:], int.from_bytes(end[-8:-4], "little")) == (b"esct", len(end))
    manifest, _, salts = end[8:-8].partition(b"\n")
    assert json.loads(manifest) == {
        "format": "esctl/segment/1",
        "log_id": "the-log",
        "first": 1,
        "last": 3,
        "before": "00" * 32,
        "after": "aa" * 32,
        "frames": [[1, 2, 0, 7, 70], [3, 3, 7, 7, 70]],
        "erased": {"2": "bb" * 32},
    }
    assert salts == bytes(range(16)) * 3
    packed = segments.compressor(9)(b"line\n")
    read = zstandard.ZstdDecompressor().stream_reader(packed + end, read_across_frames=True).read()
    assert read == b"line\n"


@pytest.mark.parametrize("damage", ["head", "tail", "short", "long", "empty", "no newline"])
def test_a_last_frame_that_is_not_what_was_written_is_refused(damage: str) -> None:
    frames = frames_of([2, 1])
    end = segments.trailer("log", frames, bytes(32), {}, [b"s" * 48])
    damaged = {
        "head": b"X" + end[1:],
        "tail": end[:-1] + b"X",
        "short": end[:-9] + end[-8:],
        "long": end[:-8] + b"s" + end[-8:],
        "empty": b"",
        "no newline": end.replace(b"\n", b" "),
    }[damage]
    with pytest.raises(VerificationError, match="the segment 1-3 is damaged"):
        segments.salts_in(damaged, frames, "1-3")


@pytest.mark.parametrize("content", [b"", b"short", b"a text that ends in another way", b"no manifest"])
def test_a_file_of_another_kind_has_no_log(tmp_path: Path, content: bytes) -> None:
    ended = {b"no manifest": content + (len(content) + 8).to_bytes(4, "little") + b"esct"}.get(content, content)
    (tmp_path / "file").write_bytes(ended)
    with (tmp_path / "file").open("rb") as file:
        assert segments.log_id_in(file) is None


def test_a_segment_names_the_log_that_it_is_of(tmp_path: Path) -> None:
    end = segments.trailer("the-log", frames_of([2, 1]), bytes(32), {}, [b"s" * 48])
    (tmp_path / "file").write_bytes(b"frames" + end)
    with (tmp_path / "file").open("rb") as file:
        assert segments.log_id_in(file) == "the-log"


# Facts


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("0001-01-01T00:00:00.000000Z", 0),
        ("0001-01-01T00:00:00.000001Z", 1),
        ("0001-01-02T00:00:01.000002Z", 86_401_000_002),
        ("1970-01-01T00:00:00.000000Z", 62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 315_537_897_599_999_999),
    ],
)
def test_micros_count_from_the_year_1(time: str, expected: int) -> None:
    assert segments.micros(time) == expected


@given(moment=st.datetimes())
def test_micros_keep_every_microsecond(moment: datetime) -> None:
    text = moment.isoformat(timespec="microseconds") + "Z"
    apart = moment.replace(tzinfo=UTC) - datetime(1, 1, 1, tzinfo=UTC)
    assert segments.micros(text) == (apart.days * 86_400 + apart.seconds) * 10**6 + apart.microseconds


facts_rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "$esctl"]),
        st.sampled_from(["T", "U"]),
        st.integers(1, 2),
        st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z"),
        st.sampled_from(["{}", "[1,2,3]", '"é"']),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


def size_of(line: Line) -> int:
    return 0 if line.erased else len(bytes(line.data)) + len(bytes(line.meta))


def lines_from(rows: list[tuple[str, str, int, str, str, bool]], first: int) -> list[Line]:
    versions, made = Counter[str](), []
    for position, (stream, type_, schema, time, data, erased) in enumerate(rows, first):
        versions[stream] += 1
        payload = (Raw(b"null"), Raw(b"null"), True) if erased else (Raw(data.encode()), Raw(b"{}"), False)
        known = (position, stream, versions[stream], f"id-{position}", type_, schema, time, MOMENT)
        made.append(Line(*known, *payload))
    return made


def test_a_segment_was_recorded_from_its_first_event_to_its_last() -> None:
    lines, facts = lines_from([("a", "T", 1, MOMENT, "{}", False)] * 4, 1), Facts()
    for second, line in enumerate(lines):
        line.recorded = f"2026-01-31T09:30:0{second}.000000Z"
    facts.add(lines[:2], 0)
    facts.add(lines[2:], 1)
    assert facts.recorded == (lines[0].recorded, lines[-1].recorded)


def test_times_of_a_type_may_run_out_of_order() -> None:
    days, facts = (3, 1, 5, 2), Facts()
    facts.add(lines_from([("a", "T", 1, f"2026-01-0{day}T00:00:00.000000Z", "{}", False) for day in days], 1), 0)
    ((*_, first, last, least, greatest, _, _, _),) = facts.by_type()
    assert [str(time)[9] for time in (first, last, least, greatest)] == ["3", "2", "1", "5"]


@settings(max_examples=100)
@given(rows=facts_rows, cut=st.integers(1, 5), first=st.integers(1, 1000))
def test_facts_are_what_counting_one_line_after_the_other_finds(
    rows: list[tuple[str, str, int, str, str, bool]], cut: int, first: int
) -> None:
    lines, facts = lines_from(rows, first), Facts()
    for number, at in enumerate(range(0, len(lines), cut)):
        facts.add(lines[at : at + cut], number)

    def of(group: list[Line]) -> tuple[Line, Line, int]:
        return group[0], group[-1], sum(map(size_of, group))

    streams = set()
    for stream in {line.stream for line in lines}:
        low, high, size = of(mine := [line for line in lines if line.stream == stream])
        numbers = ",".join(str(n) for n in sorted({(line.position - first) // cut for line in mine}))
        begin, end = segments.micros(low.time), segments.micros(high.time)
        on = (high.version - low.version, high.position - low.position, end - begin)
        frames = numbers if len(mine) > 2 else None
        streams.add((stream, low.version, low.position, begin, *on, size, frames))
    assert set(facts.by_stream()) == streams

    types = set()
    for own, type_, schema in {(line.stream[0] == "$", line.type, line.schema) for line in lines}:
        mine = [x for x in lines if (x.stream[0] == "$", x.type, x.schema) == (own, type_, schema)]
        low, high, size = of(mine)
        times = [line.time for line in mine]
        told = (own, type_, schema, len(mine), low.position, high.position, low.time, high.time, min(times), max(times))
        types.add((*told, low.recorded, high.recorded, size))
    assert set(facts.by_type()) == types

    assert list(facts.ids) == [chain.id_hash(line.id) for line in lines]
    assert facts.erased == [line.position for line in lines if line.erased]
    assert facts.largest == max(map(size_of, lines))


def test_a_stream_in_frames_two_and_twelve_is_in_both() -> None:
    facts = Facts()
    lines = lines_from([("a", "T", 1, MOMENT, "{}", False)] * 4, 1)
    for line, number in zip(lines, (2, 12, 12, 112), strict=True):
        facts.add([line], number)
    assert [row[-1] for row in facts.by_stream()] == ["2,12,112"]


# A segment as a whole


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    """A log of thirty events."""
    path = tmp_path / "log.db"
    write_empty_log(path)
    with open_log(path, write=True) as made:
        made.append_all({"stream": f"s-{n % 3}", "type": "T", "data": {"n": n}} for n in range(1, 31))
    return EventLog(path, write=True)


def test_a_name_is_a_range_and_a_files_name_is_of_its_content(log: EventLog, tmp_path: Path) -> None:
    with log:
        (made,) = creation.create(log, [(1, 20)], to=tmp_path / "segments")
    assert (made.name, made.events) == ("1-20", 20)
    file = tmp_path / "segments" / made.file
    assert made.file == f"000000000001-000000000020-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}.ndjson.zst"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_segment_can_be_checked_by_its_own_bytes_alone(log: EventLog, tmp_path: Path) -> None:
    with log:
        (made,) = creation.create(log, [(1, 20)], to=tmp_path / "segments")
        log_id = log.log_id
    whole = (tmp_path / "segments" / made.file).read_bytes()
    end = whole[-int.from_bytes(whole[-8:-4], "little") :]
    manifest, _, salts = end[8:-8].partition(b"\n")
    said = json.loads(manifest)
    assert said["log_id"] == log_id
    previous = bytes.fromhex(said["before"])
    assert previous == chain.genesis(log_id)
    lines = zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True).read().splitlines()
    assert len(lines) == 20
    for n, text in enumerate(lines):
        line = msgspec.json.decode(text, type=Line)
        digest = chain.payload_digest(salts[16 * n : 16 * n + 16], bytes(line.data), bytes(line.meta))
        known = (line.position, line.stream, line.version, line.id, line.type, line.schema, line.time, line.recorded)
        previous = chain.event_hash(previous, digest, chain.header(*known))
    assert previous.hex() == said["after"] == made.after.hex()


def test_an_exported_segment_is_the_same_bytes_wherever_it_lies(log: EventLog, tmp_path: Path) -> None:
    with log:
        (made,) = creation.create(log, [(1, 20)])
        inside = b"".join(moving.export(log, made))
        moved = moving.move(log, made, tmp_path / "segments")
        assert (tmp_path / "segments" / moved.file).read_bytes() == inside
        assert b"".join(moving.export(log, moved)) == inside
        back = moving.move(log, moved, None)
        assert b"".join(moving.export(log, back)) == inside
    assert hashlib.sha256(inside).digest() == made.sha256
    assert len(inside) == made.size


def test_salts_are_found_behind_a_size_that_holds_a_line_feed() -> None:
    """The sizes before the manifest are numbers in four bytes each, of which any may be 0x0a."""
    seen = 0
    for events in range(1, 200):
        salts = bytes(range(16)) * events
        frame = segments.Frame(1, events, 1, 0, bytes(32), 0, 1, 1, bytes(32), 0)
        end = segments.trailer("log", [frame], bytes(32), {}, [salts])
        seen += b"\n" in end[:8]
        assert segments.salts_in(end, [frame], "1-1") == [salts]
    assert seen
