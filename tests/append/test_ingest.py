"""Streams of lines: how a pipe is cut into lines and batches, and what of it is stored when something is wrong."""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import termios
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from esctl.append.ingest import BATCH_BYTES, GATHER_SECONDS, Interrupts, Lines, Options, Tally, ingest
from esctl.append.inputs import READ_BYTES, Inputs
from esctl.append.writer import Writer
from esctl.errors import ConflictError, EsctlError, RefusedError
from esctl.events.event import Event, Receipt
from esctl.events.lines import Defaults
from esctl.events.query import Query
from esctl.log import EventLog

HUGE = 1 << 30
BOM = b"\xef\xbb\xbf"
Batch = tuple[int, list[bytes | None]]


def _unread(descriptor: int) -> int:
    """How many bytes of a pipe are still to be read."""
    size: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
    return size


def _feed(descriptor: int, writes: list[bytes], *, one_by_one: bool) -> None:
    try:
        for chunk in writes:
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
            while one_by_one and _unread(descriptor):
                time.sleep(0)
    except BrokenPipeError:
        pass  # the reader has seen enough
    finally:
        os.close(descriptor)


@contextmanager
def piped(*writes: bytes, one_by_one: bool = False) -> Iterator[Inputs]:
    """The end to read of a pipe. What fits stands in it from the start; else, or `one_by_one`, a thread fills it.

    `one_by_one`: each write has been read before the next comes.
    """
    reader, writer = os.pipe()
    threads = []
    if not one_by_one and sum(map(len, writes)) <= select.PIPE_BUF:
        _feed(writer, [*writes], one_by_one=False)
    else:
        threads = [threading.Thread(target=_feed, args=(writer, [*writes]), kwargs={"one_by_one": one_by_one})]
    for thread in threads:
        thread.start()
    try:
        yield Inputs([reader])
    finally:
        os.close(reader)
        for thread in threads:
            thread.join()


def batches_of(*writes: bytes, batch: int = 10_000, limit: int = HUGE, one_by_one: bool = False) -> list[Batch]:
    with piped(*writes, one_by_one=one_by_one) as inputs:
        return list(Lines(inputs, Interrupts(), batch=batch, limit=limit))


def lines_of(*writes: bytes, limit: int = HUGE, one_by_one: bool = False) -> list[bytes | None]:
    return [line for _, lines in batches_of(*writes, limit=limit, one_by_one=one_by_one) for line in lines]


def expected(data: bytes, limit: int = HUGE) -> list[bytes | None]:
    """The lines of an input, as anybody would cut it."""
    whole = data.split(b"\n")
    if not whole[-1]:
        whole.pop()
    lines = [line if len(line) <= limit else None for line in whole]
    if lines and lines[0] is not None:
        lines[0] = lines[0].removeprefix(BOM)
    return lines


# Lines

some_input = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"{}", BOM, b" ", b"\xc3\xa9", b"0123456789"])).map(
    b"".join
)


def chopped(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[low:high] for low, high in pairwise(places)]


@given(data=some_input, cuts=st.lists(st.integers(0, 200), max_size=12))
def test_however_the_bytes_arrive_the_lines_are_the_same(data: bytes, cuts: list[int]) -> None:
    assert lines_of(*chopped(data, cuts), one_by_one=True) == expected(data)


@given(data=some_input, cuts=st.lists(st.integers(0, 200), max_size=12), limit=st.integers(1, 12))
@example(data=b"a\n0123456789\nb\n", cuts=[], limit=5)
def test_however_the_bytes_arrive_lines_over_the_limit_are_the_same(data: bytes, cuts: list[int], limit: int) -> None:
    assert lines_of(*chopped(data, cuts), limit=limit, one_by_one=True) == expected(data, limit)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"]),
        (BOM + b"a\n" + BOM + b"b\n", [b"a", BOM + b"b"]),
        (BOM, [b""]),
        (BOM + b"\na", [b"", b"a"]),
        (b"\n" + BOM + b"a", [b"", BOM + b"a"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"a\x00b\xff\n", [b"a\x00b\xff"]),
    ],
)
def test_lines_end_at_line_feeds_alone_and_one_byte_order_mark_goes(data: bytes, lines: list[bytes | None]) -> None:
    assert lines_of(data) == lines == expected(data)


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("length", [99_999, 100_000, 100_001, 300_000])
def test_a_line_over_the_limit_comes_as_none(length: int, end: bytes) -> None:
    line = b"x" * length
    assert lines_of(b"before\n", line + end, limit=100_000) == [b"before", line if length <= 100_000 else None]


