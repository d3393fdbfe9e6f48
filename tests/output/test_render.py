"""Records, events and tables are printed in every format."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esctl.events.event import FIELDS, Event, Head, Receipt, SealedEvent
from esctl.output import console, render
from tests.output.conftest import acts, printed
from tests.strategies import RECORDS, WORDS

# Records

TWO: list[dict[str, object]] = [
    {"position": 1, "stream": 'o"1\x1b', "duplicate": False, "id": None},
    {"position": 22, "stream": "é,\t", "duplicate": True, "id": "x"},
]
ONE_LINE = '{"position":1,"stream":"o\\"1\\u001b","duplicate":false,"id":null}'
OTHER_LINE = '{"position":22,"stream":"é,\\t","duplicate":true,"id":"x"}'
RENDERED = {
    "ndjson": f"{ONE_LINE}\n{OTHER_LINE}\n",
    "raw": f"{ONE_LINE}\n{OTHER_LINE}\n",
    "json": f"[\n{ONE_LINE},\n{OTHER_LINE}\n]\n",
    "table": """position 1 · stream o"1\\x1b · duplicate no · id -
position 22 · stream é,\\t · duplicate yes · id x
""",
    "csv": 'position,stream,duplicate,id\n1,"o""1\x1b",false,\n22,"é,\t",true,x\n',
    "tsv": 'position\tstream\tduplicate\tid\n1\t"o""1\x1b"\tfalse\t\n22\t"é,\t"\ttrue\tx\n',
}


@pytest.mark.parametrize(("format_", "expected"), RENDERED.items())
def test_records_are_printed_in_every_format(format_: str, expected: str) -> None:
    assert printed(render.records, iter(TWO), format_).decode() == expected


@pytest.mark.parametrize(
    ("format_", "expected"),
    [("ndjson", b""), ("raw", b""), ("table", b""), ("csv", b""), ("tsv", b""), ("json", b"[]\n")],
)
def test_no_records_are_printed_as_nothing(format_: str, expected: bytes) -> None:
    assert printed(render.records, [], format_) == expected


@given(st.lists(RECORDS, max_size=4))
def test_records_as_json_are_one_array(records: list[dict[str, object]]) -> None:
    assert json.loads(printed(render.records, records, "json")) == records


@pytest.mark.parametrize("format_", ["ndjson", "table"])
def test_a_record_is_with_the_reader_before_the_next_is_made(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    arrived = []

    def made() -> Iterator[dict[str, object]]:
        for n in range(3):
            yield {"position": n}
            arrived.append(os.read(reading, 1000))

    with os.fdopen(writing, "w") as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        render.records(made(), format_)
    os.close(reading)
    assert [str(n).encode() in chunk for n, chunk in enumerate(arrived)] == [True, True, True]


def test_a_receipt_names_what_became_of_an_event() -> None:
    made = render.receipt(Receipt(7, "order-1", 2, "e", True))
    assert list(made.items()) == [
        ("position", 7), ("stream", "order-1"), ("version", 2), ("id", "e"), ("duplicate", True)
    ]  # fmt: skip


def test_a_head_is_its_position_and_its_hash() -> None:
    assert printed(render.head, Head(12, bytes(31) + b"\xab", "then")) == b"12:" + b"00" * 31 + b"ab\n"


REPORT: dict[str, object] = {
    "ok": False,
    "mode": "full",
    "events": 3,
    "head": "3:ab",
    "findings": [
        {"check": "chain", "position": 2, "problem": "the hash \x1b"},
        {"check": "sqlite", "position": None, "problem": "torn"},
    ],
    "notes": [{"check": "keys", "position": 3, "problem": "twice"}],
}


@pytest.mark.parametrize("format_", ["ndjson", "raw"])
def test_a_verification_is_one_record(format_: str) -> None:
    assert json.loads(printed(render.verification, REPORT, format_)) == REPORT


def test_a_verification_on_a_terminal_is_a_line_and_tables_of_findings_and_notes() -> None:
    first, header, *rows = printed(render.verification, REPORT, "table").decode().splitlines()
    assert first == "ok no · mode full · events 3 · head 3:ab"
    assert header.split() == ["check", "position", "problem"]
    assert [row.split()[0] for row in rows] == ["chain", "sqlite", "check", "keys"]
    assert "the hash \\x1b" in rows[0]


def test_a_verification_that_found_nothing_has_no_table() -> None:
    shown = printed(render.verification, {"ok": True, "findings": [], "notes": []}, "table")
    assert shown == b"ok yes\n"


# Events


def sealed(*names: str, data: str = "{}") -> list[SealedEvent]:
    moment = "2026-01-31T09:30:00.123456Z"
    return [
        SealedEvent(Event(n, name, 1, f"e{n}", name, 1, moment, moment, data, "{}"), bytes([n]) * 16, bytes([n]) * 32)
        for n, name in enumerate(names, 1)
    ]


@given(st.lists(st.lists(WORDS.map(json.dumps), min_size=1, max_size=4), max_size=4))
def test_lines_as_json_are_one_array(chunks: list[list[str]]) -> None:
    joined = ["".join(f"{line}\n" for line in chunk).encode() for chunk in chunks]
    shown = printed(render.lines, joined, "json")
    assert json.loads(shown) == [json.loads(line) for chunk in chunks for line in chunk]
    assert shown.endswith(b"]\n")


@pytest.mark.parametrize("format_", ["ndjson", "raw"])
def test_lines_are_printed_as_they_are(format_: str) -> None:
    assert printed(render.lines, [b'{"a": 1}\n{}\n', b"\xff\n"], format_) == b'{"a": 1}\n{}\n\xff\n'


@pytest.mark.parametrize(("format_", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("hashes", [False, True])
def test_separated_events_have_the_fields_and_what_they_hold(format_: str, delimiter: str, hashes: bool) -> None:
    events = sealed('a"b', "c,d\te", "f\\é", data='{"x": "y,\t"}')
    shown = printed(render.events, iter(events), format_, hashes=hashes).decode()
    header, *rows = csv.reader(io.StringIO(shown, newline=""), delimiter=delimiter)
    assert header == [*FIELDS, *(("salt", "hash") if hashes else ())]
    assert rows == [[*map(str, event), *((salt.hex(), hash_.hex()) if hashes else ())] for event, salt, hash_ in events]
    assert "\r" not in shown


NAMES = st.text(st.sampled_from("\"\\,;' é😀\u2028[") | st.characters(exclude_categories=("Cs", "Cc")), max_size=8)


@pytest.mark.parametrize(("format_", "delimiter"), [("csv", ","), ("tsv", "\t")])
@given(names=st.lists(NAMES, min_size=1, max_size=3), data=NAMES.map(lambda name: f'{{"a":\t"{name}"\t,}}'))
def test_any_text_comes_back_from_what_is_separated(format_: str, delimiter: str, names: list[str], data: str) -> None:
    shown = printed(render.events, sealed(*names, data=data), format_, hashes=False).decode()
    _, *rows = csv.reader(io.StringIO(shown, newline=""), delimiter=delimiter)
    assert [(row[1], row[8]) for row in rows] == [(name, data) for name in names]


def test_a_table_of_events_shows_what_people_look_for() -> None:
    header, row = printed(render.events, sealed("order-1", data='{"a":1}'), "table", hashes=False).decode().splitlines()
    assert header.split() == ["position", "time", "stream", "version", "type", "data"]
    assert row.split() == ["1", "2026-01-31", "09:30:00Z", "order-1", "1", "order-1", '{"a":1}']


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\u00a0=1"])
def test_what_a_spreadsheet_would_run_is_defused_where_it_is_asked_for(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed(render.rows, ["a"], [(cell,), ("b",), (-1,)], "tsv").decode() == f"a\n{cell}\nb\n-1\n"
    monkeypatch.setattr(console, "settings", console.Settings(safe_csv=True))
    assert printed(render.rows, ["a"], [(cell,), ("b",), (-1,)], "tsv").decode() == f"a\n'{cell}\nb\n-1\n"


# Tables


@given(st.lists(st.tuples(WORDS, st.text(max_size=300)), max_size=4))
@example([("\x1b[2J", "\u202e")])
@example([("[bold]", "[/] [link=http://x]y[/link] :smile:")])
@example([("[", "\\[")])
def test_a_table_never_acts_and_never_wraps(rows: list[tuple[str, str]]) -> None:
    shown = printed(render.rows, ["name", "data"], rows, "table").decode()
    assert shown.endswith("\n")
    assert shown.count("\n") == len(rows) + 1
    assert [c for c in shown if acts(c) and c != "\n"] == []


@pytest.mark.parametrize("cell", ["[bold]x[/bold]", "[/]", "[link=http://x]y[/link]", ":smile:", "\\[a]", "[red"])
def test_a_cell_is_never_markup(cell: str) -> None:
    assert cell in printed(render.rows, ["a", "b"], [(cell, cell)], "table").decode()


@pytest.mark.parametrize("width", [20, 40, 120])
def test_a_table_fits_the_terminal_and_says_where_it_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = printed(render.rows, ["id", "data"], [("a", "x" * 500), ("b", "😀" * 100)], "table").decode().splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert [line.rstrip().endswith("…") for line in lines] == [False, True, True]
    assert [line[0] for line in lines[1:]] == ["a", "b"]


def test_numbers_of_a_table_stand_to_the_right() -> None:
    lines = printed(render.rows, ["position", "data"], [(1, "x"), (1000, "y")], "table").decode().splitlines()
    assert [line.index(cell) for line, cell in zip(lines[1:], ("1 ", "1000"), strict=True)] == [7, 4]


@pytest.mark.parametrize(
    ("choice", "environment", "coloured"),
    [
        ("auto", {}, False),
        ("always", {}, True),
        ("never", {}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("auto", {"TERM": "dumb"}, False),
    ],
)
def test_a_table_is_coloured_where_it_is_wanted(
    choice: str, environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(console, "settings", console.Settings(color=choice))
    assert (b"\x1b[" in printed(render.rows, ["a"], [("b",)], "table")) is coloured


# Read models


def test_a_read_model_is_drawn_with_the_columns_that_its_model_describes_in_whatever_case() -> None:
    looks = {"Spent": {"label": "Geld", "format": ",.2f"}}
    drawn = render.read_model(["name", "spent"], [["a", 1.5]], looks, {"spent": 1.5}, ["SPENT"])
    head, row, _, total = (line.split() for line in drawn.splitlines())
    assert (head, row, total) == (["name", "Geld"], ["a", "1.50", "█" * 12], ["1.50"])
