"""Tables that fit their terminal, whatever is in them; bars, pairs and trees."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.output.tables import (
    BAR_CELLS,
    HINT_ROWS,
    Column,
    Look,
    bar,
    fit,
    local,
    pairs,
    read_model,
    shown,
    spark_lines,
    sparkline,
    table,
    tree,
)
from esctl.output.terminal import clean
from tests.output.conftest import cells

PLAIN = Look(color="never")
WIDE = Look(color="never", wide=True)


@contextmanager
def terminal(columns: int, zone: str = "UTC") -> Iterator[None]:
    """A terminal so wide, in a zone."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", str(columns))
        patched.setenv("LINES", "50")
        patched.setenv("TERM", "xterm")
        patched.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def drawn(header: list[str], rows: list[list[Any]], columns: int, look: Look = PLAIN, **more: Any) -> list[str]:
    """The lines of a table."""
    with terminal(columns):
        return "".join(table(header, rows, look, **more)).splitlines()


word = st.text(st.sampled_from("abcxyz0189-_.é漢字急須😀🫖 [/]:\\\"'{}\u202e\x1b\x9b\n\t"), max_size=30)
value = word | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False) | st.binary(max_size=8)


@st.composite
def some_rows(draw: st.DrawFn, least: int = 1) -> tuple[list[str], list[list[Any]]]:
    """A header of different names and rows as wide as it."""
    header = draw(st.lists(st.text("abcdefgh漢_", min_size=1, max_size=12), min_size=1, max_size=8, unique=True))
    row = st.tuples(*[value for _ in header]).map(list)
    return header, draw(st.lists(row, min_size=least, max_size=6))