def test_after_a_line_over_the_limit_the_next_are_as_they_should_be() -> None:
    many = [b"a" * 10, b"b" * 3_000_000, b"", b"c" * 20, b"d" * 2_000_000, b"e"]
    assert lines_of(b"\n".join(many), limit=1_000_000) == [many[0], None, b"", many[3], None, b"e"]


def test_a_line_over_the_limit_is_never_held_whole() -> None:
    limit = 4 * 1024 * 1024
    megabyte = b"x" * (1024 * 1024)
    with piped(*[megabyte] * 24, b"\nafter\n") as inputs:
        lines = iter(Lines(inputs, Interrupts(), batch=10_000, limit=limit))
        tracemalloc.start()
        try:
            _, found = next(lines)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found == [None, b"after"]
    assert peak < 1.5 * limit


# Batches


@given(count=st.integers(0, 40), size=st.integers(1, 12))
def test_a_batch_has_as_many_lines_as_it_may_and_tells_the_number_of_the_first(count: int, size: int) -> None:
    lines: list[bytes | None] = [b"%d" % n for n in range(1, count + 1)]
    found = batches_of(b"".join(b"%d\n" % n for n in range(1, count + 1)), batch=size)
    assert found == [(at + 1, lines[at : at + size]) for at in range(0, count, size)]


@given(count=st.integers(0, 40), size=st.integers(1, 12), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_however_the_bytes_arrive_no_batch_is_larger_and_numbers_go_on(count: int, size: int, cuts: list[int]) -> None:
    data = b"".join(b"%d\n" % n for n in range(1, count + 1))
    found = batches_of(*chopped(data, cuts), batch=size, one_by_one=True)
    assert all(len(lines) <= size for _, lines in found)
    assert [int(line or 0) for _, lines in found for line in lines] == list(range(1, count + 1))
    assert [first for first, _ in found] == [int(lines[0] or 0) for _, lines in found]


def test_a_batch_of_large_lines_is_cut_by_its_bytes() -> None:
    line = b"x" * (1024 * 1024)
    found = batches_of(*[line + b"\n"] * 30)
    sizes = [sum(len(each or b"") for each in lines) for _, lines in found]
    assert sum(sizes) == 30 * len(line)
    assert max(sizes) < BATCH_BYTES + len(line) + READ_BYTES


def test_lines_that_come_late_are_a_batch_of_their_own() -> None:
    reader, writer = os.pipe()
    lines = iter(Lines(Inputs([reader]), Interrupts(), batch=10_000, limit=HUGE))
    os.write(writer, b"1\n2\n")
    assert next(lines) == (1, [b"1", b"2"])
    os.write(writer, b"3\n")
    os.close(writer)
    assert list(lines) == [(3, [b"3"])]
    os.close(reader)


def test_lines_that_come_soon_are_one_batch() -> None:
    def found() -> list[Batch]:
        reader, writer = os.pipe()
        os.write(writer, b"1\n2")
        late = threading.Timer(0.02, _feed, args=(writer, [b"3\n4\n"]), kwargs={"one_by_one": False})
        late.start()
        batches = list(Lines(Inputs([reader]), Interrupts(), batch=10_000, limit=HUGE))
        late.join()
        os.close(reader)
        return batches

    # One of five is enough: on a busy machine soon may become late.
    assert any(found() == [(1, [b"1", b"23", b"4"])] for _ in range(5))


def test_a_line_that_has_not_ended_waits_for_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"whole\nhal")
    lines = iter(Lines(Inputs([reader]), Interrupts(), batch=10_000, limit=HUGE))
    assert next(lines) == (1, [b"whole"])
    os.write(writer, b"f\n")
    os.close(writer)
    assert list(lines) == [(2, [b"half"])]
    os.close(reader)


