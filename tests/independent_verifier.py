"""Verifies a log with nothing but `esctl help format` and the standard library; shares no code with esctl.

    python tests/independent_verifier.py LOG          from the file
    esctl replay --system --hash | python tests/independent_verifier.py - LOG_ID      from lines

Prints the head, or says what is wrong and exits with 1.
"""

import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Iterable

# position, stream, version, id, type, schema, time, recorded; data, meta; salt, hash
Row = tuple[tuple[object, ...], bytes, bytes, bytes, bytes]


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def walk(log_id: str, rows: Iterable[Row]) -> str:
    """The head that the rows lead to; ValueError at the first that does not follow."""
    position, previous = 0, sha256(b"esctl/1/", log_id.encode())
    for header, data, meta, salt, stored in rows:
        position += 1
        if header[0] != position:
            raise ValueError(f"position {position} is missing")
        text = "\n".join(str(part) for part in header).encode()
        previous = sha256(previous, sha256(salt, data, b"\0", meta), text)
        if previous != stored:
            raise ValueError(f"the hash of position {position} does not follow")
    return f"{position}:{previous.hex()}"


def from_file(path: str) -> str:
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    log_id, position, hash_ = connection.execute("select log_id, position, hash from head").fetchone()
    rows = connection.execute(
        "select position, s.name, version, id, t.name, schema, time, recorded, data, meta, salt, hash from events"
        " join streams s using (stream_id) join types t using (type_id) order by position"
    )
    shown = (
        (tuple(v.decode() if isinstance(v, bytes) else v for v in row[:8]), row[8], row[9], row[10], row[11])
        for row in rows
    )
    head = walk(log_id.decode(), shown)
    connection.close()
    if head != f"{position}:{hash_.hex()}":
        raise ValueError("the head is not the newest event's")
    return head


def from_lines(log_id: str, lines: Iterable[str]) -> str:
    def row(line: str) -> Row:
        event = json.loads(line)
        front, _, salt_on = line.rpartition(',"salt":"')
        # data begins after the first `,"data":` that follows recorded, and meta where its text alone is an object
        start = re.match(r'.*?"recorded":"[^"]*","data":', front)
        assert start is not None
        payload = front[start.end() :]
        cut = next(m.start() for m in re.finditer(',"meta":', payload) if splits(payload, m.start()))
        names = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")
        header = tuple(event[name] for name in names)
        data, meta = payload[:cut].encode(), payload[cut + len(',"meta":') :].encode()
        return header, data, meta, bytes.fromhex(salt_on[:32]), bytes.fromhex(event["hash"])

    return walk(log_id, (row(line) for line in lines))


def splits(payload: str, at: int) -> bool:
    """Whether both sides of a `,"meta":` are JSON, which only the one outside of strings and objects achieves."""
    try:
        json.loads(payload[:at]), json.loads(payload[at + len(',"meta":') :])
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    try:
        sys.stdout.write((from_lines(sys.argv[2], sys.stdin) if sys.argv[1] == "-" else from_file(sys.argv[1])) + "\n")
    except ValueError as error:
        sys.exit(f"not whole: {error}")