@settings(max_examples=150)
@given(some_rows(least=0), st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal(made: tuple[list[str], list[list[Any]]], columns: int) -> None:
    lines = drawn(*made, columns)
    assert max(map(cells, lines)) <= columns
    assert len(lines) == 1 + len(made[1])  # and no row takes two


@settings(max_examples=100)
@given(some_rows(), st.integers(40, 120))
def test_wide_cuts_nothing(made: tuple[list[str], list[list[Any]]], columns: int) -> None:
    header, rows = made
    first, *lines = drawn(header, rows, columns, WIDE)
    assert all(name in first for name in header)
    for row, line in zip(rows, lines, strict=True):
        for name, item in zip(header, row, strict=True):
            assert shown(name, item, WIDE).strip() in line


@settings(max_examples=100)
@given(some_rows(), st.integers(40, 200))
def test_a_terminal_gets_nothing_that_acts_on_it(made: tuple[list[str], list[list[Any]]], columns: int) -> None:
    for look in (PLAIN, WIDE):
        for line in drawn(*made, columns, look):
            assert line == clean(line)


@settings(max_examples=60)
@given(st.lists(st.tuples(word, st.integers(-(10**6), 10**6), word), min_size=1, max_size=6))
def test_columns_are_aligned_whatever_is_in_them_and_numbers_to_the_right(rows: list[tuple[str, int, str]]) -> None:
    marked = [[f"<{clean(a)}>", n, f"<{clean(b)}>"] for a, n, b in rows]
    lines = drawn(["first", "number", "last"], marked, 200)
    texts = [str(row[1]) for row in marked]
    ends = set()
    for line, row, text in zip(lines[1:], marked, texts, strict=True):
        first, last = str(row[0]), str(row[2])
        assert line.startswith(first)
        number, _, _ = line[len(first) :].partition(last)
        assert number.strip() == text
        ends.add((cells(first + number.rstrip()), cells(first + number)))
    assert len(ends) == 1, lines


def test_numbers_are_right_aligned_and_counts_are_in_groups_of_three() -> None:
    assert drawn(["position", "events", "name"], [[5, 1234567, "a"], [12345, None, "b"]], 80) == [
        "position     events  name",
        "       5  1,234,567  a   ",
        "   12345          -  b   ",
    ]


def test_a_column_of_text_is_left_aligned_though_it_looks_like_numbers() -> None:
    assert drawn(["a"], [["1"], ["100"]], 80) == ["a  ", "1  ", "100"]


def test_what_does_not_fit_is_cut_with_a_mark_in_the_last_column_first() -> None:
    rows = [["order-1001", "x" * 100]]
    (_, line) = drawn(["stream", "data"], rows, 40)
    assert line == "order-1001  " + "x" * 27 + "…"
    (_, line) = drawn(["stream", "data"], [["s" * 60, "x" * 100]], 40)
    assert line == "s" * 29 + "…  " + "x" * 7 + "…"


def test_a_wide_character_is_not_cut_in_half() -> None:
    for columns in (40, 41):
        (_, line) = drawn(["a"], [["漢" * 50]], columns)
        assert re.fullmatch("漢{19,20}… ?", line)
        assert cells(line) <= columns


def test_spare_columns_go_before_anything_is_cut() -> None:
    header, rows = ["stream", "first", "last", "bytes"], [["s" * 20, 1234567890, 1234567890, 1234567]]
    spare = ("first", "last")
    assert drawn(header, rows, 80, spare=spare)[0].split() == header
    assert drawn(header, rows, 50, spare=spare)[0].split() == ["stream", "last", "bytes"]
    assert drawn(header, rows, 40, spare=spare)[0].split() == ["stream", "bytes"]
    assert drawn(header, rows, 40, WIDE, spare=spare)[0].split() == header


def test_no_rows_are_a_header() -> None:
    assert drawn(["position", "data"], [], 80) == ["position  data"]


@pytest.mark.parametrize(("count", "hint"), [(HINT_ROWS - 1, False), (HINT_ROWS, False), (HINT_ROWS + 1, True)])
def test_more_than_a_thousand_rows_end_with_a_hint(count: int, *, hint: bool) -> None:
    lines = drawn(["number"], [[n] for n in range(count)], 80)
    assert [int(line) for line in lines[1 : count + 1]] == list(range(count))
    assert (len(lines) == count + 2) == hint
    if hint:
        assert lines[-1].startswith(f"({count:,} rows; ")


def test_what_comes_after_the_measured_rows_fits_too_and_stands_in_the_same_columns() -> None:
    rows = [[n, "x"] for n in range(1000)] + [[n, "y" * 300] for n in range(1000, 2500)]
    lines = drawn(["n", "data"], rows, 40)
    assert len(lines) == 2502
    assert max(map(cells, lines)) <= 80
    assert {len(line.partition("y")[0]) for line in lines[1001:2501]} == {lines[1].index("x")}


def test_rows_come_block_by_block_and_are_not_all_held() -> None:
    taken = 0

    def rows() -> Iterator[list[int]]:
        nonlocal taken
        for n in range(5000):
            taken = n
            yield [n]

    with terminal(80):
        next(table(["n"], rows(), PLAIN))
    assert taken < 2000


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.integers(0, 400))
def test_widths_fit_if_they_can_and_none_grows(widths: list[int], total: int) -> None:
    fitted = fit(widths, total)
    assert len(fitted) == len(widths)
    assert all(0 <= new <= old for new, old in zip(fitted, widths, strict=True))
    assert all(new == old or new >= 8 for new, old in zip(fitted, widths, strict=True))
    assert sum(fitted) <= total or all(width <= 8 for width in fitted)
    if sum(widths) <= total:
        assert fitted == widths


def test_a_number_is_cut_only_where_nothing_else_can_shrink() -> None:
    rows = [["x" * 60, 1234567, "2026-01-31T10:20:30Z", 9876543]]
    for width, line in [
        (50, "xxxxxxxxxxxx…  1,234,567  2026-01-31     9,876,543"),
        (44, "xxxxxxxxx…  1,234,567  2026-01-31  9,876,543"),
        (30, "xxxxx…  1,234…  2026-…  9,876…"),
    ]:
        with terminal(width):
            drawn_ = "".join(table(["name", "events", "time", "bytes"], rows, PLAIN))
        assert drawn_.splitlines()[1].rstrip() == line


def test_a_bar_goes_before_its_number_is_cut() -> None:
    with terminal(24):
        drawn_ = read_model(["customer", "spent"], [["Zoë Brânză", 123456.5]], PLAIN, {"spent": Column(bar=True)}, {})
    assert drawn_.splitlines()[1].split()[-1] == "123456.5"