def test_a_pipe_that_stays_open_is_given_within_200_ms() -> None:
    reader, writer = os.pipe()
    lines = iter(Lines(Inputs([reader]), Interrupts(), batch=10_000, limit=HUGE))
    waited = []
    for n in range(1, 6):
        started = time.monotonic()
        os.write(writer, b"%d\n" % n)
        assert next(lines) == (n, [b"%d" % n])
        waited.append(time.monotonic() - started)
    os.close(writer)
    os.close(reader)
    assert min(waited) < 0.2  # the best of five: what else this machine does is not the rule


def test_a_pipe_that_never_pauses_is_given_within_200_ms() -> None:
    reader, writer = os.pipe()
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.005):
            os.write(writer, b"line\n")
        os.close(writer)

    thread = threading.Thread(target=trickle)
    thread.start()
    lines = iter(Lines(Inputs([reader]), Interrupts(), batch=10_000, limit=HUGE))
    waited = []
    for _ in range(5):
        started = time.monotonic()
        assert next(lines)[1]
        waited.append(time.monotonic() - started)
    stop.set()
    assert [line for _, rest in lines for line in rest if line != b"line"] == []
    thread.join()
    os.close(reader)
    assert min(waited) < 0.2


def test_a_full_batch_does_not_wait() -> None:
    waited = []
    for _ in range(5):
        reader, writer = os.pipe()
        os.write(writer, b"1\n2\n3\n")
        started = time.monotonic()
        assert next(iter(Lines(Inputs([reader]), Interrupts(), batch=3, limit=HUGE))) == (1, [b"1", b"2", b"3"])
        waited.append(time.monotonic() - started)
        os.close(writer)
        os.close(reader)
    assert min(waited) < GATHER_SECONDS / 2


# Ingest


class Run:
    """What became of an input: the receipts of each transaction, the tally, what was skipped, and the error."""

    def __init__(self) -> None:
        self.receipts: list[list[Receipt]] = []
        self.tally = Tally()
        self.skipped: list[EsctlError] = []
        self.error: EsctlError | None = None


def run(path: Path, data: bytes, defaults: Defaults | None = None, **options: Any) -> Run:
    """Feed a log from a pipe, as `append` does."""
    told = Run()
    with EventLog(path, write=True) as log, piped(data) as inputs:
        made = ingest(Writer(log), inputs, defaults or Defaults(), Options(**options), told.tally, told.skipped.append)
        try:
            told.receipts.extend(made)
        except EsctlError as error:
            told.error = error
    return told


def stored(path: Path) -> list[Event]:
    with EventLog(path) as log:
        return [event for event, _, _ in log.read(Query())]


def ids(path: Path) -> list[str]:
    return [event[3] for event in stored(path)]


def line(n: int | str, stream: str = "order-1", **more: object) -> bytes:
    return json.dumps({"stream": stream, "type": "OrderPlaced", "id": f"id-{n}", "data": {"n": n}, **more}).encode()


def good(*numbers: int) -> list[bytes]:
    return [line(n) for n in numbers]


def joined(*lines: bytes) -> bytes:
    return b"".join(each + b"\n" for each in lines)


@pytest.mark.parametrize(
    ("bad", "again"), [(b"nonsense", "--skip-invalid"), (line(9, kye=1), "--extra meta")], ids=["no JSON", "a key"]
)
@pytest.mark.parametrize("batch", [1, 2, 3, None])
def test_the_same_again_is_advised_only_where_nothing_would_be_stored_twice(
    log_path: Path, bad: bytes, again: str, batch: int | None
) -> None:
    error = run(log_path, joined(*good(1, 2), bad), batch=batch).error
    assert error is not None
    if batch in (1, 2):
        assert (error.fix, error.again) == ("", None)
        assert error.why.endswith("; 2 events before it are stored: continue after them")
    else:
        assert (error.fix, error.again) == ("", again)


