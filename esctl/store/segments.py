"""Segments: contiguous parts of a log as zstd frames of NDJSON lines, and the facts that follow from the lines.

A segment consists of frames of about 1,000 lines, as `replay --raw-schema --system` prints them, and one skippable
frame with what the lines lack: the ends of the chain, the salts, the places of the frames. `zstd -dc` prints the lines.
Sources: RFC 8878 (zstd frames and skippable frames).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, BinaryIO, NamedTuple, get_type_hints

import msgspec
import zstandard  # noqa: TID253 - this is its home; whoever needs segments imports them late
from msgspec import Raw

from esctl.errors import VerificationError
from esctl.events import chain, system
from esctl.events.json import Deeper

FRAME_EVENTS = 1000  # at level 9 frames of 100 and of 10,000 lines were larger
FRAME_BYTES = 4 * 1024 * 1024  # of lines, unless a single line is longer
LEVEL = 9
FORMAT = "esctl/segment/1"
_SKIPPABLE, _PADDING = (0x184D2A5E).to_bytes(4, "little"), (0x184D2A50).to_bytes(4, "little")
_END = b"esct"

chain.for_many()  # who reads segments reads many events


class Segment(NamedTuple):
    """A contiguous part of a log.

    Positions `first` to `last`; the chain's hash before and after them; bytes of the file and of its lines; the file's
    SHA-256; recorded times of its first and last event; its folder (None: in the log's file); and whether the file is
    shared with another log (1), so that this one may not remove it.
    """

    first: int
    last: int
    before: bytes
    after: bytes
    size: int
    raw_size: int
    sha256: bytes
    first_recorded: str
    last_recorded: str
    location: str | None
    shared: int = 0

    @property
    def name(self) -> str:
        """Its name for users: its range."""
        return f"{self.first}-{self.last}"

    @property
    def events(self) -> int:
        """The number of its events."""
        return self.last - self.first + 1

    @property
    def file(self) -> str:
        """Its file name, which is unique to its content."""
        return f"{self.first:012d}-{self.last:012d}-{self.sha256.hex()[:16]}.ndjson.zst"


class Frame(NamedTuple):
    """A frame of a segment.

    Its positions; the segment's first position and the frame's number in it (0, 1 …); the chain's hash before it; its
    offset in the file, its bytes, the bytes of its lines, and its SHA-256; the number of the log's own events in it.
    """

    first: int
    last: int
    segment: int
    number: int
    before: bytes
    offset: int
    size: int
    raw_size: int
    sha256: bytes
    own: int


class Packed(NamedTuple):
    """A frame with its bytes and the salts of its events."""

    frame: Frame
    packed: bytes | memoryview
    salts: bytes | memoryview


_Stored = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what a table can hold


class Line(msgspec.Struct):
    """A line of a segment; `data` and `meta` are JSON texts, `null` where the payload was erased."""

    position: _Stored
    stream: str
    version: _Stored
    id: str
    type: str
    schema: _Stored
    time: str
    recorded: str
    data: Raw
    meta: Raw
    erased: bool = False


Decoding = Callable[[bytes], list[Any]]
_decode_lines: Decoding = msgspec.json.Decoder(Line).decode_lines


@cache
def decoder_of(names: tuple[str, ...]) -> Decoding:
    """A decoder of some fields of lines, which takes less time the fewer they are."""
    fields = [(name, get_type_hints(Line, include_extras=True)[name]) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Fields", fields, gc=False)).decode_lines


def compressor(level: int) -> Callable[[bytes], bytes]:
    """A compressor of frames, which contain their size and a checksum."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress


def padded(packed: bytes, size: int) -> bytes:
    """A frame and a skippable frame of zeros, of `size` bytes together; only the frame if there is no room for both."""
    zeros = size - len(packed) - len(_PADDING) - 4
    return packed if zeros < 0 else packed + _PADDING + zeros.to_bytes(4, "little") + bytes(zeros)


def decompress(frame: Frame, packed: bytes, name: str) -> bytes:
    """The lines of a frame. Only bytes exactly as written are unpacked, and never more than was packed.

    Raises VerificationError.
    """
    if len(packed) != frame.size or hashlib.sha256(packed).digest() != frame.sha256:
        raise damaged(name, f"the frame of positions {frame.first} to {frame.last} is not what was written")
    try:
        stated = zstandard.frame_content_size(packed)
        if stated != frame.raw_size:  # the library trusts the size that the frame states
            raise damaged(name, f"a frame says that it holds {stated} bytes, the log says {frame.raw_size}")
        lines = zstandard.ZstdDecompressor().decompress(packed, max_output_size=frame.raw_size)
    except zstandard.ZstdError as error:
        raise damaged(name, str(error)) from error
    if lines[-1:] != b"\n":  # readers search for the end of each line
        raise damaged(name, f"the last line of the frame of positions {frame.first} to {frame.last} has no end")
    if (count := lines.count(b"\n")) != frame.last - frame.first + 1:
        raise damaged(name, f"the frame of positions {frame.first} to {frame.last} has {count} lines")
    return lines


def damaged(name: str, why: str) -> VerificationError:
    """The error for a damaged segment."""
    return VerificationError(f"the segment {name} is damaged", why=why, fix="esctl archive verify", segment=name)


def decoded(lines: bytes, name: str, decode: Decoding = _decode_lines) -> list[Line]:
    """Decode lines. Raises VerificationError for invalid ones."""
    try:
        try:
            return decode(lines)
        except RecursionError:
            with Deeper():
                return decode(lines)
    except ValueError as error:  # msgspec's errors are such
        raise damaged(name, str(error)) from error


def of_stream(lines: bytes, stream: str, name: str) -> list[Line]:
    """Decode the lines of one stream only."""
    found = []
    needle = b',"stream":' + msgspec.json.encode(stream) + b',"version":'
    at = lines.find(needle)
    while at >= 0:
        start, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at) + 1
        found += [line for line in decoded(lines[start:end], name) if line.stream == stream]
        at = lines.find(needle, end)
    return found


