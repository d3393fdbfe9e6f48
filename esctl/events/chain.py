"""The hash chain over events: it reveals an altered, missing or reordered event.

The formula is a contract, documented in `esctl help format` and pinned by golden vectors in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256  # noqa: PLC0414 - re-exported: others use the one chosen here
    from typing import Any

    Buffer = Any  # bytes or another buffer
else:
    try:  # CPython's built-in SHA-256 (its name since 3.12): loading OpenSSL's takes a tenth of a cold start
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:  # a Python built with OpenSSL's only
            from hashlib import sha256

DOMAIN = b"esctl/1/"
SALT_BYTES = 16


def for_many() -> None:
    """Switch to OpenSSL's SHA-256: it is slow to load, and then more than three times as fast per event."""
    from hashlib import sha256  # noqa: PLC0415 - OpenSSL

    globals()["sha256"] = sha256


def genesis(log_id: str) -> bytes:
    """The previous hash of a log's first event (32 bytes)."""
    return sha256(DOMAIN + log_id.encode()).digest()


def created_digest(log_id: str, created: str) -> bytes:
    """The digest of a log's creation time, which the chain does not cover (32 bytes)."""
    return sha256(f"{log_id}\n{created}".encode()).digest()


def payload_digest(salt: bytes, data: bytes, meta: bytes) -> bytes:
    """The digest of what erasure removes: salt, data and meta, the last two as stored, in UTF-8 (32 bytes)."""
    return sha256(b"%b%b\0%b" % (salt, data, meta)).digest()


def event_hash(previous: bytes, digest: bytes, header: str) -> bytes:
    """The hash of an event, from the previous hash, its payload digest and its header (32 bytes)."""
    return sha256(b"%b%b%b" % (previous, digest, header.encode())).digest()


def header(
    position: int, stream: str, version: int, event_id: str, type_: str, schema: int, time: str, recorded: str
) -> str:
    """The part of an event that is never erased. Its lines are unambiguous: names contain no control characters."""
    return f"{position}\n{stream}\n{version}\n{event_id}\n{type_}\n{schema}\n{time}\n{recorded}"


def hashes(previous: bytes, events: Iterable[tuple[bytes | None, Buffer, Buffer, Buffer, str]]) -> list[bytes]:
    """The hashes of consecutive events, each given as payload digest (None: compute it), salt, data, meta and header.

    The formulas above, inlined, because an archive has too many events for a call each.
    """
    computed = []
    for digest, salt, data, meta, head in events:
        inner = digest or sha256(b"%b%b\0%b" % (salt, data, meta)).digest()
        previous = sha256(b"%b%b%b" % (previous, inner, head.encode())).digest()
        computed.append(previous)
    return computed


def id_hash(event_id: str) -> int:
    """The 48-bit hash under which an archived event is indexed by its id."""
    return int.from_bytes(sha256(event_id.encode()).digest()[:6])