@pytest.mark.parametrize(
    "data",
    [
        joined(*good(1, 2, 3)),
        joined(*good(1, 2, 3))[:-1],
        BOM + joined(*good(1, 2, 3)),
        joined(*good(1, 2, 3)).replace(b"\n", b"\r\n"),
        joined(b"", *good(1), b"  ", b"\r", *good(2, 3), b"\t"),
    ],
    ids=["plain", "no last LF", "BOM", "CRLF", "blank lines"],
)
@pytest.mark.parametrize("batch", [1, 2, 10_000, None])
def test_every_line_is_an_event(log_path: Path, data: bytes, batch: int | None) -> None:
    told = run(log_path, data, batch=batch)
    assert told.error is None
    assert [(e[3], e[8], e[9]) for e in stored(log_path)] == [(f"id-{n}", f'{{"n": {n}}}', "{}") for n in (1, 2, 3)]
    assert told.tally.record() == {"appended": 3, "duplicates": 0, "first_position": 1, "last_position": 3}


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n \n", BOM])
@pytest.mark.parametrize("batch", [1, None])
def test_an_input_without_events_stores_nothing_and_is_no_error(log_path: Path, data: bytes, batch: int | None) -> None:
    told = run(log_path, data, batch=batch)
    assert told.error is None
    assert told.tally.record() == {"appended": 0, "duplicates": 0, "first_position": None, "last_position": None}
    assert stored(log_path) == []


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7])])
def test_each_batch_is_a_transaction_with_its_receipts(log_path: Path, batch: int, sizes: list[int]) -> None:
    told = run(log_path, joined(*good(*range(7))), batch=batch)
    assert [len(receipts) for receipts in told.receipts] == sizes
    events = stored(log_path)
    assert [receipt for receipts in told.receipts for receipt in receipts] == [
        (e[0], e[1], e[2], e[3], False) for e in events
    ]
    assert len({event[7] for event in events}) == len(sizes)


def test_a_batch_is_durable_when_its_receipts_are_given(log_path: Path) -> None:
    with (
        EventLog(log_path, write=True) as log,
        EventLog(log_path) as other,
        piped(joined(*good(1, 2, 3))) as inputs,
    ):
        for receipts in ingest(Writer(log), inputs, Defaults(), Options(batch=1), Tally(), lambda _: None):
            assert other.head()[0] == receipts[-1][0]
        assert other.head()[0] == 3


BAD: dict[str, tuple[bytes, type[EsctlError], int | None]] = {
    "not JSON": (b"{nonsense}", RefusedError, 2),
    "cut off": (b'{"stream":"order-1"', RefusedError, 19),
    "not UTF-8": (b'{"stream":"\xff","type":"T"}', RefusedError, 12),
    "no type": (b'{"stream":"order-1"}', RefusedError, None),
    "unknown key": (b'{"stream":"order-1","type":"T","dat":{}}', RefusedError, None),
    "own stream": (b'{"stream":"$esctl","type":"T"}', RefusedError, None),
    "expectation": (line("new", expect=77), ConflictError, None),
    "taken id": (line(0, data={"n": "other"}), ConflictError, None),
}
"""A bad line, its error, and the byte (from 1) that is to blame where that can be told."""

every_bad_line = pytest.mark.parametrize("bad", BAD)


@every_bad_line
@pytest.mark.parametrize("place", [0, 1, 4, 5, 6, 8])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_before_a_bad_line_stand_and_its_own_does_not(log_path: Path, bad: str, place: int, batch: int) -> None:
    run(log_path, joined(line(0)))
    lines = good(*range(1, 9))
    lines.insert(place, BAD[bad][0])
    told = run(log_path, joined(*lines), batch=batch)
    kept = place // batch * batch
    assert ids(log_path) == [f"id-{n}" for n in range(kept + 1)]
    assert told.tally.record() == {
        "appended": kept,
        "duplicates": 0,
        "first_position": 2 if kept else None,
        "last_position": kept + 1 if kept else None,
    }