def without_own(lines: bytes) -> bytes:
    """Lines except those of the log's own streams."""
    mark = b',"stream":"' + system.PREFIX.encode()
    if mark not in lines:
        return lines
    return b"".join(line for line in lines.splitlines(keepends=True) if not line.startswith(mark, line.find(b",")))


def hashes(
    lines: Sequence[Line], salts: bytes | memoryview, digests: Mapping[int, bytes], before: bytes
) -> list[bytes]:
    """The chain's hash after each line; `digests` of erased payloads, by position.

    Raises KeyError if the digest of an erased payload is missing.
    """
    size, header = chain.SALT_BYTES, chain.header
    return chain.hashes(
        before,
        (
            (
                digests[line.position] if line.erased else None,
                salts[at : at + size],
                line.data,
                line.meta,
                header(
                    line.position, line.stream, line.version, line.id, line.type, line.schema, line.time, line.recorded
                ),
            )
            for at, line in zip(range(0, len(salts), size), lines, strict=True)
        ),
    )


def trailer(
    log_id: str,
    frames: Sequence[Frame],
    after: bytes,
    erased: Mapping[int, bytes],
    salts: Iterable[bytes | bytearray | memoryview],
) -> bytes:
    """The skippable frame at the end of a segment: a line of JSON, then the salts, 16 bytes an event.

    Its last bytes are its whole size (4 bytes, little-endian) and `esct`, so that it can be found from the end.
    """
    manifest = {
        "format": FORMAT,
        "log_id": log_id,
        "first": frames[0].first,
        "last": frames[-1].last,
        "before": frames[0].before.hex(),
        "after": after.hex(),
        "frames": [[frame.first, frame.last, frame.offset, frame.size, frame.raw_size] for frame in frames],
        "erased": {str(position): digest.hex() for position, digest in erased.items()},
    }
    content = msgspec.json.encode(manifest) + b"\n" + b"".join(salts)
    size = len(_SKIPPABLE) + 4 + len(content) + 4 + len(_END)
    inner = content + size.to_bytes(4, "little") + _END
    return _SKIPPABLE + len(inner).to_bytes(4, "little") + inner


def salts_in(end: bytes, frames: Sequence[Frame], name: str) -> list[bytes]:
    """The salts of each frame, from a segment's skippable frame."""
    start = end.find(b"\n", 8) + 1  # after the sizes, which may contain any byte
    events = sum(frame.last - frame.first + 1 for frame in frames)
    salts = end[start : -4 - len(_END)]
    if not start or len(salts) != events * chain.SALT_BYTES or end[:4] != _SKIPPABLE or end[-4:] != _END:
        raise damaged(name, "its last frame is not what was written")
    first = frames[0].first
    return [salts[(f.first - first) * chain.SALT_BYTES : (f.last - first + 1) * chain.SALT_BYTES] for f in frames]


def log_id_in(file: BinaryIO) -> str | None:
    """The id of the log whose segment a file is, from its last frame; None if it is no segment."""
    try:
        file.seek(-4 - len(_END), 2)
        size = int.from_bytes(file.read(4), "little")
        if file.read() != _END:
            return None
        file.seek(-size, 2)
        manifest = msgspec.json.decode(file.read(size)[8:].partition(b"\n")[0], type=dict)
    except (OSError, ValueError):
        return None
    return manifest.get("log_id")


