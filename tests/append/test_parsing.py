"""Lines are parsed chunk by chunk, and nobody can tell: events, numbers, errors, counts are those of single lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.append import worker
from esctl.append.ingest import Options, Tally
from esctl.append.inputs import Inputs
from esctl.append.parsing import Parsing
from esctl.errors import EsctlError
from esctl.events import lines
from esctl.events.lines import CHUNK_LINES, Defaults

forking = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of the tests' own threads
Line = bytes | None
NAMED = Defaults(stream="s", type="T")
ORDINARY: Line = b'{"id":"a","data":{"n":1}}'
WITHOUT_ID: Line = b'{"data":1}'
SOME: list[Line] = [
    ORDINARY,
    b'{"id":"b","data":{"b":"\xc3\xa9"},"expect":0}',
    b'{"id":"c","data":{"a":1,"a":1}}',
    b'{"id":"d","stream":"$esctl"}',
    b'{"id":"e","specversion":"1.0","source":"/s","type":"T","subject":"s"}',
    b'{"id":"f"',
    b"}",
    b"",
    b" \r",
    b"{}{}",
    b'[{"id":"g","specversion":"1.0","source":"/s","type":"T","subject":"s"},',
    b'{"id":"h","specversion":"1.0","source":"/s","type":"T"}]',
    None,
]
"""An ordinary line; lines that are wrong, blank, unusual, or too long."""


@contextmanager
def nothing_to_read() -> Iterator[Inputs]:
    reader, writer = os.pipe()
    os.close(writer)
    yield Inputs([reader])
    os.close(reader)


def parsed(batch: list[Line], options: Options, *, ahead: bool = False) -> object:
    """The batches of events with their line numbers, the lines that were passed over, the counts, and the error."""
    tally = Tally()
    skipped: list[EsctlError] = []
    found: list[object] = []
    with nothing_to_read() as inputs:
        parsing = Parsing(inputs, NAMED, options, tally, skipped.append, lambda: None, ahead=lambda: ahead)
        try:
            for made in parsing.batches([(1, batch), (1 + len(batch), [ORDINARY])]):
                for _ in made.more:
                    pass
                events = [event if len(event.id) == 1 else event._replace(id="") for event in made.events]
                found += [made.numbers, events]
        except EsctlError as error:
            found += [error.what, error.why, error.fix, error.again, error.details]
        finally:
            parsing.close()
        return found, [(error.what, error.details) for error in skipped], tally.invalid, tally.system


def one_by_one(batch: list[Line], options: Options) -> object:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(lines, "CHUNK_BYTES", 0)
        return parsed(batch, options)


@given(
    st.lists(st.sampled_from(SOME), max_size=6),
    st.sampled_from([0, CHUNK_LINES - 2, CHUNK_LINES]),
    st.booleans(),
    st.booleans(),
)
def test_however_lines_are_parsed_what_comes_of_them_is_the_same(
    some: list[Line], before: int, skip_invalid: bool, skip_system: bool
) -> None:
    batch, options = [ORDINARY] * before + some, Options(skip_invalid=skip_invalid, skip_system=skip_system)
    assert parsed(batch, options) == one_by_one(batch, options)


@forking
@settings(max_examples=30)
@given(st.lists(st.sampled_from(SOME), max_size=40), st.booleans(), st.booleans())
def test_what_a_second_process_parses_is_the_same(some: list[Line], skip_invalid: bool, skip_system: bool) -> None:
    batch, options = [*some, *[ORDINARY] * 20], Options(skip_invalid=skip_invalid, skip_system=skip_system)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(worker, "FIRST_LINES", 2)
        changed.setattr(worker, "PART_LINES", 5)
        assert parsed(batch, options, ahead=True) == one_by_one(batch, options)


@forking
def test_new_ids_are_in_the_order_of_the_lines_whoever_parses_them() -> None:
    batch = [WITHOUT_ID] * 5 * worker.PART_LINES
    batch[2 * worker.PART_LINES] = b""  # its part is given back
    with nothing_to_read() as inputs:
        parsing = Parsing(inputs, NAMED, Options(), Tally(), lambda _: None, lambda: None, ahead=lambda: True)
        (made,) = parsing.batches([(1, batch)])
        sizes = [len(part.events) for part in made.more if part.digests]
        parsing.close()
    assert sizes == [worker.PART_LINES] * 3 + [worker.PART_LINES - worker.FIRST_LINES]
    ids = [event.id for event in made.events]
    assert ids == sorted(set(ids))
    assert made.numbers == [n for n in range(1, len(batch) + 1) if n != 2 * worker.PART_LINES + 1]


def test_where_no_further_process_can_be_one_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    descriptors = len(os.listdir("/dev/fd"))
    with nothing_to_read() as inputs:
        parsing = Parsing(inputs, NAMED, Options(), Tally(), lambda _: None, lambda: None, ahead=lambda: True)
        (made,) = parsing.batches([(1, [WITHOUT_ID] * 5 * worker.PART_LINES)])
        parsing.close()
    assert len(made.events) == 5 * worker.PART_LINES
    assert len(os.listdir("/dev/fd")) == descriptors


@pytest.mark.parametrize("number", [1, CHUNK_LINES, CHUNK_LINES + 1, 2 * CHUNK_LINES])
def test_a_line_that_is_passed_over_has_its_number_and_the_others_theirs(number: int) -> None:
    batch: list[Line] = [ORDINARY] * 2 * CHUNK_LINES
    batch[number - 1] = b"nonsense"
    tally, skipped = Tally(), list[EsctlError]()
    with nothing_to_read() as inputs:
        parsing = Parsing(
            inputs, NAMED, Options(skip_invalid=True), tally, skipped.append, lambda: None, ahead=lambda: False
        )
        (made,) = parsing.batches([(1, batch)])
    assert made.numbers == [n for n in range(1, len(batch) + 1) if n != number]
    assert len(made.events) == len(made.numbers)
    assert [error.details["line"] for error in skipped] == [number]
