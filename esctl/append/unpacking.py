"""Decompress gzip and zstd as a stream, in little memory."""

from __future__ import annotations

import zlib

from esctl.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Unpacker(Protocol):
        """Decompresses a stream: `feed` it bytes, then `take` while `pending`. `complete`: it may end here."""

        @property
        def pending(self) -> bool:
            """Whether `take` has something to do."""

        @property
        def complete(self) -> bool:
            """Whether nothing is missing at the end."""

        def feed(self, packed: bytes) -> None:
            """Add compressed bytes."""

        def take(self) -> bytes:
            """Decompress some of what was fed; perhaps no bytes. Raises RefusedError."""


TAKEN_BYTES = 256 * 1024  # `take` gives about so many
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))
_MAGIC = (_GZIP, _ZSTD, *_ZSTD_SKIPPABLE)
_ZSTD_STEP = 1024  # bytes of zstd that are decompressed at once: they give at most 32 MiB
_GZIP_WINDOW = 31  # zlib's way to say: gzip


def packing(head: bytes) -> str | None:
    """What the first bytes of an input say: gzip, zstd, plain, or None: more bytes have to come to say it."""
    for magic in _MAGIC:
        if head.startswith(magic):
            return "gzip" if magic == _GZIP else "zstd"
    return None if any(magic.startswith(head) for magic in _MAGIC) else "plain"


def unpacker(name: str) -> Unpacker:
    """What decompresses `gzip` or `zstd`."""
    return _Gzip() if name == "gzip" else _Zstd()


class _Gzip:
    """gzip, of one or more members one after the other, with or without zeros behind them."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._packed = b""
        self._more = False
        self.complete = False

    @property
    def pending(self) -> bool:
        return bool(self._packed) or self._more

    def feed(self, packed: bytes) -> None:
        self._packed += packed

    def take(self) -> bytes:
        if self.complete:
            self._packed = self._packed.lstrip(b"\0")  # what tapes and `dd` add
            if not self._packed:
                return b""
            self._member, self.complete = zlib.decompressobj(_GZIP_WINDOW), False
        try:
            out = self._member.decompress(self._packed, TAKEN_BYTES)
        except zlib.error as error:
            raise RefusedError("cannot decompress the input", why=f"gzip: {_reason(error)}") from error
        self.complete = self._member.eof
        self._packed = self._member.unused_data if self.complete else self._member.unconsumed_tail
        self._more = len(out) == TAKEN_BYTES and not self.complete
        return out


class _Zstd:
    """zstd, of one or more frames one after the other, with skippable frames between them."""

    def __init__(self) -> None:
        import zstandard

        self._failure = zstandard.ZstdError
        self._begin = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._begin()
        self._packed = memoryview(b"")
        self.complete = False

    @property
    def pending(self) -> bool:
        return bool(self._packed)

    def feed(self, packed: bytes) -> None:
        self._packed = memoryview(bytes(self._packed) + packed)

    def take(self) -> bytes:
        parts, size = [], 0
        while self._packed and size < TAKEN_BYTES:
            if self.complete:
                self._frame, self.complete = self._begin(), False
            step = self._packed[:_ZSTD_STEP]
            try:
                out = self._frame.decompress(step)
            except self._failure as error:
                raise RefusedError("cannot decompress the input", why=f"zstd: {_reason(error)}") from error
            self.complete = self._frame.eof
            self._packed = self._packed[len(step) - len(self._frame.unused_data) :]
            parts.append(out)
            size += len(out)
        return b"".join(parts)


def _reason(error: Exception) -> str:
    """The last part of a library's message, which says what is wrong."""
    return str(error).rpartition(": ")[2]
