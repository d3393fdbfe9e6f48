"""gzip and zstd as streams: the same bytes come out however they come in, in little memory, and damage is noticed."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import pytest
import zstandard  # noqa: TID253 - no start-up is to be saved here
from hypothesis import given
from hypothesis import strategies as st

from esctl.append.unpacking import packing, unpacker
from esctl.errors import RefusedError

SKIPPABLE = b"\x5d\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"{} ignore"
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
either = pytest.mark.parametrize("name", PACK)


def unpacked(name: str, chunks: Iterable[bytes]) -> bytes:
    """What comes out; raises EOFError if the stream is not at its end."""
    stream, out = unpacker(name), []
    for chunk in chunks:
        stream.feed(chunk)
        while stream.pending:
            out.append(stream.take())
    if not stream.complete:
        raise EOFError
    return b"".join(out)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(
    name=st.sampled_from(list(PACK)),
    parts=st.lists(st.binary(max_size=40) | st.integers(1, 600_000).map(lambda n: b"ab" * n), min_size=1, max_size=4),
    size=st.sampled_from([1, 7, 1000, 1 << 20]),
    end=st.integers(0, 3),
)
def test_parts_one_after_the_other_are_one_stream(name: str, parts: list[bytes], size: int, end: int) -> None:
    between = SKIPPABLE if name == "zstd" else b""
    packed = between.join(PACK[name](part) for part in parts) + (b"\0" * 512 if name == "gzip" else SKIPPABLE) * end
    assert unpacked(name, cut(packed, size)) == b"".join(parts)


@either
def test_what_unpacks_to_very_much_takes_little_memory(name: str) -> None:
    packed = PACK[name](bytes(200_000_000))
    stream, size = unpacker(name), 0
    tracemalloc.start()
    try:
        stream.feed(packed)
        while stream.pending:
            size += len(stream.take())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 200_000_000
    assert peak < 100_000_000


@either
def test_what_is_cut_off_is_not_complete(name: str) -> None:
    packed = PACK[name](b"abc" * 1000)
    for size in range(1, len(packed)):
        with pytest.raises(EOFError):
            unpacked(name, [packed[:size]])


@either
@pytest.mark.parametrize("behind", [b"garbage that is neither", None])
def test_damage_is_refused(name: str, behind: bytes | None) -> None:
    packed = PACK[name](bytes(range(256)) * 100)
    damaged = packed + behind if behind else packed[: len(packed) // 2] + b"\xff" * 40 + packed[len(packed) // 2 :]
    with pytest.raises(RefusedError, match="cannot decompress") as refused:
        unpacked(name, [damaged])
    assert refused.value.why.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (SKIPPABLE, "zstd"),
        (b"", None),
        (b"\x1f", None),
        (b"\x28\xb5\x2f", None),
        (b"\x5b", None),
        (b"[*", None),
        (b"[{", "plain"),
        (b"{", "plain"),
        (b"\x1f\x8c", "plain"),
    ],
)
def test_the_first_bytes_say_what_it_is_or_that_more_are_needed(head: bytes, name: str | None) -> None:
    assert packing(head) == name


@pytest.mark.parametrize("size", [1_000_000, 262_144, 5_000_000])
def test_all_that_came_is_given_before_more_is_waited_for(size: int) -> None:
    packer = zlib.compressobj(wbits=31)
    stream, given_bytes = unpacker("gzip"), 0
    stream.feed(packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH))
    while stream.pending:
        given_bytes += len(stream.take())
    assert given_bytes == size
    assert not stream.complete