@every_bad_line
@pytest.mark.parametrize("batch", [1, 3, 100, None])
def test_the_error_names_the_line_and_the_byte_where_it_is_known(log_path: Path, bad: str, batch: int | None) -> None:
    text, error, byte = BAD[bad]
    told = run(log_path, joined(line(0), b"", *good(1, 2), b"  ", text, *good(3)), batch=batch)
    assert type(told.error) is error
    assert told.error is not None
    assert told.error.details["line"] == 6
    assert told.error.details.get("byte") == byte
    assert "index" not in told.error.details


@every_bad_line
def test_an_atomic_run_stores_all_or_nothing(log_path: Path, bad: str) -> None:
    run(log_path, joined(line(0)))
    told = run(log_path, joined(*good(*range(1, 9)), BAD[bad][0]), batch=None)
    assert told.error is not None
    assert ids(log_path) == ["id-0"]
    assert told.tally.record()["appended"] == 0


def test_an_atomic_run_is_one_transaction_however_long(log_path: Path) -> None:
    run(log_path, joined(*good(*range(12_000))), batch=None)
    assert len(stored(log_path)) == 12_000
    assert len({event[7] for event in stored(log_path)}) == 1


@pytest.mark.parametrize("batch", [1, 2, 100, None])
def test_lines_that_are_refused_can_be_skipped(log_path: Path, batch: int | None) -> None:
    refused = [text for text, error, _ in BAD.values() if error is RefusedError]
    told = run(log_path, joined(*good(1), *refused, *good(2, 3), b"nonsense"), batch=batch, skip_invalid=True)
    assert told.error is None
    assert ids(log_path) == ["id-1", "id-2", "id-3"]
    assert [error.details["line"] for error in told.skipped] == [*range(2, 2 + len(refused)), 4 + len(refused)]
    assert (told.tally.appended, told.tally.invalid) == (3, len(refused) + 1)


@pytest.mark.parametrize("batch", [1, 100, None])
def test_a_conflict_is_not_skipped(log_path: Path, batch: int | None) -> None:
    told = run(log_path, joined(*good(1), line(1, data={})), batch=batch, skip_invalid=True)
    assert isinstance(told.error, ConflictError)
    assert told.skipped == []


@pytest.mark.parametrize("batch", [1, 2, None])
def test_a_dry_run_stores_nothing_and_tells_what_would_be(log_path: Path, batch: int | None) -> None:
    run(log_path, joined(line(1)))
    told = run(log_path, joined(*good(1, 2, 3)), batch=batch, dry_run=True, receipts=True)
    assert ids(log_path) == ["id-1"]
    assert told.tally.record() == {"appended": 2, "duplicates": 1, "first_position": 1, "last_position": 3}
    assert [receipt[2:] for receipts in told.receipts for receipt in receipts] == [
        (1, "id-1", True), (2, "id-2", False), (3, "id-3", False),
    ]  # fmt: skip


@every_bad_line
def test_a_dry_run_finds_what_a_run_would_find(log_path: Path, bad: str) -> None:
    run(log_path, joined(line(0)))
    told = run(log_path, joined(*good(1, 2), BAD[bad][0]), batch=1, dry_run=True)
    assert type(told.error) is BAD[bad][1]
    assert told.error is not None
    assert told.error.details["line"] == 3


@pytest.mark.parametrize("receipts", [False, True])
def test_an_atomic_run_gives_receipts_if_they_are_asked_for(log_path: Path, receipts: bool) -> None:
    told = run(log_path, joined(*good(1, 2)), batch=None, receipts=receipts)
    assert [receipt[3] for made in told.receipts for receipt in made] == (["id-1", "id-2"] if receipts else [])


@pytest.mark.parametrize("batch", [1, 2, 100, None])
def test_everything_again_is_duplicates(log_path: Path, batch: int | None) -> None:
    data = joined(*good(*range(5)))
    run(log_path, data)
    before = stored(log_path)
    told = run(log_path, data, batch=batch)
    assert told.tally.record() == {"appended": 0, "duplicates": 5, "first_position": 1, "last_position": 5}
    assert stored(log_path) == before


