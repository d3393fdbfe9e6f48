"""Verifies a log with nothing but `esctl help format`, the standard library and zstandard; shares no code with esctl.

    python tests/independent_verifier.py LOG          from the file, and the files of its segments
    esctl replay --system --hash | python tests/independent_verifier.py - LOG_ID      from lines
    python tests/independent_verifier.py 000000000001-000000000030-9f8d2850798172ca.ndjson.zst      a segment alone

Prints the head (of a segment: its last position and the hash there), or says what is wrong and exits with 1.
"""

import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import zstandard  # noqa: TID253 - it stands alone

HEADER = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")
ZEROS = bytes(16)
NOT_WHOLE = (ValueError, OSError, zstandard.ZstdError)
# header; the payload_digest; the hash that is noted, where one is; the data, if it is still there
Row = tuple[tuple[object, ...], bytes, bytes | None, bytes | None]


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def genesis(log_id: str) -> bytes:
    return sha256(b"esctl/1/", log_id.encode())


class Walk:
    """The walk along a chain, from a hash before a position."""

    def __init__(self, previous: bytes, position: int = 0) -> None:
        self.previous, self.position = previous, position
        self.gone: list[int] = []  # positions whose payload is erased
        self.said: list[int] = []  # positions that the log's own events say were erased

    def over(self, rows: Iterable[Row]) -> None:
        """ValueError at the first row that does not follow."""
        for header, digest, stored, data in rows:
            self.position += 1
            if header[0] != self.position:
                raise ValueError(f"position {self.position} is missing")
            text = "\n".join(str(part) for part in header).encode()
            self.previous = sha256(self.previous, digest, text)
            if stored not in (None, self.previous):
                raise ValueError(f"the hash of position {self.position} does not follow")
            if data is None:
                self.gone.append(self.position)
            elif (header[1], header[4]) == ("$esctl", "PayloadErased"):
                self.said += [n for low, high in json.loads(data)["positions"] for n in range(low, high + 1)]

    def end(self) -> str:
        """The head, once it is sure that every payload that is gone is one that an event names, and the reverse."""
        if self.gone != sorted(self.said):
            raise ValueError(f"erased are {self.gone}, the log's own events say {sorted(self.said)}")
        return f"{self.position}:{self.previous.hex()}"


