"""The hash chain: what makes an altered, missing or reordered event show.

The formula is a contract, told in full by `esctl help format`; golden vectors in the tests hold it.
"""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256  # noqa: PLC0414 - others may use the one that is chosen here
    from typing import Any

    Buffer = Any  # bytes, or what gives them
else:
    try:  # CPython's own SHA-256, by its name in 3.12 and later: loading OpenSSL's takes a tenth of a cold start
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:  # a Python that has OpenSSL's alone
            from hashlib import sha256

DOMAIN = b"esctl/1/"
SALT_BYTES = 16


def for_many() -> None:
    """Hash with OpenSSL from here on: over three times as fast an event, once it is loaded."""
    from hashlib import sha256  # noqa: PLC0415 - OpenSSL

    globals()["sha256"] = sha256


def genesis(log_id: str) -> bytes:
    """The hash that stands before the first event of a log (32 bytes)."""
    return sha256(DOMAIN + log_id.encode()).digest()


def created_digest(log_id: str, created: str) -> bytes:
    """What covers the moment at which a log was made, which the chain does not (32 bytes)."""
    return sha256(f"{log_id}\n{created}".encode()).digest()


def payload_digest(salt: bytes, data: bytes, meta: bytes) -> bytes:
    """The digest of what erasure may remove: salt, data and meta as the UTF-8 of their stored text (32 bytes)."""
    return sha256(b"%b%b\0%b" % (salt, data, meta)).digest()


def event_hash(previous: bytes, digest: bytes, header: str) -> bytes:
    """The hash of an event from the one before it, its payload's digest and its header (32 bytes)."""
    return sha256(b"%b%b%b" % (previous, digest, header.encode())).digest()


def header(
    position: int, stream: str, version: int, event_id: str, type_: str, schema: int, time: str, recorded: str
) -> str:
    """The part of an event that stays for ever. Its lines cannot be confused: names hold no control characters."""
    return f"{position}\n{stream}\n{version}\n{event_id}\n{type_}\n{schema}\n{time}\n{recorded}"


def hashes(previous: bytes, events: Iterable[tuple[bytes | None, Buffer, Buffer, Buffer, str]]) -> list[bytes]:
    """The hashes of events that follow each other: of each its digest (None: from what comes next), salt, data,
    meta and header. The formulas of above without a call for each, for the many events of an archive.
    """
    made = []
    for digest, salt, data, meta, head in events:
        inner = digest or sha256(b"%b%b\0%b" % (salt, data, meta)).digest()
        previous = sha256(b"%b%b%b" % (previous, inner, head.encode())).digest()
        made.append(previous)
    return made


def id_hash(event_id: str) -> int:
    """48 bits by which an archived event is found again by its id."""
    return int.from_bytes(sha256(event_id.encode()).digest()[:6])