@pytest.mark.parametrize("batch", [1, 2, 100, None])
def test_a_run_that_expects_none_may_write_many_events_of_a_stream(log_path: Path, batch: int | None) -> None:
    told = run(log_path, joined(*good(1, 2, 3), line(4, "order-2"), *good(5)), batch=batch, expect="none")
    assert told.error is None
    assert len(ids(log_path)) == 5


@pytest.mark.parametrize("batch", [1, 2, 100, None])
@pytest.mark.parametrize("done", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("expect", ["none", 0])
def test_a_run_that_expects_none_may_be_tried_again(
    log_path: Path, batch: int | None, done: int, expect: int | str
) -> None:
    lines = [line(n, f"order-{n % 2}") for n in range(5)]
    run(log_path, joined(*lines[:done]), expect=expect)
    told = run(log_path, joined(*lines), batch=batch, expect=expect)
    assert told.error is None
    assert (told.tally.duplicates, told.tally.appended) == (done, 5 - done)
    assert ids(log_path) == [f"id-{n}" for n in range(5)]


@pytest.mark.parametrize("batch", [1, 2, 100, None])
def test_a_run_whose_expectation_fails_names_the_line_and_the_stream(log_path: Path, batch: int | None) -> None:
    run(log_path, joined(line(0, "order-2")))
    told = run(log_path, joined(*good(1, 2), line(3, "order-2")), batch=batch, expect="none")
    assert isinstance(told.error, ConflictError)
    details = told.error.details
    assert (details["line"], details["stream"], details["actual"]) == (3, "order-2", 1)


@pytest.mark.parametrize("expect", [None, "any"])
def test_a_run_that_expects_nothing_appends_to_what_is_there(log_path: Path, expect: str | None) -> None:
    run(log_path, joined(line(0)))
    assert run(log_path, joined(*good(1, 2)), expect=expect).tally.appended == 2


def test_a_line_over_the_limit_is_refused_with_its_number(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_MAX_EVENT", "1000")
    told = run(log_path, joined(*good(1), line(2, data="x" * 1000), *good(3)), skip_invalid=True)
    assert [error.details["line"] for error in told.skipped] == [2]
    assert "larger than 1000 bytes" in told.skipped[0].what
    assert ids(log_path) == ["id-1", "id-3"]


def test_a_line_of_many_reads_over_the_limit_is_refused_with_its_number(log_path: Path) -> None:
    large = b'{"stream":"order-1","type":"T","data":"' + b"x" * (16 * 1024 * 1024) + b'"}'
    told = run(log_path, joined(*good(1), large, *good(3)), skip_invalid=True)
    assert [error.details["line"] for error in told.skipped] == [2]
    assert ids(log_path) == ["id-1", "id-3"]


def test_lines_get_what_they_lack_from_the_defaults(log_path: Path) -> None:
    defaults = Defaults(stream="app-1", type="Said", schema=3, meta={"actor": Raw(b'"cron"')})
    run(log_path, joined(b'{"data":1}', b'{"stream":"app-2","data":2,"schema":1}'), defaults)
    assert [(e[1], e[4], e[5], e[8], e[9]) for e in stored(log_path)] == [
        ("app-1", "Said", 3, "1", '{"actor":"cron"}'),
        ("app-2", "Said", 1, "2", '{"actor":"cron"}'),
    ]


def test_whole_lines_may_be_payloads(log_path: Path) -> None:
    payloads = [b'{"stream":"x"}', b"[1.0, 2]", b'"text"', b"1E400"]
    run(log_path, joined(*payloads), Defaults(stream="app-1", type="Said", payload=True))
    assert [e[8].encode() for e in stored(log_path)] == payloads


def test_an_endless_pipe_is_acknowledged_while_it_runs(log_path: Path) -> None:
    reader, writer = os.pipe()
    with EventLog(log_path, write=True) as log:
        made = ingest(Writer(log), Inputs([reader]), Defaults(), Options(), Tally(), lambda _: None)
        for n in range(1, 4):
            os.write(writer, joined(line(n)))
            assert [receipt[3] for receipt in next(made)] == [f"id-{n}"]
        os.close(writer)
        assert list(made) == []
    os.close(reader)