_YEAR_1 = datetime(1, 1, 1)  # noqa: DTZ001 - the log's times are UTC


def micros(time: str) -> int:
    """Microseconds since the year 1. Raises VerificationError for what the log would not have written."""
    try:
        apart = datetime.fromisoformat(time[:-1]) - _YEAR_1
    except (ValueError, TypeError) as error:
        raise VerificationError(
            f"a segment is damaged: it has the time {time!r}", why=str(error), fix="esctl archive verify"
        ) from error
    return (apart.days * 86_400 + apart.seconds) * 1_000_000 + apart.microseconds


_WIDTH = 6


class _Counted:
    """Counts of one type and schema."""

    __slots__ = (
        "events", "first", "first_recorded", "first_time", "greatest", "last", "last_recorded", "last_time", "least",
        "size",
    )  # fmt: skip

    def __init__(self, position: int, time: str, recorded: str) -> None:
        self.events = self.size = 0
        self.first = self.last = position
        self.first_time = self.last_time = self.least = self.greatest = time
        self.first_recorded = self.last_recorded = recorded


def id_hashes(lines: Iterable[Line]) -> array[int]:
    """The hashes under which the ids of lines are indexed."""
    return array("q", map(chain.id_hash, [line.id for line in lines]))


class Facts:
    """Facts that follow from a segment's lines, by stream and by type and schema.

    `ids` are the hashes of its ids; others are the erased positions, the size of the largest payload, and recorded
    times of the first and last event.
    """

    def __init__(self) -> None:
        # By stream, in arrays, since there may be as many as events: first and last version and position, first time,
        # bytes; last time; numbers of frames.
        self._streams: dict[str, int] = {}
        self._numbers = array("q")
        self._times: list[str] = []
        self._frames: list[str] = []
        self._types: dict[tuple[bool, str, int], _Counted] = {}
        self.ids = array("q")
        self.erased: list[int] = []
        self.recorded = "", ""
        self.largest = 0

    def add(self, lines: Sequence[Line], number: int, ids: array[int] | None = None) -> None:
        """Count the lines of a frame, which has one at least; `ids` are the hashes of their ids, if known. It runs for
        every archived event, so it avoids calls.
        """
        streams, numbers, frames, times, types = self._streams, self._numbers, self._frames, self._times, self._types
        frame = str(number)
        self.recorded = self.recorded[0] or lines[0].recorded, lines[-1].recorded
        for line in lines:
            position, version, stream, time = line.position, line.version, line.stream, line.time
            size = 0 if line.erased else len(memoryview(line.data)) + len(memoryview(line.meta))
            at = streams.get(stream)
            if at is None:
                streams[stream] = len(frames)
                numbers.extend((version, version, position, position, micros(time), size))
                frames.append(frame)
                times.append(time)
            else:
                times[at] = time
                known = frames[at]
                if known != frame and not known.endswith(f",{frame}"):
                    frames[at] = f"{known},{frame}"
                at *= _WIDTH
                numbers[at + 1], numbers[at + 3] = version, position
                numbers[at + 5] += size
            key = stream[0] == system.PREFIX, line.type, line.schema
            counted = types.get(key)
            if counted is None:
                counted = types[key] = _Counted(position, time, line.recorded)
            counted.events += 1
            counted.last, counted.last_time, counted.last_recorded = position, time, line.recorded
            if time < counted.least:
                counted.least = time
            elif time > counted.greatest:
                counted.greatest = time
            counted.size += size
            self.largest = max(self.largest, size)
            if line.erased:
                self.erased.append(position)
        self.ids += id_hashes(lines) if ids is None else ids

    def by_stream(self) -> Iterator[tuple[object, ...]]:
        """Stream; version, position and time (microseconds) of its first event, and the differences of its last one;
        bytes; the numbers of its frames, if there are more than two events.
        """
        for stream, at in self._streams.items():
            version, last_version, position, last, time, size = self._numbers[at * _WIDTH : (at + 1) * _WIDTH]
            on = last_version - version, last - position, micros(self._times[at]) - time
            yield stream, version, position, time, *on, size, self._frames[at] if on[0] > 1 else None

    def by_type(self) -> Iterator[tuple[object, ...]]:
        """Own, type, schema, events, first and last position and their times, least and greatest time, recorded times
        of the first and last, bytes.
        """
        for key, c in self._types.items():
            times = c.first_time, c.last_time, c.least, c.greatest, c.first_recorded, c.last_recorded
            yield (*key, c.events, c.first, c.last, *times, c.size)
