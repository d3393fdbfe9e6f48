"""The event: its fields, checks of its names, new ids, and the expected version of a stream.

Imported on every cold start, so it imports built-in modules only. This is also why an event is a named tuple and not a
msgspec struct.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence

from esctl.errors import ConflictError, RefusedError, UsageError, word
from esctl.events import system
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Form = Literal["line", "hash", "data"]
    """What a line contains: the event, the event with its salt and hash, or its payload only."""

Expect = int | str
"""What a writer expects of a stream: its version, or one of EXPECT_WORDS."""


class NewEvent(Record):
    """An event to be appended."""

    stream: str
    type: str
    id: str
    time: str | None  # None: the recorded time
    schema: int  # 0: the newest that the log's model knows
    data: str  # JSON text
    meta: str  # JSON text
    expect: Expect | None


class Prepared(Record):
    """New events, perhaps with the digests of their payloads, computed ahead as `chain.payload_digest` does."""

    events: Sequence[NewEvent]
    salts: Sequence[bytes] = ()  # 16 bytes for each event; or none
    digests: Sequence[bytes] = ()  # 32 bytes for each event; or none
    largest: int = 0  # bytes of the largest payload with a digest


class Event(Record):
    """A stored event. If its payload was erased, `data` and `meta` are None, which few readers have to expect."""

    position: int
    stream: str
    version: int
    id: str
    type: str
    schema: int
    time: str
    recorded: str
    data: str  # JSON text
    meta: str  # JSON text


class Part(Event):
    """One of the events that a stored event is split into on reading; `part` is its number: 1, 2 …"""

    part = 0


class Head(Record):
    """The newest event."""

    position: int  # 0: there is none
    hash: bytes  # 32 bytes; of an empty log the genesis hash
    recorded: str

    def __str__(self) -> str:
        """`<position>:<hash>`, the form in which users save a head."""
        return f"{self.position}:{self.hash.hex()}"


class Receipt(Record):
    """The result of appending an event; for a duplicate, the place of the original."""

    position: int
    stream: str
    version: int
    id: str
    duplicate: bool


class SealedEvent(Record):
    """A stored event with its salt and hash."""

    event: Event
    salt: bytes  # 16 bytes
    hash: bytes  # 32 bytes


def part_of(event: Event) -> int | None:
    """The number of a part of a split event; None for any other event."""
    return event.part if isinstance(event, Part) else None


def index_at(receipts: Sequence[Receipt], position: object) -> int | None:
    """The index of the receipt of the new event at a position; None if it is not among them."""
    return next(
        (n for n, receipt in enumerate(receipts) if receipt.position == position and not receipt.duplicate), None
    )


FIELDS = Event._fields
EXPECT_WORDS = ("any", "none", "exists")
MAX_NAME_BYTES = 512
MAX_SCHEMA = 2**31 - 1
SYSTEM_STREAM = "system-stream"  # the code of the error for an event in one of the log's own streams


def max_event_bytes() -> int:
    """The largest accepted event in bytes (`ESCTL_MAX_EVENT`, by default 16 MiB)."""
    text = os.environ.get("ESCTL_MAX_EVENT", "")
    if not text:
        return 16 * 1024 * 1024
    limit = whole_number(text)
    if limit is None or not 0 < limit <= 512 * 1024 * 1024:
        raise UsageError(
            f"ESCTL_MAX_EVENT is {text!r}",
            why="it must be a number of bytes up to 536870912",
            fix="unset ESCTL_MAX_EVENT",
        )
    return limit


def check_name(kind: str, name: str) -> None:
    """Refuse a stream, type or id that is not 1 to 512 bytes of UTF-8, or has control characters or outer blanks."""
    if name.isascii() and name.isprintable() and 0 < len(name) <= MAX_NAME_BYTES and name.strip() == name:
        return
    if problem := _name_problem(name):
        raise RefusedError(
            f"the {kind} {name[:60]!r} {problem}",
            why="a name is 1 to 512 bytes of UTF-8 text",
        )


def _name_problem(name: str) -> str:
    if not name:
        return "is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if size > MAX_NAME_BYTES:
        return f"has {size} bytes"
    if has_control(name):
        return "holds a control character"
    if name.strip() != name:
        return "begins or ends with a blank"
    return ""


def has_control(text: str) -> bool:
    """Whether a text has a control character: C0, DEL or C1."""
    return not text.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def check_stream(name: str) -> None:
    """Refuse what `check_name` refuses, and streams reserved for the log's own events."""
    check_name("stream", name)
    if name.startswith(system.PREFIX):
        raise RefusedError(
            f"the stream {name!r} is the log's own",
            why="streams that begin with $ record what was done to the log",
            code=SYSTEM_STREAM,
        )


def check_schema(schema: int) -> None:
    """Refuse a schema version that is not 1, 2, 3 …"""
    if not 1 <= schema <= MAX_SCHEMA:
        raise RefusedError(f"the schema is {schema}", why=f"schema versions are 1 to {MAX_SCHEMA}")


def whole_number(text: str) -> int | None:
    """The value of a text of 1 to 18 decimal digits; None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def parse_expect(text: str) -> Expect | None:
    """Parse an expected version: any, none, exists or a number; None for any other text."""
    return text if text in EXPECT_WORDS else whole_number(text)


def check_expected(expect: Expect, stream: str, actual: int) -> None:
    """Raise ConflictError unless the stream's version `actual` (0: no such stream) is as expected."""
    if expect == "any" or (expect == "none" and not actual) or (expect == "exists" and actual) or expect == actual:
        return
    raise ConflictError(
        f"stream {stream} is at version {actual}, expected {expect}",
        why="another writer was faster, or the expected version is out of date;"
        " read the stream again, decide again, and append with its new version",
        fix=f"esctl replay {word(stream)}" if actual else "esctl streams",
        stream=stream,
        expected=expect,
        actual=actual,
    )


def now() -> str:
    """The current time as the log writes it: UTC with microseconds, `2026-01-31T09:30:00.000000Z`."""
    seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}Z"


_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}  # of RFC 9562: bits 10, then random


def new_ids() -> Iterator[str]:
    """Endless UUIDv7 texts in ascending order (RFC 9562, 6.2: a counter in the 12 bits after the version)."""
    latest, counter, prefix = 0, 0, ""
    while True:
        random = os.urandom(8 * 64).hex()
        for i in range(0, len(random), 16):
            now_ms = time.time_ns() // 1_000_000
            counter += 1
            if now_ms > latest or counter == 1 << 12:
                latest, counter = max(now_ms, latest + 1), 0
                prefix = f"{latest >> 16:08x}-{latest & 0xFFFF:04x}-7"
            yield f"{prefix}{counter:03x}-{_VARIANTS[random[i]]}{random[i + 1 : i + 4]}-{random[i + 4 : i + 16]}"


def ranges(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending positions as ranges, both ends inclusive."""
    merged: list[tuple[int, int]] = []
    for position in positions:
        if merged and merged[-1][1] + 1 == position:
            merged[-1] = merged[-1][0], position
        else:
            merged.append((position, position))
    return merged
