"""Lines grouped and added up: sums that are exact, groups that are told apart, and what is refused."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import RefusedError
from esctl.events.json import Json
from esctl.projections.grouping import OPERATIONS, Measure, grouped

COUNT = Measure("count")


def lines(*records: Any) -> list[bytes]:
    return [json.dumps(record).encode() + b"\n" for record in records]


def read(value: object) -> Any:
    """A value as its reader gets it: what is JSON already is read, its numbers as they are written."""
    return json.loads(value, parse_float=Decimal) if isinstance(value, Json) else value


def told(made: Sequence[bytes], by: Sequence[str], *measures: Measure) -> list[dict[str, Any]]:
    return [{name: read(value) for name, value in row.items()} for row in grouped(made, by, measures)]


def alone(operation: str, *values: str) -> object:
    """One operation over a field with these JSON texts in it."""
    made = [f'{{"a":{value}}}'.encode() for value in values]
    ((_, value),) = next(iter(grouped(made, [], [Measure(operation, "a")]))).items()
    return str(value) if isinstance(value, Json) else value


# Groups


def test_groups_come_in_the_order_in_which_they_came_up() -> None:
    made = lines({"a": "y"}, {"a": "x"}, {"a": "y"}, {"a": None}, {"b": 1})
    assert told(made, ["a"], COUNT) == [{"a": "y", "count": 2}, {"a": "x", "count": 1}, {"a": None, "count": 2}]


def test_fields_lie_as_deep_as_their_names_say() -> None:
    made = lines({"data": {"x": {"y": 1}}}, {"data": {"x": 5}}, {"data": [1]}, {"data": None})
    assert told(made, ["data.x.y"], COUNT) == [{"y": 1, "count": 1}, {"y": None, "count": 3}]


def test_a_field_may_be_an_element_or_have_a_dot_in_its_name() -> None:
    made = lines({"items": [{"n": 1}, {"n": 2}], "http.method": "GET"}, {"items": [], "http": {"method": "PUT"}})
    assert told(made, ['"http.method"'], Measure("sum", "items[0].n"), Measure("last", "items[#-1]")) == [
        {"http.method": "GET", "sum_n": 1, "last_items[#-1]": {"n": 2}},
        {"http.method": None, "sum_n": 0, "last_items[#-1]": None},
    ]


def test_values_of_different_types_are_different_groups() -> None:
    made = [b'{"a":1}', b'{"a":true}', b'{"a":"1"}', b'{"a":null}', b'{"a":[1]}', b'{"a":{"1":1}}', b'{"a":"null"}']
    rows = told(made, ["a"], COUNT)
    assert [row["count"] for row in rows] == [1] * 7
    assert [row["a"] for row in rows] == [1, True, "1", None, [1], {"1": 1}, "null"]


def test_equal_numbers_are_one_group_however_they_are_written() -> None:
    assert told([b'{"a":1.50}', b'{"a":1.5}', b'{"a":15e-1}'], ["a"], COUNT) == [{"a": Decimal("1.50"), "count": 3}]


def test_objects_and_arrays_group_with_their_numbers_as_they_are() -> None:
    rows = told([b'{"a":{"b":1.50}}', b'{"a":{"b":1.50}}', b'{"a":[0.1]}'], ["a"], COUNT)
    assert rows == [{"a": {"b": Decimal("1.50")}, "count": 2}, {"a": [Decimal("0.1")], "count": 1}]


def test_without_a_field_to_group_by_there_is_one_group() -> None:
    assert told(lines({"a": 1}, {"a": 2}), [], COUNT, Measure("sum", "a")) == [{"count": 2, "sum_a": 3}]


def test_no_lines_are_one_group_of_nothing_and_no_group_where_a_field_makes_them() -> None:
    assert told([], [], COUNT, Measure("sum", "a"), Measure("max", "a")) == [{"count": 0, "sum_a": 0, "max_a": None}]
    assert told([], ["a"], COUNT) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 2, True, None, "1"])), max_size=20))
def test_every_line_is_in_one_group(pairs: list[tuple[str, Any]]) -> None:
    rows = told(lines(*({"a": a, "b": b} for a, b in pairs)), ["a", "b"], COUNT)
    counted = Counter((a, type(b), b) for a, b in pairs)
    assert {(row["a"], type(row["b"]), row["b"]): row["count"] for row in rows} == dict(counted)
    assert len(rows) == len(counted)


# Names


@pytest.mark.parametrize(
    ("by", "measures", "names"),
    [
        (["data.customer_id"], [COUNT, Measure("sum", "data.amount")], ["customer_id", "count", "sum_amount"]),
        (["data.id", "meta.id"], [COUNT], ["data.id", "meta.id", "count"]),
        ([], [Measure("sum", "data.x"), Measure("sum", "meta.x")], ["sum_data.x", "sum_meta.x"]),
        ([], [Measure("min", "x"), Measure("max", "x")], ["min_x", "max_x"]),
    ],
)
def test_a_column_is_called_by_the_last_name_or_by_all_where_two_would_be_the_same(
    by: list[str], measures: list[Measure], names: list[str]
) -> None:
    assert list(next(iter(grouped([b"{}"], by, measures)))) == names


@pytest.mark.parametrize(("by", "measure"), [("count", COUNT), ("sum_a", Measure("sum", "a"))], ids=["count", "sum"])
def test_a_field_that_groups_is_never_hidden_by_a_measure(by: str, measure: Measure) -> None:
    (row,) = told(lines({by: "x", "a": 2}), [by], measure)
    assert "x" in row.values()
    assert len(row) == 2


# Measures


@pytest.mark.parametrize(
    ("operation", "values", "expected"),
    [
        ("sum", ["0.1", "0.2"], "0.3"),
        ("sum", ["1", "2"], 3),
        ("sum", ["1", "0.5"], "1.5"),
        ("sum", ['"1.10"', "2"], "3.10"),
        ("sum", ["null"], 0),
        ("sum", ["9007199254740993", "1"], 9007199254740994),
        ("sum", ["123456789012345678901234567890", "1"], 123456789012345678901234567891),
        ("sum", ["12345678901234567890123456789012345.5", "1"], "12345678901234567890123456789012346.5"),
        ("sum", ["0.1", "1e30"], "1000000000000000000000000000000.1"),
        ("sum", ["-1.5", "1.5"], "0.0"),
        ("avg", ["1", "2"], "1.5"),
        ("avg", ["0.1", "0.2", "null"], "0.15"),
        ("avg", ["null"], None),
        ("min", ["2", "1.5", "3"], "1.5"),
        ("max", ["2", "1.5", "3"], 3),
        ("max", ['"a"', '"b"', "null"], "b"),
        ("min", ["null"], None),
        ("first", ["null", "1", "2"], 1),
        ("last", ["1", "2", "null"], 2),
        ("first", ["1.10"], "1.10"),
        ("last", ["true"], True),
        ("max", ["12345678901234567890123456789"], 12345678901234567890123456789),
    ],
)
def test_what_a_field_adds_up_to(operation: str, values: list[str], expected: object) -> None:
    found = alone(operation, *values)
    assert (type(found), found) == (type(expected), expected)


def test_what_is_first_or_last_keeps_its_json() -> None:
    for operation in ("first", "last"):
        (row,) = grouped([b'{"a":{"b":1.50,"c":[12345678901234567890,null]}}'], [], [Measure(operation, "a")])
        value = row[f"{operation}_a"]
        text = value if isinstance(value, Json) else json.dumps(value, default=str)
        assert json.loads(text, parse_float=Decimal) == {"b": Decimal("1.50"), "c": [12345678901234567890, None]}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.decimals(-(10**6), 10**6, places=2)), min_size=1, max_size=20))
def test_sums_are_exact_and_do_not_depend_on_the_order(pairs: list[tuple[str, Decimal]]) -> None:
    made = [f'{{"k":"{key}","n":{number}}}'.encode() for key, number in pairs]
    by_hand: dict[str, Decimal] = defaultdict(Decimal)
    for key, number in pairs:
        by_hand[key] += number
    for order in (made, made[::-1]):
        rows = told(order, ["k"], Measure("sum", "n"), COUNT)
        assert {row["k"]: row["sum_n"] for row in rows} == by_hand
        assert sum(row["count"] for row in rows) == len(pairs)


@given(st.lists(st.integers(), min_size=1, max_size=10))
def test_the_mean_lies_between_the_least_and_the_greatest(numbers: list[int]) -> None:
    measures = [Measure(operation, "n") for operation in OPERATIONS]
    (row,) = told(lines(*({"n": n} for n in numbers)), [], *measures)
    assert (row["min_n"], row["max_n"], row["sum_n"]) == (min(numbers), max(numbers), sum(numbers))
    assert (row["first_n"], row["last_n"]) == (numbers[0], numbers[-1])
    slack = Decimal(max(map(abs, numbers))) / 10**20
    assert min(numbers) - slack <= row["avg_n"] <= max(numbers) + slack


@pytest.mark.parametrize("number", ["1e1000000", "1e-1000000"])
def test_a_short_number_never_becomes_a_long_text(number: str) -> None:
    for operation in ("first", "max", "sum"):
        try:
            assert len(str(alone(operation, number))) < 1000
        except RefusedError:
            assert operation == "sum"  # an answer of a million digits may be refused
    (row,) = grouped([f'{{"a":{number}}}'.encode()], ["a"], [COUNT])
    assert len(str(row["a"])) < 1000


# What is refused


@pytest.mark.parametrize(
    "line", [b"x", b"[1]", b"1", b"null", b'{"a":', b"{} {}", b'{"a":NaN}', b'{"a":"\xff"}', b"[" * 100_000]
)
def test_a_line_that_is_no_object_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        told([b"{}", b"\n", line], [], COUNT)
    assert refused.value.details["line"] == 3


@pytest.mark.parametrize("value", ['"x"', "true", "[1]", "{}", '""', '"NaN"', '"Infinity"', '"1e999999999999"'])
@pytest.mark.parametrize("operation", ["sum", "avg"])
def test_what_is_no_number_is_not_added_up(operation: str, value: str) -> None:
    with pytest.raises(RefusedError) as refused:
        alone(operation, "1", value)
    assert refused.value.details["line"] == 2


def test_what_is_no_number_is_told_as_the_json_that_it_is() -> None:
    with pytest.raises(RefusedError) as refused:
        alone("sum", "true")
    assert "true" in refused.value.why


@pytest.mark.parametrize("values", [("1", '"x"'), ("[1]", "2"), ('"x"', "1.5"), ("{}", "{}"), ("true", '"x"')])
def test_what_cannot_be_compared_is_refused_in_words_of_json(values: tuple[str, str]) -> None:
    with pytest.raises(RefusedError) as refused:
        alone("max", *values)
    assert refused.value.details["line"] == 2
    assert not {"decimal.Decimal", "'str'", "'dict'", "'list'"} & set(refused.value.why.split())


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_fine() -> None:
    assert told([b'\xef\xbb\xbf{"a":1}\r\n', b"\n", b"  \n", b'{"a":1}'], ["a"], COUNT) == [{"a": 1, "count": 2}]


@pytest.mark.parametrize("depth", [100, 998])
def test_what_a_log_holds_is_never_too_deep(depth: int) -> None:
    deep = b"[" * depth + b"1.5" + b"]" * depth
    assert len(list(grouped([b'{"a":%s,"n":1}' % deep], ["a"], [Measure("sum", "n")]))) == 1
    assert len(list(grouped([b'{"a":%s}' % deep], [], [Measure("first", "a")]))) == 1


def test_unicode_stays() -> None:
    assert told(lines({"ä": "😀\u2028"}), ["ä"], COUNT) == [{"ä": "😀\u2028", "count": 1}]


def test_many_groups_take_time_by_their_number() -> None:
    made = (b'{"a":%d,"n":0.5}' % n for n in range(20_000))
    rows = list(grouped(made, ["a"], [COUNT, Measure("sum", "n")]))
    assert len(rows) == 20_000