def from_file(path: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return from_tables(connection, Path(path).absolute().parent)


def from_tables(connection: sqlite3.Connection, folder: Path) -> str:
    log_id, position, hash_ = connection.execute("select log_id, position, hash from head").fetchone()
    walk, low = Walk(genesis(log_id.decode())), 1
    segments, digests = [], {}
    if connection.execute("pragma user_version").fetchone()[0] >= 3:
        segments = connection.execute("select first, last, sha256, location from segments order by first").fetchall()
        digests = dict(connection.execute("select position, digest from erased"))
    for first, last, digest, location in segments:
        walk.over(hot(connection, low, first - 1, digests))
        if location is None:
            whole = embedded(connection, log_id.decode(), first, last, digests)
        else:
            name = f"{first:012d}-{last:012d}-{digest.hex()[:16]}.ndjson.zst"
            whole = (folder / location.decode() / name).read_bytes()
        if sha256(whole) != digest:
            raise ValueError(f"the segment {first}-{last} has another SHA-256")
        manifest = over_segment(walk, whole)
        if (manifest["first"], manifest["last"], manifest["log_id"]) != (first, last, log_id.decode()):
            raise ValueError(f"the segment {first}-{last} is another one")
        if manifest["erased"] != {str(n): digests[n].hex() for n in sorted(digests) if first <= n <= last}:
            raise ValueError(f"the segment {first}-{last} has other digests than the log")
        low = last + 1
    walk.over(hot(connection, low, 2**63 - 1, digests))
    if f"{walk.position}:{walk.previous.hex()}" != f"{position}:{hash_.hex()}":
        raise ValueError("the head is not the newest event's")
    if sorted(digests) != walk.gone:
        raise ValueError("the digests of erased payloads are not those of the payloads that are gone")
    return walk.end()


def hot(connection: sqlite3.Connection, low: int, high: int, digests: dict[int, bytes]) -> Iterator[Row]:
    """The rows of the table of events between two positions."""
    rows = connection.execute(
        "select position, s.name, version, id, t.name, schema, time, recorded, data, meta, salt, hash from events"
        " join streams s using (stream_id) join types t using (type_id)"
        " where position between ? and ? order by position",
        (low, high),
    )
    for *header, data, meta, salt, stored in rows:
        shown = tuple(value.decode() if isinstance(value, bytes) else value for value in header)
        if data is None and meta is None and salt is None and header[0] in digests:
            yield shown, digests[header[0]], stored, None
        elif data is None or meta is None or salt is None or len(salt) != 16:
            raise ValueError(f"the payload of position {header[0]} is neither there nor erased")
        else:
            yield shown, sha256(salt, data, b"\0", meta), stored, data


def embedded(connection: sqlite3.Connection, log_id: str, first: int, last: int, digests: dict[int, bytes]) -> bytes:
    """A segment in the log's file, as it would be a file."""
    before, after = connection.execute("select before, after from segments where first = ?", (first,)).fetchone()
    frames = connection.execute(
        "select first, last, offset, bytes, raw_bytes, packed, salts from frames where segment = ? order by first",
        (first,),
    ).fetchall()
    manifest = {
        "format": "esctl/segment/1",
        "log_id": log_id,
        "first": first,
        "last": last,
        "before": before.hex(),
        "after": after.hex(),
        "frames": [frame[:5] for frame in frames],
        "erased": {str(n): digests[n].hex() for n in sorted(digests) if first <= n <= last},
    }
    line = json.dumps(manifest, separators=(",", ":")).encode() + b"\n"
    content = line + b"".join(frame[6] for frame in frames)
    ends = (len(content) + 16).to_bytes(4, "little") + b"esct"
    head = (0x184D2A5E).to_bytes(4, "little") + (len(content) + 8).to_bytes(4, "little")
    return b"".join(frame[5] for frame in frames) + head + content + ends


def opened(whole: bytes) -> tuple[bytes, dict[str, Any], bytes]:
    """A segment's frames, and the manifest and the salts of its trailer."""
    size = int.from_bytes(whole[-8:-4], "little")
    trailer = whole[-size:]
    magic, inner = int.from_bytes(trailer[:4], "little"), int.from_bytes(trailer[4:8], "little")
    if whole[-4:] != b"esct" or magic != 0x184D2A5E or inner != size - 8:
        raise ValueError("it does not end as a segment does")
    line, _, salts = trailer[8:-8].partition(b"\n")
    manifest = json.loads(line)
    if manifest["format"] != "esctl/segment/1":
        raise ValueError(f"its format is {manifest['format']}")
    if len(salts) != 16 * (manifest["last"] - manifest["first"] + 1):
        raise ValueError("it has too few salts or too many")
    return whole[:-size], manifest, salts


def over_segment(walk: Walk, whole: bytes) -> dict[str, Any]:
    """Walk over a segment; its manifest."""
    frames, manifest, salts = opened(whole)
    before, after = manifest["before"], manifest["after"]
    if (walk.position + 1, walk.previous.hex()) != (manifest["first"], before):
        raise ValueError(f"the segment of {manifest['first']} does not begin where the chain is")
    walk.over(lines_of(frames, manifest, salts))
    if (walk.position, walk.previous.hex()) != (manifest["last"], after):
        raise ValueError(f"the segment of {manifest['first']} does not end where it says")
    return manifest


def from_segment(path: str) -> str:
    whole = Path(path).read_bytes()
    _, manifest, _ = opened(whole)
    before, first = bytes.fromhex(manifest["before"]), manifest["first"]
    if first == 1 and before != genesis(manifest["log_id"]):
        raise ValueError("it does not begin with the genesis hash")
    walk = Walk(before, first - 1)
    over_segment(walk, whole)
    name = f"{first:012d}-{walk.position:012d}-{sha256(whole).hex()[:16]}.ndjson.zst"
    if re.fullmatch(r"\d{12,}-\d{12,}-[0-9a-f]{16}\.ndjson\.zst", Path(path).name) and Path(path).name != name:
        raise ValueError(f"its name should be {name}")
    return f"{walk.position}:{walk.previous.hex()}"


def lines_of(frames: bytes, manifest: dict[str, Any], salts: bytes) -> Iterator[Row]:
    """The rows that the lines of a segment are."""
    at, position, digests = 0, manifest["first"], dict(manifest["erased"])
    for first, last, offset, size, raw_size in manifest["frames"]:
        if (first, offset) != (position, at) or zstandard.frame_content_size(frames[at : at + size]) != raw_size:
            raise ValueError(f"the frame of positions {first} to {last} is not where it should be")
        lines = zstandard.ZstdDecompressor().decompress(frames[at : at + size]).decode().split("\n")
        if lines.pop() or len(lines) != last - first + 1:
            raise ValueError(f"the frame of positions {first} to {last} has too few lines or too many")
        for line in lines:
            n = position - manifest["first"]
            yield row_of(line[:-1], salts[16 * n : 16 * n + 16], digests.pop(str(position), None), None)
            position += 1
        at += size
    if at != len(frames) or digests:
        raise ValueError("there is more in the segment than its frames and its positions")


def row_of(front: str, salt: bytes, digest: str | None, stored: bytes | None) -> Row:
    """The row of a line up to the end of meta, or of what says that it was erased."""
    event = json.loads(front + "}")
    header = tuple(event[name] for name in HEADER)
    if (event.get("erased") is True) != (digest is not None):
        raise ValueError(f"position {header[0]} is erased and has no digest, or the reverse")
    if digest is not None:
        if (event["data"], event["meta"], salt) != (None, None, ZEROS):
            raise ValueError(f"position {header[0]} is erased and still there")
        return header, bytes.fromhex(digest), stored, None
    # data begins after the first `,"data":` that follows recorded, and meta where its text alone is an object
    start = re.match(r'.*?"recorded":"[^"]*","data":', front)
    assert start is not None
    payload = front[start.end() :]
    cut = next(m.start() for m in re.finditer(',"meta":', payload) if splits(payload, m.start()))
    data, meta = payload[:cut].encode(), payload[cut + len(',"meta":') :].encode()
    return header, sha256(salt, data, b"\0", meta), stored, data


def splits(payload: str, at: int) -> bool:
    """Whether both sides of a `,"meta":` are JSON, which only the one outside of strings and objects achieves."""
    try:
        json.loads(payload[:at]), json.loads(payload[at + len(',"meta":') :])
    except ValueError:
        return False
    return True


def from_lines(log_id: str, lines: Iterable[str]) -> str:
    def row(line: str) -> Row:
        event = json.loads(line)
        stored = bytes.fromhex(event["hash"])
        if "digest" in event:
            return row_of(line.rpartition(',"digest":"')[0], ZEROS, event["digest"], stored)
        front, _, salt_on = line.rpartition(',"salt":"')
        return row_of(front, bytes.fromhex(salt_on[:32]), None, stored)

    walk = Walk(genesis(log_id))
    walk.over(row(line) for line in lines)
    return walk.end()


def main(arguments: list[str]) -> str:
    if arguments[0] == "-":
        return from_lines(arguments[1], sys.stdin)
    if arguments[0].endswith(".zst"):
        return from_segment(arguments[0])
    return from_file(arguments[0])


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]) + "\n")
    except NOT_WHOLE as error:
        sys.exit(f"not whole: {error}")