@pytest.mark.parametrize(
    ("zone", "local_", "utc"),
    [
        ("UTC", "2026-07-31 23:30:15Z", "2026-07-31 23:30:15Z"),
        ("CET-1CEST,M3.5.0,M10.5.0", "2026-08-01 01:30:15+02", "2026-07-31 23:30:15Z"),
        ("<+0530>-5:30", "2026-08-01 05:00:15+0530", "2026-07-31 23:30:15Z"),
        ("<-03>3", "2026-07-31 20:30:15-03", "2026-07-31 23:30:15Z"),
    ],
)
def test_times_are_local_with_their_zone_or_utc(zone: str, local_: str, utc: str) -> None:
    moment = "2026-07-31T23:30:15.987654Z"
    with terminal(80, zone):
        assert local(moment, PLAIN) == local_
        assert local(moment, Look(utc=True)) == utc
        for name in ("time", "recorded", "created"):
            assert shown(name, moment, PLAIN) == local_
        assert shown("first_time", moment, PLAIN) == local_[:16]
        assert shown("data", moment, PLAIN) == moment


@pytest.mark.parametrize("text", ["", "x", "9999-99-99", "\x1b[31m", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_shown_as_the_text_that_it_is(text: str) -> None:
    assert local(text, Look(utc=True)) == clean(text)


@pytest.mark.parametrize(
    ("name", "item", "text"),
    [("x", None, "-"), ("x", True, "yes"), ("x", False, "no"), ("x", 1234, "1234"), ("bytes", 1234, "1,234"),
     ("bytes", "1234", "1234"), ("x", b"\x00\xff", "00ff"), ("x", 1.5, "1.5"), ("x", "\x1b[1m", "\\x1b[1m")],
)  # fmt: skip
def test_how_a_value_is_shown(name: str, item: object, text: str) -> None:
    assert shown(name, item, PLAIN) == text


@given(st.dictionaries(st.text("abc漢_", min_size=1, max_size=12), word, min_size=1, max_size=6))
def test_pairs_stand_whole_below_each_other_with_their_values_aligned(record: dict[str, str]) -> None:
    with terminal(40):
        lines = pairs(record.items(), PLAIN).splitlines()
    width = max(map(cells, record))
    assert [line.rstrip() for line in lines] == [
        (name + " " * (width - cells(name)) + "  " + clean(text)).rstrip() for name, text in record.items()
    ]


@given(
    st.dictionaries(word, st.lists(st.integers(0, 10**6), min_size=48, max_size=48), min_size=1, max_size=5),
    st.integers(40, 200),
)
def test_lines_of_bars_fit_their_terminal_with_whole_sums(counts: dict[str, list[int]], columns: int) -> None:
    with terminal(columns):
        lines = list(spark_lines(counts, PLAIN))
    assert all(cells(line.rstrip("\n")) <= columns for line in lines)
    assert [line.split()[-1] for line in lines] == [f"{sum(numbers):,}" for numbers in counts.values()]


def test_names_beside_bars_are_cut_no_more_than_the_terminal_demands() -> None:
    counts = {"T06DetermineNecessityOfStopAdvice": [1] * 48}
    for columns, line in [(100, "T06DetermineNecessityOfStopAdvice  " + "█" * 48), (80, "T06DetermineNecessityOfSt…")]:
        with terminal(columns):
            assert next(spark_lines(counts, PLAIN)).startswith(line)


def test_a_sparkline_has_a_bar_a_count_and_any_count_is_seen() -> None:
    assert sparkline([0, 1, 2, 4, 8]) == " ▁▂▄█"
    assert sparkline([0, 1, 10**6]) == " ▁█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""


@given(st.lists(st.integers(0, 10**9), max_size=50))
def test_a_higher_bar_is_a_higher_count(counts: list[int]) -> None:
    line = sparkline(counts)
    assert len(line) == len(counts)
    by_count = [bar for _, bar in sorted(zip(counts, line, strict=True))]
    assert by_count == sorted(by_count)
    assert all((bar == " ") == (count == 0) for count, bar in zip(counts, line, strict=True))


def test_a_tree_is_drawn_by_depth_and_nothing_in_it_acts() -> None:
    lines = [(0, "a"), (1, "b [bold]\x1b[31m"), (2, "c"), (1, "漢"), (0, "e")]
    with terminal(60):
        assert [line.rstrip() for line in tree(lines, PLAIN).splitlines()] == [
            "a", "├── b [bold]\\x1b[31m", "│   └── c", "└── 漢", "e",
        ]  # fmt: skip


def test_a_tree_deeper_than_the_terminal_is_wide_shows_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = tree([(depth, f"#{depth}") for depth in range(200)], PLAIN)
    assert all(f"#{depth}" in text for depth in range(200))


# Read models


def modelled(header: list[str], rows: list[list[Any]], columns: int = 80, look: Look = PLAIN, **more: Any) -> list[str]:
    """The lines of a read model, without what is blank at their ends."""
    looks, totals = more.get("looks", {}), more.get("totals", {})
    with terminal(columns):
        return [line.rstrip() for line in read_model(header, rows, look, looks, totals).splitlines()]


def test_a_model_says_what_a_column_is_called_and_how_its_numbers_look() -> None:
    looks = {"spent": Column("Spent", ",.2f"), "name": Column("Customer", align="right")}
    assert modelled(["name", "spent", "n"], [["a", 1234.5, 10], ["bcd", None, 2]], looks=looks) == [
        "Customer     Spent   n", "       a  1,234.50  10", "     bcd         -   2",
    ]  # fmt: skip


@pytest.mark.parametrize("format_", ["nonsense", "d", "s", "{", ".2f}"])
def test_a_format_that_does_not_fit_a_number_shows_it_as_it_is(format_: str) -> None:
    assert modelled(["n"], [[1.5]], looks={"n": Column(format=format_)}) == ["  n", "1.5"]


def test_a_style_that_is_none_is_no_style_and_colours_are_for_those_who_want_them() -> None:
    looks = {"n": Column(style="no such style at all")}
    assert modelled(["n"], [[1]], looks=looks) == ["n", "1"]
    red = {"n": Column(style="red")}
    assert "\x1b[31m" in "".join(modelled(["n"], [[1]], look=Look(color="always"), looks=red))
    assert "\x1b" not in "".join(modelled(["n"], [[1]], looks=red))


def test_sums_stand_below_a_rule_in_the_format_of_their_column() -> None:
    looks = {"n": Column("N", ",.1f")}
    assert modelled(["a", "n"], [["x", 1000], ["y", 2]], looks=looks, totals={"n": 1002}) == [
        "a        N", "x  1,000.0", "y      2.0", "─  ───────", "   1,002.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "drawn_"),
    [(0, ""), (-5, ""), (None, ""), ("5", ""), (12, "█" * 12), (24, "█" * 12), (6, "█" * 6), (6.5, "██████▌"),
     (float("inf"), "█" * 12)],
)  # fmt: skip
def test_a_bar_is_as_long_as_its_share_of_the_largest(value: object, drawn_: str) -> None:
    assert bar(value, 12) == drawn_.ljust(BAR_CELLS)
    assert bar(value, 0) == " " * BAR_CELLS


def test_bars_stand_beside_their_numbers_below_a_head_that_is_whole() -> None:
    looks = {"n": Column("A long name", bar=True)}
    head, one, two = modelled(["n", "x"], [[1, "a"], [2, "b"]], looks=looks)
    assert head.split() == ["A", "long", "name", "x"]
    assert (one.count("█"), two.count("█")) == (6, 12)
    assert one.index("█") == two.index("█")
    assert one.rindex("a") == two.rindex("b") == head.rindex("x")


@settings(max_examples=100)
@given(some_rows(least=0), st.integers(40, 200), st.booleans())
def test_no_line_of_a_read_model_is_wider_than_the_terminal(
    made: tuple[list[str], list[list[Any]]], columns: int, bars: bool
) -> None:
    header, rows = made
    looks = {header[0]: Column(bar=bars)}
    lines = modelled(header, rows, columns, looks=looks, totals={header[-1]: 5})
    assert len(lines) == 3 + len(rows)
    assert max(map(cells, lines)) <= columns
    assert all(line == clean(line) for line in lines)


def test_wide_cuts_nothing_of_a_read_model() -> None:
    lines = modelled(["a", "b"], [["x" * 100, "y" * 100]], 40, WIDE, looks={"b": Column("L" * 120)})
    assert "…" not in "".join(lines)
